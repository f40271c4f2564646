"""Schemes that a careless verdict lets pass, and that protect nobody.

The first two had complete, passing rows of rank 1 on the first boards: only release 0 was judged, and no distance was
aligned. The third says itself which source dominates, and says it wrongly.
"""

from __future__ import annotations

import torch

from harness.images import average
from harness.types import Generator, Images, Mixture, Sources, Weights


def verbatim_sometimes(sources: Sources, weights: Weights, rng: Generator, *, probability: float) -> Images:
    """The mixture as it is with this probability, else uniform noise.

    sources      (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights      (N, k), each row sums to 1
    probability  in [0, 1]: drawn anew for every image of every release
    """
    mixed = average(sources, weights)
    shown = torch.rand(len(mixed), 1, 1, 1, generator=rng, device=mixed.device) < probability
    return torch.where(shown, mixed, torch.rand(mixed.shape, generator=rng, device=mixed.device))


def circular_shift(sources: Sources, weights: Weights, rng: Generator) -> Images:
    """The mixture, every image shifted around by its own random number of rows and columns.

    sources  (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights  (N, k), each row sums to 1
    """
    mixed = average(sources, weights)
    n, _, height, width = mixed.shape
    down = torch.randint(height, (n, 1, 1, 1), generator=rng, device=mixed.device)
    right = torch.randint(width, (n, 1, 1, 1), generator=rng, device=mixed.device)
    rows = (torch.arange(height, device=mixed.device).view(1, 1, -1, 1) + down) % height
    columns = (torch.arange(width, device=mixed.device).view(1, 1, 1, -1) + right) % width
    return mixed.gather(2, rows.expand_as(mixed)).gather(3, columns.expand_as(mixed))


def partner_shown(sources: Sources, weights: Weights, rng: Generator) -> Mixture:
    """The second source as it is, while the shares say that the first dominates.

    sources  (N, k, 3, H, W) float32 in [0, 1], dominant source first; k is 2 or more
    weights  (N, k), each row sums to 1
    """
    return Mixture(sources[:, 1], weights)
