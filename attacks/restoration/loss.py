"""The loss of restored images: L1 at two scales and 1 - SSIM, differentiable.

References: Zhao et al. 2017, Loss functions for image restoration (why both); Wang et al. 2004 (SSIM). Where no source
dominates, the loss is that of the best assignment of restored images to sources.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional

_DOMINATES = 0.1  # of its share, by which the dominant source exceeds the next
_WINDOW, _SIGMA, _C1, _C2 = 11, 1.5, 0.01**2, 0.03**2  # Wang et al. 2004
_COARSE = 4  # pixels a side


def dominated(weights: Tensor) -> bool:
    """Whether one source clearly dominates in every row of (n, k) weights; then restored images come in that order."""
    if weights.shape[1] == 1:
        return True
    largest = weights.float().topk(2, dim=1).values
    return bool((largest[:, 0] - largest[:, 1] > _DOMINATES * largest[:, 0]).all())


def restoration_loss(pictures: Tensor, truths: Tensor, weights: Tensor, ordered: bool) -> Tensor:
    """(n,) L1 at two scales + 1 - SSIM, averaged over the sources by their weights.

    pictures, truths  (n, k, 3, H, W) float in [0, 1]
    weights           (n, k), of the truths
    ordered           picture i is source i; else the least over all k! assignments, for each row its own
    """
    k, weights = pictures.shape[1], weights / weights.sum(1, keepdim=True)
    if ordered or k == 1:
        return (weights * _distance(pictures, truths)).sum(1)
    grid = _distance(pictures.unsqueeze(2), truths.unsqueeze(1)) * weights.unsqueeze(1)  # (n, picture, source)
    zero = grid.new_zeros(())
    totals = [sum((grid[:, i, j] for i, j in enumerate(order)), zero) for order in permutations(range(k))]
    return torch.stack(totals, 1).amin(1)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """L1 at two scales + 1 - SSIM, of images (..., 3, H, W) that broadcast -> (...)."""
    fine, coarse = a - b, _means(a) - _means(b)
    return fine.abs().mean((-3, -2, -1)) + coarse.abs().mean((-3, -2, -1)) + 1 - ssim(a, b)


def _means(images: Tensor) -> Tensor:
    """Means of every channel over 4x4 pixels: SSIM hardly depends on these colours, recognition does."""
    flat = functional.avg_pool2d(images.flatten(0, -4), _COARSE, ceil_mode=True)
    means: Tensor = flat.unflatten(0, images.shape[:-3])
    return means


def ssim(a: Tensor, b: Tensor, step: int = 2) -> Tensor:
    """SSIM of images (..., 3, H, W) that broadcast -> (...), differentiable; a smaller window on tiny images.

    step  pixels between windows: 1 is Wang's mean, 2 is nearly the same at a quarter of the cost

    The window is applied as two small matrices, which a CPU differentiates fastest.
    """
    rows, columns = (_window_matrix(side, step).to(a) for side in a.shape[-2:])

    def smooth(field: Tensor) -> Tensor:
        return torch.matmul(torch.matmul(rows, field), columns.T)

    mean_a, mean_b = smooth(a), smooth(b)
    variances = smooth(a.square()) - mean_a.square() + smooth(b.square()) - mean_b.square()
    level = mean_a * mean_b
    structure = (2 * (smooth(a * b) - level) + _C2) / (variances + _C2)
    places: Tensor = structure * (2 * level + _C1) / (mean_a.square() + mean_b.square() + _C1)
    return places.mean((-3, -2, -1))


@lru_cache(maxsize=8)
def _window_matrix(side: int, step: int) -> Tensor:
    """(positions, side): a Gaussian window at every `step`-th position."""
    window = min(_WINDOW, side)
    bell = torch.exp(-(torch.arange(window) - (window - 1) / 2).square() / (2 * _SIGMA**2))
    places = range(0, side - window + 1, step)
    matrix = torch.zeros(len(places), side)
    for row, place in enumerate(places):
        matrix[row, place : place + window] = bell / bell.sum()
    return matrix
