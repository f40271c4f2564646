"""Control: other images of the same kind, drawn at random; the chance level of every reconstruction."""

from __future__ import annotations

import numpy as np
import torch

from harness.observation import Observation
from harness.randomness import key_from, numpy_generator
from harness.types import Generator, Guess


def random_other(observation: Observation, rng: Generator) -> Guess:
    """As many random public images for each target as an attack may offer candidates.

    Public images are disjoint from the private ones, so none of them is a source.
    """
    public, count, draws = observation.public.images, observation.sources, numpy_generator(key_from(rng))
    replace = len(public) < count
    rows = np.stack([draws.choice(len(public), count, replace=replace) for _ in observation.targets])
    return Guess(candidates=public[torch.from_numpy(rows)])
