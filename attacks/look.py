"""Looking at the release: the floor that every other attack is measured from."""

from __future__ import annotations

from harness.observation import Observation
from harness.types import Generator, Guess


def look(observation: Observation, rng: Generator) -> Guess:
    """The release itself, as it left the client."""
    return Guess(candidates=observation.images[observation.targets].unsqueeze(1))
