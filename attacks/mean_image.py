"""Control: the mean of all releases for every target, the score of a guess that does not depend on the release."""

from __future__ import annotations

import torch

from harness.observation import Observation
from harness.types import Generator, Guess

_CHUNK = 256


def mean_image(observation: Observation, rng: Generator) -> Guess:
    """One image for every target: the mean of the releases of epoch 0, rounded."""
    images = observation.images
    total = torch.zeros(images.shape[1:], dtype=torch.int64, device=images.device)
    for start in range(0, len(images), _CHUNK):
        total += images[start : start + _CHUNK].sum(0, dtype=torch.int64)
    mean = total.double().div(len(images)).round().to(torch.uint8)
    return Guess(candidates=mean.expand(len(observation.targets), 1, *mean.shape))
