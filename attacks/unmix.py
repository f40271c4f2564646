"""Blind separation of a mixture of two into its sources.

From one release alone: two layers whose edges do not coincide, found by gradient descent on how much their gradients
overlap. Where another epoch mixes the same two sources with other weights, both are solved for exactly.
References: Raynal et al. 2020, section 4.4 (unmixing); exclusive gradients: Zhang, Ng, Chen 2018 and Gandelsman,
Shocher, Irani 2019. Difference to the originals: pixels are optimised, not the weights of networks that produce them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.images import to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.linking.repeated_pairs import (
    check_mixture,
    mixtures,
    published_shares,
    shared_pairs,
    solve_matches,
)
from harness.types import Generator, Guess, Images

CHUNK = 16
_TRIED = (0.55, 0.7, 0.85)  # shares of the dominant source where none are published
_RATE = 0.02
_RANGE = 10.0  # weight of the penalty outside [0, 1]
_SHARP = 0.02  # gradients below it count as flat


def unmix(observation: Observation, rng: Generator, *, steps: int, smoothness: float) -> Guess:
    """Two candidates a release, the dominant source first. Inapplicable unless a release is an average of two sources.

    steps       of gradient descent
    smoothness  weight of the layers' total variation beside the overlap of their gradients
    """
    if steps < 1 or smoothness < 0:
        raise HarnessError(f"unmix: steps {steps} with smoothness {smoothness}; use 1 or more, and 0 or more")
    check_mixture(observation)
    known, releases = observation.defense, observation.releases
    published = published_shares(known.mixing)
    shares = published or list(_TRIED)
    matches = shared_pairs(releases, observation.targets, published)
    candidates = torch.empty((len(matches), 2, *observation.images.shape[1:]), dtype=torch.uint8)
    unmatched = torch.tensor([row for row, match in enumerate(matches) if not match], dtype=torch.int64)
    targets = torch.from_numpy(observation.targets)
    for start in range(0, len(unmatched), CHUNK):
        rows = unmatched[start : start + CHUNK]
        images = to_images(observation.images[targets[rows]].to(observation.device))
        candidates[rows] = to_bytes(exclusive(images, shares, rng, steps=steps, smoothness=smoothness)).cpu()
    for row, own_matches in enumerate(matches):
        if own_matches:
            first, others = mixtures(releases, int(targets[row]), own_matches)
            candidates[row] = to_bytes(solve_matches(first, others, own_matches))
    return Guess(candidates, report={"exact": len(matches) - len(unmatched), "blind": len(unmatched)})


def exclusive(images: Images, shares: Sequence[float], rng: Generator, *, steps: int, smoothness: float) -> Images:
    """(N, 2, 3, H, W) layers a, b with l a + (1-l) b = image and the least overlap of gradients, for the best share l.

    images      (N, 3, H, W) in [0, 1]
    shares      values of l to try
    steps       of gradient descent
    smoothness  weight of the total variation
    """
    best, least = torch.empty(0), torch.empty(0)
    for share in shares:
        layers, loss = _descend(images, share, rng, steps, smoothness)
        if not len(best):
            best, least = layers, loss
        better = loss < least
        best, least = torch.where(better.view(-1, 1, 1, 1, 1), layers, best), torch.where(better, loss, least)
    return best


def _descend(images: Images, share: float, rng: Generator, steps: int, smoothness: float) -> tuple[Images, Tensor]:
    # Equal layers are a saddle point: faint noise breaks the symmetry.
    noise = torch.randn(images.shape, generator=rng, device=images.device)
    first = (images + 0.01 * noise).requires_grad_()
    optimizer = torch.optim.Adam([first], _RATE)
    for _ in range(steps):
        loss = _overlap(first, _other(images, first, share), smoothness)
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        optimizer.step()
    with torch.no_grad():
        layers = torch.stack([first, _other(images, first, share)], 1)
        return layers.clamp(0, 1), _overlap(layers[:, 0], layers[:, 1], smoothness)


def _other(images: Images, first: Images, share: float) -> Images:
    return (images - share * first) / max(1 - share, 1e-3)


def _overlap(first: Images, second: Images, smoothness: float) -> Tensor:
    """(N,) loss: mean product of the two layers' gradients, their total variation, and the values outside [0, 1]."""
    one, other = _gradients(first), _gradients(second)
    overlap = (one * other).mean((1, 2)) / _SHARP
    variation = (one + other).mean((1, 2))
    outside = sum((layer - layer.clamp(0, 1)).square().mean((1, 2, 3)) for layer in (first, second))
    return overlap + smoothness * variation + _RANGE * outside


def _gradients(images: Images) -> Tensor:
    """(N, H-1, W-1) length of the gradient over the three channels, near 0 where flat."""
    across = images[..., :-1, 1:] - images[..., :-1, :-1]
    down = images[..., 1:, :-1] - images[..., :-1, :-1]
    return ((across.square() + down.square()).sum(1) + _SHARP**2).sqrt() - _SHARP
