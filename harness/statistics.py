"""Means and their 95 % intervals, in one place. The unit is the original: its figure is the mean over its releases.

References: Efron 1979 (bootstrap, percentile interval, over originals because mixtures share sources);
Wilson 1927 (proportions); Student 1908 (the p-value of a paired difference); Holm 1979 (many comparisons).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtr as student

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from harness.types import Array

Z95 = 1.959963984540054  # the normal quantile of 97.5 %
CHUNK = 2**21  # numbers held by one chunk of the bootstrap
CACHED = 2**22  # numbers of one cached set of resamples; four sets are cached: 128 MB at the most


def summarise(
    values: ArrayLike,
    *,
    units: ArrayLike | None = None,
    seed: int = 0,
    draws: int = 2000,
    proportion: bool | None = None,
) -> dict[str, Any]:
    """Mean, 95 % interval, 5th percentile, minimum and number of originals.

    values      (M,) one number per release; a number that is not finite is a failed cell and raises ValueError
    units       (M,) the original that each belongs to; without it every value is an original
    proportion  Wilson's interval instead of the bootstrap; by default where every original's figure is 0 or 1. Say
                False for a distance, which may be exactly 0 for all without being a proportion
    A single continuous figure has no interval: low and high are then None. Without any figure all are None and n is 0.
    """
    figures = per_unit(values, units)
    if len(figures) == 0:
        return {"mean": None, "low": None, "high": None, "p5": None, "min": None, "n": 0}
    if proportion is None:
        proportion = bool(np.isin(figures, (0.0, 1.0)).all())
    low, high = wilson(float(figures.sum()), len(figures)) if proportion else bootstrap(figures, seed, draws)
    mean, p5, least = float(figures.mean()), float(np.percentile(figures, 5)), float(figures.min())
    return {"mean": mean, "low": low, "high": high, "p5": p5, "min": least, "n": len(figures)}


def per_unit(values: ArrayLike, units: ArrayLike | None = None) -> Array:
    """(n,) each original's figure: the mean over its releases, in the sorted order of `units`."""
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1:
        raise ValueError(f"expected one number per release, got an array of shape {numbers.shape}")
    if not_finite := int((~np.isfinite(numbers)).sum()):
        raise ValueError(f"{not_finite} of {len(numbers)} values are not finite numbers")
    if units is None:
        return numbers
    names = np.asarray(units)
    if names.shape != numbers.shape:
        raise ValueError(f"{len(numbers)} values belong to {len(names)} units; give each value its unit")
    _, rows, counts = np.unique(names, return_inverse=True, return_counts=True)
    sums: Array = np.bincount(rows, weights=numbers, minlength=len(counts))
    return sums / counts


def known_mean(values: Array) -> Array:
    """(n,) mean over the columns of (n, m) that are finite; NaN where none is."""
    known = np.isfinite(values)
    sums = np.where(known, values, 0.0).sum(1)
    means: Array = np.divide(sums, known.sum(1), out=np.full(len(values), np.nan), where=known.any(1))
    return means


def bootstrap(figures: Array, seed: int, draws: int) -> tuple[float, float] | tuple[None, None]:
    """95 % percentile interval of the mean; the same seed and number of figures draw the same originals."""
    if len(figures) < 2:
        return None, None
    means = np.concatenate([figures.take(rows).mean(axis=1) for rows in _resamples(len(figures), seed, draws)])
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def _resamples(n: int, seed: int, draws: int) -> Iterable[Array]:
    """`draws` rows of n positions in all, a bounded number at a time. A board asks for the same thousands of times."""
    return _cached(n, seed, draws) if n * draws <= CACHED else _drawn(n, seed, draws)


@lru_cache(maxsize=4)
def _cached(n: int, seed: int, draws: int) -> tuple[Array, ...]:
    return tuple(_drawn(n, seed, draws))


def _drawn(n: int, seed: int, draws: int) -> Iterator[Array]:
    rng = np.random.Generator(np.random.Philox(seed))
    step = max(1, CHUNK // n)
    for start in range(0, draws, step):  # drawn as int32, as for the published figures; used as NumPy's index type
        yield rng.integers(0, n, (min(step, draws - start), n), dtype=np.int32).astype(np.intp)


def wilson(hits: float, n: int) -> tuple[float, float] | tuple[None, None]:
    """Wilson's 95 % interval for a proportion, without continuity correction."""
    if n == 0:
        return None, None
    share, z2 = hits / n, Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = 0.0 if hits == 0 else max(0.0, centre - reach)
    high = 1.0 if hits == n else min(1.0, centre + reach)
    return low, high


def paired(
    a: ArrayLike, b: ArrayLike, *, units: ArrayLike | None = None, seed: int = 0, draws: int = 2000
) -> dict[str, Any]:
    """Mean of a - b over the same originals, in the same order, and its 95 % bootstrap interval."""
    statistics = summarise(_difference(a, b), units=units, seed=seed, draws=draws, proportion=False)
    return {key: statistics[key] for key in ("mean", "low", "high", "n")}


def _difference(a: ArrayLike, b: ArrayLike) -> Array:
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"paired figures must be of the same units, got {first.shape} and {second.shape}")
    difference: Array = first - second
    return difference


def accuracy_drop(undefended: Sequence[Array], defended: Sequence[Array]) -> dict[str, Any]:
    """By how much a model trained on releases is less accurate than the undefended one, and the 95 % interval.

    undefended, defended  accuracy per test image, (n_test,) of 0 or 1: one array for each seed, of the same seeds
    """
    return paired(over_seeds(undefended), over_seeds(defended))


def over_seeds(arrays: Iterable[Array]) -> Array:
    """(n,) the mean of several arrays of the same n figures."""
    mean: Array = np.stack(list(arrays)).mean(0)
    return mean


def paired_p(a: ArrayLike, b: ArrayLike, *, units: ArrayLike | None = None) -> float:
    """Two-sided p-value of the mean of a - b over originals being zero: Student's paired t-test.

    In closed form, because Holm's correction over a whole cross needs p-values smaller than the 1/B that B resamples
    can give. Never below 2^(1-n), the chance that the differences of n originals all have the same sign. 1 for fewer
    than two originals, and where there is no difference at all.
    """
    figures = per_unit(_difference(a, b), units)
    n = len(figures)
    if n < 2 or not figures.any():
        return 1.0
    spread = float(figures.std(ddof=1)) / math.sqrt(n)
    difference = abs(float(figures.mean()))
    p = 2 * float(student(n - 1, -difference / spread)) if spread > 0 else 0.0
    return max(p, 2.0 ** (1 - n))


def holm(p_values: ArrayLike) -> Array:
    """(m,) p-values after Holm's correction for their number m, in the order given: compare each with 0.05.

    The i-th smallest (from 0) is multiplied by m - i, and raised to the corrected value of the one before it where that
    is larger; at most 1. The chance that any of m true zeros is called a difference stays below 5 %, whatever the
    dependence between the comparisons.
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values are one row of numbers from 0 to 1, got {np.array2string(p, threshold=5)}")
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return corrected


def share_below(values: ArrayLike, threshold: float, *, units: ArrayLike | None = None) -> dict[str, Any]:
    """Share of the originals whose figure is below the threshold, with Wilson's 95 % interval."""
    statistics = summarise(per_unit(values, units) < threshold, proportion=True)
    return {key: statistics[key] for key in ("mean", "low", "high", "n")}
