"""How far a figure moves by chance: over the originals that it is the mean of, and over the seeds it was made with.

Two parts, and a change has to stand out against both. Over originals: the paired differences, each original's figure in
the new run less its figure in the baseline, every original weighing the same. Over seeds: another seed pairs, draws and
trains anew, which moves all originals together, so that no resampling of originals tells of it; it is read from the
baseline's own seeds. Where the same seeds were run again and nothing was trained, nothing is left to chance but which
originals a change meets: a release is a function of its seed, and so is what a filter makes of it. Trainings differ
from machine to machine.

References: Student 1908; Cohen 1988, section 2 (power); the mean square within groups is that of the analysis of
variance (Fisher 1925).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import fdtri, stdtr, stdtrit

from harness.check.series import Series
from harness.records import RunResult
from harness.statistics import paired_p, per_unit
from harness.types import Array

POWER = 0.8
_APART = 0.1


@dataclass(frozen=True)
class Spread:
    """A standard error and its degrees of freedom."""

    error: float
    freedom: float

    def p(self, change: float) -> float:
        """Two-sided p-value of a change that is nothing but chance."""
        if change == 0:
            return 1.0
        return float(2 * stdtr(self.freedom, -abs(change) / self.error)) if self.error > 0 else 0.0

    def reach(self, level: float, power: float = 0.5) -> float:
        """The least true change that is told from zero at this level with this power; half an interval at one half."""
        return float(stdtrit(self.freedom, 1 - level / 2) + stdtrit(self.freedom, power)) * self.error


@dataclass(frozen=True)
class Moved:
    """One figure before and after, over the originals that both sides have.

    p        that the change is chance, by the more doubtful of its spreads; not corrected for the number of figures
    spreads  over originals; over seeds, where seeds are left to chance; empty where there is but one original
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
    def same(self) -> bool:
        """Every original's figure is what it was."""
        return self.change == 0 and (self.n == 1 or self.spreads[0].error == 0)

    def interval(self, level: float = 0.05) -> tuple[float, float]:
        """Where the change lies, by the wider of its spreads."""
        reach = max(spread.reach(level) for spread in self.spreads)
        return self.change - reach, self.change + reach

    def detectable(self, level: float, power: float = POWER) -> float:
        """The least true change that is found at this level with this power."""
        return max(spread.reach(level, power) for spread in self.spreads)


def moved(before: Series, after: Series, array: str, over_seeds: tuple[float, int] | None) -> Moved | None:
    """The change of one figure, paired over originals; None where no original is on both sides.

    over_seeds  variance of a seed's mean and its degrees of freedom (see `between_seeds`); None: not known
    """
    old, new = before.sound, after.sound
    again = set(new) <= set(old)
    if again:  # the same seeds: against themselves, not against the baseline's others
        old = {seed: old[seed] for seed in new}
    left, right = (by_original(side.values(), array) for side in (old, new))
    both = sorted(left.keys() & right.keys())
    if not both:
        return None
    a, b = (np.array([side[unit] for unit in both]) for side in (left, right))
    spreads = []
    if len(both) > 1:
        spreads.append(Spread(float((b - a).std(ddof=1)) / math.sqrt(len(both)), len(both) - 1))
    p = paired_p(b, a)
    if over_seeds is not None and (not again or _trained(before) or _trained(after)):
        variance, freedom = over_seeds
        spreads.append(Spread(math.sqrt(variance * (1 / len(old) + 1 / len(new))), freedom))
        p = max(p, spreads[-1].p(float((b - a).mean())))
    return Moved(float(a.mean()), float(b.mean()), p, tuple(spreads), len(both))


def _trained(series: Series) -> bool:
    """Whether a network was trained for it, by what its records say: then the same seed need not do the same again."""
    learned = series.attack is not None and "learned" in series.attack.get("traits", [])
    return series.kind == "utility" or learned or any(_has_steps(record.facts) for record in series.records.values())


def _has_steps(facts: Any) -> bool:
    return isinstance(facts, Mapping) and ("steps" in facts or any(map(_has_steps, facts.values())))


def by_original(records: Iterable[RunResult], array: str) -> dict[int, float]:
    """Each original's figure: the mean over its releases of all seeds. Of a test image: over trainings."""
    some = list(records)
    values = np.concatenate([record.arrays[array] for record in some])
    units = np.concatenate([_units(record, array) for record in some])
    return dict(zip(np.unique(units).tolist(), per_unit(values, units).tolist(), strict=True))


def _units(record: RunResult, array: str) -> Array:
    return record.arrays.get("units", np.arange(len(record.arrays[array])))


def between_seeds(own: Series, alike: Iterable[Series], array: str) -> tuple[float, int] | None:
    """The variance of a seed's mean, and its degrees of freedom: pooled over the defenses, or the series's own.

    A few seeds tell a variance badly, so that of the same work on the suite's other defenses is pooled with it, where
    that work trained a network on them too (multi_release trains only where something is left to restore); unless it is
    the larger one by an F-test at 10 %: then it stands alone. None where no series has two seeds.

    alike  the same work on every defense of the suite, this one among them
    """
    mine = _squares([own], array)
    trained = _trained(own)
    others = _squares([each for each in alike if each is not own and _trained(each) == trained], array)
    if not others[1]:
        return (mine[0] / mine[1], mine[1]) if mine[1] else None
    if mine[1] and mine[0] / mine[1] > fdtri(mine[1], others[1], 1 - _APART) * others[0] / others[1]:
        return mine[0] / mine[1], mine[1]
    freedom = mine[1] + others[1]
    return (mine[0] + others[0]) / freedom, freedom


def _squares(several: Iterable[Series], array: str) -> tuple[float, int]:
    """The sum of squares of the seeds' means around their mean within each series, and its freedom.

    A series whose figure is the same number on every seed (a distance of 0) has nothing to say of the others'.
    """
    squares, freedom = 0.0, 0
    for series in several:
        if array not in series.arrays:
            continue
        apart = seed_means(series.sound, array)
        if len(apart) > 1 and apart.any():
            squares += float(np.square(apart - apart.mean()).sum())
            freedom += len(apart) - 1
    return squares, freedom


def seed_means(records: Mapping[int, RunResult], array: str) -> Array:
    """(S,) how far each seed's figures lie above those of the same originals over all seeds, in the mean.

    Which originals a coin let dominate a seed's release does not count.
    """
    usual = by_original(records.values(), array)
    means = []
    for record in records.values():
        mine = by_original([record], array)
        means.append(np.mean([figure - usual[unit] for unit, figure in mine.items()]))
    return np.array(means)
