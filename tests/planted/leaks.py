"""Leaks: some images, some releases or one number of an image as they are, and shares that are not what is shown."""

from __future__ import annotations

import numpy as np
import torch

from harness.images import average
from harness.types import Mixture
from tests.planted.table import Planted, as_released, on_bytes


def sometimes(sources, weights, rng, *, p):
    """Each image verbatim with probability p, else noise."""
    mixed = average(sources, weights)
    shown = torch.rand(len(mixed), 1, 1, 1, generator=rng, device=mixed.device) < p
    return torch.where(shown, mixed, torch.rand(mixed.shape, generator=rng, device=mixed.device))


def release_sometimes(sources, weights, rng, *, p):
    """All images of a release verbatim with probability p, else noise."""
    mixed = average(sources, weights)
    shown = torch.rand(1, generator=rng, device=mixed.device) < p
    return torch.where(shown, mixed, torch.rand(mixed.shape, generator=rng, device=mixed.device))


def some_always(images, rng):
    """One image in five, always the same ones."""
    chosen = images.reshape(len(images), -1).sum(1) % 5 == 0
    return np.where(chosen[:, None, None, None], images, rng.integers(0, 256, images.shape))


def own_mean_colour(images, rng):
    return np.broadcast_to(images.mean((2, 3), keepdims=True), images.shape)


def partner(sources, weights, rng):
    """The image of the smallest share, under the weights of the plan."""
    return Mixture(sources[:, -1].clone(), weights.clone())


LEAKS = {
    "sometimes_verbatim": Planted(
        sometimes, "leak", "an image verbatim with probability .15, else noise", as_released, broken_by="exposed",
        limit=0.4, because="after ten releases .85^10 have not been shown", releases=10, params={"p": 0.15},
    ),
    "release_sometimes_verbatim": Planted(
        release_sometimes, "leak", "a whole release verbatim with probability .2, else noise", as_released,
        broken_by="exposed", limit=0.001, releases=10, params={"p": 0.2},
    ),
    "late_releases": Planted(
        on_bytes(lambda images, rng: rng.integers(0, 256, images.shape)), "leak",
        "noise, but verbatim from the sixth release on", as_released, broken_by="exposed", limit=0.001, releases=10,
        protocol="late",
    ),
    "some_verbatim": Planted(
        on_bytes(some_always), "leak", "one image in five verbatim, always the same", as_released,
        broken_by="exposed", limit=0.95, because="four in five are never shown",
    ),
    "own_mean_colour": Planted(
        on_bytes(own_mean_colour), "leak", "the mean colour of the image", as_released, broken_by="reidentified",
        limit=0.2,        because="the colour names the picture; nothing can be restored",
    ),
    "lying_shares": Planted(
        partner, "lying shares", "shows the partner and says that the other source dominates", as_released,
        broken_by="any", limit=0.001, weights=(0.7, 0.3),
    ),
}  # fmt: skip
