"""Blind separation of a mixture of two into its sources.

One release alone: two layers whose edges do not coincide, found by gradient descent on how much their gradients
overlap. Where another epoch mixes the same two sources otherwise: both are solved for exactly.
References: Raynal et al. 2020, section 4.4 (unmixing); Zhang, Ng, Chen 2018 and Gandelsman, Shocher, Irani 2019
(exclusive gradients; their networks are left out).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.errors import HarnessError, Inapplicable
from harness.images import to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.linking.repeated_pairs import Match, published_shares, shared_pairs
from harness.types import Generator, Guess, Images, Release

CHUNK = 16
_TRIED = (0.55, 0.7, 0.85)  # shares of the dominant source where none are published
_RATE = 0.02
_RANGE = 10.0  # weight of leaving [0, 1]
_SHARP = 0.02  # gradients below this are flat


def unmix(observation: Observation, rng: Generator, *, steps: int, smoothness: float) -> Guess:
    """Two candidates a release, the dominant source first.

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
    alone = torch.tensor([row for row, match in enumerate(matches) if not match], dtype=torch.int64)
    targets = torch.from_numpy(observation.targets)
    for start in range(0, len(alone), CHUNK):
        rows = alone[start : start + CHUNK]
        images = to_images(observation.images[targets[rows]].to(observation.device))
        candidates[rows] = to_bytes(exclusive(images, shares, rng, steps=steps, smoothness=smoothness)).cpu()
    for row, found in enumerate(matches):
        if found:
            first, others = mixtures(releases, int(targets[row]), found)
            candidates[row] = to_bytes(solved(first, others, found))
    return Guess(candidates, report={"exact": len(matches) - len(alone), "blind": len(alone)})


def check_mixture(observation: Observation) -> None:
    """Refuse what is not a weighted average of two pictures, pixel by pixel."""
    traits = observation.defense.traits
    moved = traits & {"permutes_in_blocks", "keeps_pixels", "keyed", "sign_flip"}
    if "linear" not in traits or moved:
        reason = f"it {', '.join(sorted(moved))}" if moved else "it is not linear"
        raise Inapplicable(f"a release is no weighted average of two pictures, pixel by pixel: {reason}")
    if observation.sources != 2:
        raise Inapplicable(f"it separates mixtures of two sources; these have {observation.sources}")


def mixtures(releases: Sequence[Release], row: int, matches: Sequence[Match]) -> tuple[Images, Images]:
    """A target and its matches: (3, H, W) and (m, 3, H, W)."""
    others = torch.stack([releases[match.epoch].images[match.row] for match in matches])
    return to_images(releases[0].images[row]), to_images(others)


def solved(first: Images, others: Images, matches: Sequence[Match]) -> Images:
    """(2, 3, H, W): least squares for the two sources of a target and its matches."""
    shares = torch.tensor([matches[0].own, *(match.other for match in matches)], dtype=torch.float64)
    system = torch.linalg.pinv(torch.stack([shares, 1 - shares], 1)).to(first)
    return torch.einsum("sm,mchw->schw", system, torch.cat([first[None], others]))


def exclusive(images: Images, shares: Sequence[float], rng: Generator, *, steps: int, smoothness: float) -> Images:
    """(N, 2, 3, H, W): layers with l a + (1-l) b = image and gradients that overlap least, the best of the shares."""
    best, least = torch.empty(0), torch.empty(0)
    for share in shares:
        layers, loss = _descend(images, share, rng, steps, smoothness)
        if not len(best):
            best, least = layers, loss
        better = loss < least
        best, least = torch.where(better.view(-1, 1, 1, 1, 1), layers, best), torch.where(better, loss, least)
    return best


def _descend(images: Images, share: float, rng: Generator, steps: int, smoothness: float) -> tuple[Images, Tensor]:
    # Equal layers are a saddle: faint noise decides which layer an edge leans to first.
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
    """(N,) the mean product of the two layers' gradients, their total variation, and what leaves [0, 1]."""
    steep, steeper = _steepness(first), _steepness(second)
    overlap = (steep * steeper).mean((1, 2)) / _SHARP
    variation = (steep + steeper).mean((1, 2))
    outside = sum((layer - layer.clamp(0, 1)).square().mean((1, 2, 3)) for layer in (first, second))
    return overlap + smoothness * variation + _RANGE * outside


def _steepness(images: Images) -> Tensor:
    """(N, H-1, W-1) length of the gradient over the three channels, less what is flat."""
    across = images[..., :-1, 1:] - images[..., :-1, :-1]
    down = images[..., 1:, :-1] - images[..., :-1, :-1]
    return ((across.square() + down.square()).sum(1) + _SHARP**2).sqrt() - _SHARP
