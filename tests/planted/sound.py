"""Defenses that release nothing of the image; nobody can break them."""

from __future__ import annotations

import numpy as np
import torch

from harness.images import to_images
from tests.planted.table import fixed


def grey(sources, weights, rng):
    """One grey image for all."""
    return torch.full_like(sources[:, 0], 0.5)


def static(sources, weights, rng):
    """Uniform noise, drawn anew."""
    return torch.rand(sources[:, 0].shape, generator=rng, device=sources.device)


def random_colour(sources, weights, rng):
    """One random colour for each image."""
    colour = torch.rand(len(sources), 3, 1, 1, generator=rng, device=sources.device)
    return colour.expand(sources[:, 0].shape).clone()


def fixed_pattern(sources, weights, rng):
    """The same random pattern for all."""
    pattern = torch.from_numpy(fixed(50).random(tuple(sources.shape[2:]), np.float32))
    return pattern.to(sources.device).expand(sources[:, 0].shape).clone()


def unrelated_image(sources, weights, rng):
    """One of 64 images that have nothing to do with the sources: smooth random fields in random colours."""
    height, width = sources.shape[-2:]
    chosen = torch.randint(64, (len(sources),), generator=rng, device=sources.device).cpu()
    return to_images(torch.from_numpy(unrelated(height, width))[chosen]).to(sources.device)


def unrelated(height, width):
    """(64, 3, H, W) uint8 that everybody knows: sums of waves."""
    rng = fixed(51)
    y, x = np.mgrid[0:height, 0:width]
    across, down, phase = rng.normal(0, 2, (3, 64, 3, 6, 1, 1))
    waves = np.sin(2 * np.pi * (across * x / width + down * y / height + phase))
    return ((0.5 + 0.09 * waves.sum(2)).clip(0, 1) * 255).astype(np.uint8)


SOUND = {
    "grey": grey,
    "static": static,
    "random_colour": random_colour,
    "fixed_pattern": fixed_pattern,
    "unrelated_image": unrelated_image,
}
