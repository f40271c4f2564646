"""The table of grey levels over a linear map, from images on one line.

Of images x + s (z - x) a linear map makes values that move in proportion to s. After a table of grey levels they do
not; the table that makes them do so again is a least squares problem in its 256 values.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor

from harness.plugins.attacks.ensemble.probes import BlackBox
from harness.types import Bytes

_REWEIGHTED = 4  # times that a table is solved for, each time with the weights of the last
_SMOOTH = 1e-4  # weight of the table's second differences, which settles values that were not seen
_PER_VALUE = 400  # lines of images that a value of the table is solved from, at most


def straightening_table(box: BlackBox, draws: np.random.Generator, quiet: Tensor) -> Tensor | None:
    """(256,) the table u for which u(release) is affine in the image; None where the values themselves are."""
    shares = torch.linspace(0, 1, 9)
    start, end = (torch.cat([box.random(4).float() * 0.75 + 32, _waves(box, draws, 28)]) for _ in range(2))
    line = torch.stack([start + float(share) * (end - start) for share in shares], 1).round().to(torch.uint8)
    released = box(line.flatten(0, 1)).view(*line.shape[:2], -1)[:, :, quiet].permute(0, 2, 1).reshape(-1, len(shares))
    moving = released[(released.amax(1).int() - released.amin(1).int()) > 2]
    if len(moving) < 1000:
        return None
    moving = moving[((moving > 0) & (moving < 255)).all(1)]  # others may be clipped
    if len(moving) < _PER_VALUE:
        return None
    lines, inside = moving[_balanced(moving, draws)].long(), shares[1:-1].to(moving.device)
    levels = torch.arange(256, device=moving.device, dtype=torch.float64)
    solution = levels
    for _ in range(_REWEIGHTED):
        solution = _straightened(lines, inside.double(), solution)
    straight = _bend(lines, inside, solution) < 0.5 * _bend(lines, inside, levels)
    return solution.float() if straight else None


def _straightened(lines: Tensor, inside: Tensor, table: Tensor) -> Tensor:
    """(256,) float64: the table u with u(y_s) = (1 - s) u(y_0) + s u(y_1) by least squares, of the same mean and range.

    lines   (n, m) values y along each line
    inside  (m - 2,) the shares s between its ends
    table   the last estimate: by its slope, rounding weighs more or less in each equation
    """
    count = torch.bincount(lines.flatten(), minlength=256)
    slope = torch.gradient(table)[0].square().clamp(min=1e-4)
    normal = torch.zeros(256 * 256, dtype=torch.float64, device=lines.device)
    for place, share in enumerate(inside, 1):
        columns = lines[:, place], lines[:, 0], lines[:, -1]
        parts = torch.ones_like(share), share - 1, -share
        weight = 1 / sum(slope[column] * part.square() for column, part in zip(columns, parts, strict=True))
        for (one, left), (other, right) in product(zip(columns, parts, strict=True), repeat=2):
            normal.index_add_(0, one * 256 + other, left * right * weight)
    bend = torch.diff(torch.eye(256, dtype=torch.float64, device=lines.device), n=2, dim=0)
    normal = normal.view(256, 256)
    normal = normal + _SMOOTH * normal.diagonal().mean() * bend.T @ bend
    share_below = count.cumsum(0) / count.sum()
    fixed = torch.tensor([int(torch.searchsorted(share_below, share)) for share in (0.1, 0.9)], device=lines.device)
    free = torch.ones(256, dtype=torch.bool, device=lines.device)
    free[fixed] = False
    solution = torch.zeros(256, dtype=torch.float64, device=lines.device)
    solution[fixed] = fixed.double()
    solution[free] = torch.linalg.solve(normal[free][:, free], -normal[free][:, ~free] @ solution[~free])
    return solution


def _bend(lines: Tensor, inside: Tensor, table: Tensor) -> float:
    """How far values lie from their line under a table, as a share of its length."""
    values = table[lines]
    start, end = values[:, :1], values[:, -1:]
    off = (values[:, 1:-1] - start - inside * (end - start)).abs().mean()
    return float(off / (end - start).abs().mean().clamp(min=1e-9))


def _waves(box: BlackBox, draws: np.random.Generator, count: int) -> Tensor:
    """(count, 3, H, W) float: waves of random directions, lengths and contrasts; some are flat, some as fine as pixels.

    Random values excite all coefficients a little; one wave excites few of them much.
    """
    _, height, width = box.shape
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    turns = draws.integers(0, [[height // 2 + 1], [width // 2 + 1]], (2, count)) * draws.integers(0, 2, (2, count))
    phase = 2 * np.pi * draws.random((count, 3, 1, 1))
    angle = turns[0, :, None, None, None] * down / height + turns[1, :, None, None, None] * across / width
    contrast = 127 * draws.random((count, 1, 1, 1))
    waves = 127.5 + contrast * np.sin(2 * np.pi * angle + phase)
    return torch.from_numpy(waves.astype(np.float32)).to(box.device)


def _balanced(lines: Bytes, draws: np.random.Generator) -> Tensor:
    """Rows of lines (n, m) such that every value is as frequent as can be at the end, 400 times at most."""
    order = torch.from_numpy(draws.permutation(len(lines))).to(lines.device)
    values, by_value = lines[order, -1].sort(stable=True)
    counts = torch.bincount(values.long(), minlength=256)
    rank = torch.arange(len(lines), device=lines.device) - (counts.cumsum(0) - counts)[values.long()]
    return order[by_value[rank < _PER_VALUE]]
