"""Other images of the same kind, drawn at random: the chance floor of every reconstruction."""

from __future__ import annotations

import numpy as np
import torch

from harness.observation import Observation
from harness.randomness import key_from, numpy_generator
from harness.types import Generator, Guess


def random_other(observation: Observation, rng: Generator) -> Guess:
    """As many public images for each target as an attack may offer: best of several guesses is a chance of its own.

    Public images are disjoint from the private ones, so none of them is a source.
    """
    public, count, draws = observation.public.images, observation.sources, numpy_generator(key_from(rng))
    again = len(public) < count
    rows = np.stack([draws.choice(len(public), count, replace=again) for _ in observation.targets])
    return Guess(candidates=public[torch.from_numpy(rows)])
