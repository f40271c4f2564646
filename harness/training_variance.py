"""Intervals and p-values of figures that were trained: they hold the images and the trainings.

A figure of original u in the training of seed s is y(s, u) = mean + original(u) + training(s) + rest(s, u). Its mean
over S seeds and n originals varies by

    V = var(original + rest / S) / n  +  var(training) / S

The first term is the variance of the originals' means over seeds, divided by n: the images' part, which the seeds
share. The second is the variance of the seeds' means less what the rest alone makes them vary, so that nothing is
counted twice. Three seeds estimate it badly, so it is pooled over figures of the same kind, with the sum of their
seeds minus one each as degrees of freedom; the interval is Student's with the degrees of freedom of V.

References: Fisher 1925 (analysis of variance in two ways); Student 1908; Satterthwaite 1946 (degrees of freedom of a
sum of variances).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from harness.types import Array

THIS_TRAINING, TRAININGS = "this training only", "images and trainings"
"""What an interval of a trained figure holds: of one seed, and of several."""


class Sample(NamedTuple):
    """One figure: (M,) numbers, the original and the seed of each."""

    values: Array
    units: Array
    seeds: Array


@dataclass(frozen=True)
class Decomposition:
    """A mean and what it varies by.

    images   variance of the mean over other originals, with these trainings
    squares  sum of the squared effects of the seeds; an effect is the mean over a seed's originals of their figure
             minus the same original's mean over all seeds
    rest     what a seed's effect would vary by if no training mattered
    seeds    S
    n        originals
    """

    mean: float
    images: float
    squares: float
    rest: float
    seeds: int
    n: int

    @property
    def freedom(self) -> int:
        return self.seeds - 1

    @property
    def constant(self) -> bool:
        """Whether every original has the same figure on every seed, as a distance of 0 has."""
        return self.squares < 1e-24 and self.rest < 1e-24


@dataclass(frozen=True)
class TrainingVariance:
    """Of one training, pooled over figures of a kind.

    variance     what a seed's mean varies by beyond the rest; at least 0
    mean_square  what it varies by with the rest: the estimate that has these degrees of freedom
    """

    variance: float
    mean_square: float
    freedom: int


def decompose(sample: Sample) -> Decomposition:
    """The parts of a figure's variance, also where some originals are not in every seed."""
    values = np.asarray(sample.values, np.float64)
    names, rows, counts = np.unique(sample.units, return_inverse=True, return_counts=True)
    means = np.bincount(rows, weights=values) / counts
    n = len(names)
    images = float(means.var(ddof=1)) / n if n > 1 else 0.0
    seeds, which, sizes = np.unique(sample.seeds, return_inverse=True, return_counts=True)
    if len(seeds) == 1:
        return Decomposition(float(means.mean()), images, 0.0, 0.0, 1, n)
    apart = values - means[rows]
    effects = np.bincount(which, weights=apart) / sizes
    effects -= effects.mean()
    left = apart - effects[which]
    freedom = len(values) - n - (len(seeds) - 1)
    mean_square = float(left @ left) / freedom if freedom > 0 else 0.0
    rest = mean_square * float(np.mean(1 / sizes))
    return Decomposition(float(means.mean()), images, float(effects @ effects), rest, len(seeds), n)


def pool(parts: Iterable[Decomposition]) -> TrainingVariance | None:
    """The training variance of figures of one kind; None where no two seeds of any differ.

    A figure that is the same number on every seed does not count: it would lower the others'.
    """
    some = [part for part in parts if part.freedom and not part.constant]
    freedom = sum(part.freedom for part in some)
    if not freedom:
        return None
    mean_square = sum(part.squares for part in some) / freedom
    rest = sum(part.rest * part.freedom for part in some) / freedom
    return TrainingVariance(max(0.0, mean_square - rest), mean_square, freedom)


def interval(part: Decomposition, training: TrainingVariance | None, share: float | None = None) -> tuple[float, float]:
    """95 % interval of the mean that holds images and trainings.

    share  by what the variance of one training is multiplied: 1 / S unless given; 1 / S + 1 / S' of a difference
    """
    error, freedom = _error(part, training, share)
    reach = float(stdtrit(freedom, 0.975)) * error if error else 0.0
    return part.mean - reach, part.mean + reach


def p_value(part: Decomposition, training: TrainingVariance | None, share: float | None = None) -> float:
    """Two-sided p-value of the mean being zero. 1 with one seed: a single training shows nothing about others."""
    error, freedom = _error(part, training, share)
    if part.seeds < 2 or part.mean == 0:
        return 1.0
    return 2 * float(stdtr(freedom, -abs(part.mean) / error)) if error else 0.0


def _error(part: Decomposition, training: TrainingVariance | None, share: float | None) -> tuple[float, float]:
    """The standard error of the mean, and its degrees of freedom."""
    if training is None or part.seeds < 2 or part.constant:
        return math.sqrt(part.images), max(part.n - 1, 1)
    times = 1 / part.seeds if share is None else share
    variance = part.images + times * training.variance
    squares = part.images**2 / max(part.n - 1, 1) + (times * training.mean_square) ** 2 / training.freedom
    least = min(training.freedom, max(part.n - 1, 1))
    return math.sqrt(variance), max(variance**2 / squares, least) if squares else least
