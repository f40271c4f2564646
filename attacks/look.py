"""No attack: the release as it is, with which every other attack is compared."""

from __future__ import annotations

from harness.observation import Observation
from harness.types import Generator, Guess


def look(observation: Observation, rng: Generator) -> Guess:
    """The release itself, as it left the client."""
    return Guess(candidates=observation.images[observation.targets].unsqueeze(1))
