"""How exactly the two thresholds of a distance are known: 95 % intervals, clustered by person and image.

The best threshold on an empirical curve jumps from one judgement to another: it converges with the cube root of their
number, and the bootstrap is not consistent for it. So the condition that the best threshold of the population meets is
tested at every threshold, and the interval is the range in which it is not rejected. With f1 and f0 the densities of
the distance where a source was not recognised and where it was, F1 and F0 the shares below:

    t_acc      f1(t) = f0(t)
    t_cut_off  F1(t) f1(t) = (1 - F0(t)) f0(t)

where the left side becomes the larger. Densities are Gaussian kernel estimates (undersmoothed: the normal reference
bandwidth times n^(1/5 - 1/3)), and the difference of both sides is a sum over judgements whose variance is clustered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from harness.study.calibration.clustered import Clusters, Ends
from harness.study.calibration.roc import ACC

if TYPE_CHECKING:
    from harness.types import Array

STEPS = 201  # thresholds that are tested, evenly apart
AT_ONCE = 2**22  # numbers of judgements by thresholds


def interval(distances: Array, hidden: Array, clusters: Clusters, criterion: str, estimate: float) -> Ends:
    """The range around the estimate in which the condition is not rejected; none where it reaches an end of the data.

    distances, hidden  (n,) as `roc.curve` takes them
    estimate           the empirical threshold, which lies in the interval
    """
    if distances.min() == distances.max() or not clusters.by:
        return None, None
    grid = _grid(distances)
    values, variances = [], []
    for some in np.array_split(grid, 1 + len(distances) * len(grid) // AT_ONCE):
        found, contributions = _condition(distances, hidden, some, criterion)
        values.append(found)
        variances.append(clusters.variance(contributions))
    condition = np.concatenate(values)
    beyond = np.abs(condition) - clusters.quantile * np.sqrt(np.concatenate(variances))
    at = _crossing(condition, grid, estimate)
    rejected = np.flatnonzero(beyond > 0)
    below, above = rejected[rejected < at], rejected[rejected > at]
    if not len(below) or not len(above):
        return None, None
    low, high = (_end(grid, beyond, place, step) for place, step in ((below[-1], 1), (above[0], -1)))
    return min(low, estimate), max(high, estimate)


def _end(grid: Array, beyond: Array, rejected: int, step: int) -> float:
    """Between a threshold that is rejected and its neighbour that is not, by linear interpolation."""
    inside = rejected + step
    share = beyond[rejected] / (beyond[rejected] - beyond[inside]) if beyond[inside] <= 0 else 1.0
    return float(grid[rejected] + share * (grid[inside] - grid[rejected]))


def _crossing(values: Array, grid: Array, estimate: float) -> int:
    """Where the condition is met nearest to the estimate; the estimate itself where it never is."""
    rising = np.flatnonzero((values[:-1] < 0) & (values[1:] >= 0)) + 1
    choices = grid[rising] if len(rising) else grid
    nearest = int(np.abs(choices - estimate).argmin())
    return int(rising[nearest]) if len(rising) else nearest


def _condition(distances: Array, hidden: Array, grid: Array, criterion: str) -> tuple[Array, Array]:
    """(k,) left side less right side at each threshold, and (n, k) what each judgement contributes to it."""
    count, width = len(distances), _bandwidth(distances, hidden)
    apart = (distances[:, None] - grid) / width
    density, below = np.exp(-0.5 * apart**2) / (np.sqrt(2 * np.pi) * width), ndtr(-apart)
    share = np.where(hidden, 1 / hidden.sum(), 1 / (count - hidden.sum()))[:, None]
    here, there = hidden[:, None] * share, ~hidden[:, None] * share
    f1, f0 = (here * density).sum(0), (there * density).sum(0)
    if criterion == ACC:
        return f1 - f0, here * (density - f1) - there * (density - f0)
    missed, false = (here * below).sum(0), 1 - (there * below).sum(0)
    moved = here * ((density - f1) * missed + f1 * (below - missed))
    moved -= there * ((density - f0) * false + f0 * ((1 - below) - false))
    return f1 * missed - f0 * false, moved


def _bandwidth(distances: Array, hidden: Array) -> float:
    """1.06 times the spread (by standard deviation or quartiles, which far values move less), times n^(-1/3)."""
    parts = [distances[mine] for mine in (hidden, ~hidden)]
    spread = float(np.sqrt(np.mean([_spread(part) ** 2 for part in parts])))
    fewest = min(len(np.unique(part)) for part in parts)  # pairs that many people judged count once
    least = float(np.quantile(distances, 0.99) - np.quantile(distances, 0.01)) / STEPS
    return float(max(1.06 * spread * fewest ** (-1 / 3), least, np.finfo(float).tiny))


def _spread(part: Array) -> float:
    quartiles = np.quantile(part, (0.25, 0.75))
    robust, usual = float(quartiles[1] - quartiles[0]) / 1.349, float(part.std())
    return min(robust, usual) if robust > 0 else usual


def _grid(distances: Array) -> Array:
    """Even steps over 98 % of the distances, and their percentiles: a single far value makes nothing coarser."""
    shares = np.linspace(0, 1, 101)
    low, high = np.quantile(distances, (0.01, 0.99))
    even = np.linspace(low, high, STEPS)
    return np.unique(np.concatenate([even, np.quantile(distances, shares)]))
