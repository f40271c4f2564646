"""How far a figure moves by chance: over the originals that it averages, and over the seeds it was made with.

A change must be significant against both. Over originals: the paired differences, each original's figure in the new run
minus its figure in the baseline, every original weighing the same. Over seeds: another seed pairs, draws and trains
anew, which moves all originals together, so resampling originals does not show it; it is estimated from the baseline's
own seeds, and the new run's mean is compared with that of all of them: another training is no nearer to the one of its
own seed. Where the same seeds were run again and nothing was trained, only the first applies: a release is a function
of its seed, and so is what a filter makes of it. Trainings differ from machine to machine.

References: Student 1908; Cohen 1988, section 2 (power); the mean square within groups is that of the analysis of
variance (Fisher 1925).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import fdtri, stdtr, stdtrit

from harness.check.series import Series
from harness.records import RunResult
from harness.statistics import paired_p, per_unit
from harness.types import Array

POWER = 0.8
_POOLING_LEVEL = 0.1  # of the F-test that keeps a larger variance from being pooled


@dataclass(frozen=True)
class Spread:
    """A standard error and its degrees of freedom."""

    error: float
    freedom: float

    def p(self, change: float) -> float:
        """Two-sided p-value of a change under the null hypothesis of none."""
        if change == 0:
            return 1.0
        return float(2 * stdtr(self.freedom, -abs(change) / self.error)) if self.error > 0 else 0.0

    def detectable(self, level: float, power: float) -> float:
        """The smallest true change that is significant at this level with this power."""
        return float(stdtrit(self.freedom, 1 - level / 2) + stdtrit(self.freedom, power)) * self.error

    def half_width(self, level: float) -> float:
        """Half the width of the (1 - level) confidence interval."""
        return self.detectable(level, power=0.5)


@dataclass(frozen=True)
class SeriesChange:
    """One figure before and after, over the originals that both sides have.

    p        p-value of the change, the larger of its spreads'; not corrected for the number of figures
    spreads  over originals; over seeds, where seeds contribute chance; empty where there is only one original
    n        originals
    """

    before: float
    after: float
    p: float
    spreads: tuple[Spread, ...]
    n: int

    @property
    def change(self) -> float:
        return self.after - self.before

    @property
    def unchanged(self) -> bool:
        """Whether every original's figure is the same as before."""
        return self.change == 0 and (self.n == 1 or self.spreads[0].error == 0)

    def interval(self, level: float = 0.05) -> tuple[float, float]:
        """Confidence interval of the change, by the wider of its spreads."""
        half_width = max(spread.half_width(level) for spread in self.spreads)
        return self.change - half_width, self.change + half_width

    def detectable(self, level: float, power: float = POWER) -> float:
        """The smallest true change that is found at this level with this power."""
        return max(spread.detectable(level, power) for spread in self.spreads)


def series_change(
    before: Series, after: Series, array: str, over_seeds: tuple[float, int] | None
) -> SeriesChange | None:
    """The change of one figure, paired over originals; None where no original is on both sides.

    over_seeds  variance of a seed's mean and its degrees of freedom (see `seed_variance`); None: not known
    """
    every, new = before.ok_records, after.ok_records
    same_seeds = set(new) <= set(every)
    # compared with themselves, not with the baseline's other seeds
    old = {seed: every[seed] for seed in new} if same_seeds else every
    old_figures, new_figures = (by_original(side.values(), array) for side in (old, new))
    both = sorted(old_figures.keys() & new_figures.keys())
    if not both:
        return None
    a, b = (np.array([side[unit] for unit in both]) for side in (old_figures, new_figures))
    spreads = []
    if len(both) > 1:
        spreads.append(Spread(float((b - a).std(ddof=1)) / math.sqrt(len(both)), len(both) - 1))
    p = paired_p(b, a)
    if over_seeds is not None and (not same_seeds or _trained(before) or _trained(after)):
        variance, freedom = over_seeds
        figures = by_original(every.values(), array)  # another training is no nearer to that of its own seed
        apart = [new_figures[unit] - figures[unit] for unit in figures.keys() & new_figures.keys()]
        spreads.append(Spread(math.sqrt(variance * (1 / len(every) + 1 / len(new))), freedom))
        p = max(p, spreads[-1].p(float(np.mean(apart))))
    return SeriesChange(float(a.mean()), float(b.mean()), p, tuple(spreads), len(both))


def joint_change(pairs: Sequence[tuple[Series, Series]], array: str) -> SeriesChange | None:
    """The change of one figure's mean over several defenses, which a fault in training or reading moves on all of them.

    Every original's figure (test image's, for utility) is its mean over defenses. Over seeds the defenses stay
    together: one seed draws the same initial weights for all of them. Compared with all of the baseline's seeds, as
    trainings are. None where the defenses share fewer than two seeds of the baseline, no new one, or no original.

    pairs  the same work on each defense, in the baseline and in the new run
    """
    known, new = (sorted(set.intersection(*(set(pair[side].ok_records) for pair in pairs))) for side in (0, 1))
    if len(known) < 2 or not new:
        return None
    again = new if set(new) <= set(known) else known
    chosen = ((0, again), (1, new), (0, known))
    sides = [
        [by_original([pair[side].ok_records[seed] for seed in seeds], array) for pair in pairs]
        for side, seeds in chosen
    ]
    units = sorted(set.intersection(*(set(figures) for side in sides for figures in side)))
    if not units:
        return None
    a, b, every = (np.mean([[figures[unit] for unit in units] for figures in side], axis=0) for side in sides)
    effects = [seed_effects({seed: old.ok_records[seed] for seed in known}, array) for old, _ in pairs]
    variance = float(np.mean(effects, axis=0).var(ddof=1))
    over_seeds = Spread(math.sqrt(variance * (1 / len(known) + 1 / len(new))), len(known) - 1)
    spreads, p = [over_seeds], over_seeds.p(float(np.mean(b - every)))
    if len(units) > 1:
        spreads.insert(0, Spread(float((b - a).std(ddof=1)) / math.sqrt(len(units)), len(units) - 1))
        p = max(p, paired_p(b, a))
    return SeriesChange(float(a.mean()), float(b.mean()), p, tuple(spreads), len(units))


def _trained(series: Series) -> bool:
    """Whether a network was trained for it, by what its records say: then the same seed may give another figure."""
    learned = series.attack is not None and "learned" in series.attack.get("traits", [])
    return series.kind == "utility" or learned or any(_has_steps(record.facts) for record in series.records.values())


def _has_steps(facts: Any) -> bool:
    return isinstance(facts, Mapping) and ("steps" in facts or any(map(_has_steps, facts.values())))


def by_original(records: Iterable[RunResult], array: str) -> dict[int, float]:
    """Each original's figure: the mean over its releases of all seeds. Of a test image: over trainings."""
    records = list(records)
    values, units = (
        np.concatenate(parts) for parts in zip(*(record.numbers(array) for record in records), strict=True)
    )
    return dict(zip(np.unique(units).tolist(), per_unit(values, units).tolist(), strict=True))


def seed_variance(own: Series, same_work: Iterable[Series], array: str) -> tuple[float, int] | None:
    """The variance of a seed's mean, and its degrees of freedom: pooled over the defenses, or the series's own.

    A few seeds estimate a variance badly, so it is pooled with that of the same work on the suite's other defenses,
    where that work trained a network too (multi_release trains only where something needs restoring). Where the own
    variance is the larger one by an F-test at 10 %, it is used alone. None where no series has two seeds.

    same_work  the same work on every defense of the suite, this one among them
    """
    own_squares, own_freedom = _sum_of_squares([own], array)
    trained = _trained(own)
    others = [series for series in same_work if series is not own and _trained(series) == trained]
    squares, freedom = _sum_of_squares(others, array)
    if not freedom:
        return (own_squares / own_freedom, own_freedom) if own_freedom else None
    if own_freedom:
        limit = fdtri(own_freedom, freedom, 1 - _POOLING_LEVEL) * squares / freedom
        if own_squares / own_freedom > limit:
            return own_squares / own_freedom, own_freedom
    return (own_squares + squares) / (own_freedom + freedom), own_freedom + freedom


def _sum_of_squares(several: Iterable[Series], array: str) -> tuple[float, int]:
    """Squared deviations of the seeds' means from their mean within each series, summed, and the degrees of freedom.

    A series whose figure is the same number on every seed (a distance of 0) does not count: it would lower the others'.
    """
    squares, freedom = 0.0, 0
    for series in several:
        if array not in series.arrays:
            continue
        effects = seed_effects(series.ok_records, array)
        if len(effects) > 1 and effects.any():
            squares += float(np.square(effects - effects.mean()).sum())
            freedom += len(effects) - 1
    return squares, freedom


def seed_effects(records: Mapping[int, RunResult], array: str) -> Array:
    """(S,) the mean over a seed's originals of their figure minus the same original's mean over all seeds.

    So it does not matter which originals dominate a seed's release.
    """
    means = by_original(records.values(), array)
    effects = []
    for record in records.values():
        figures = by_original([record], array)
        effects.append(np.mean([figure - means[unit] for unit, figure in figures.items()]))
    return np.array(effects)
