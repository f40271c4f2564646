"""How often a board's intervals hold the truth, and how often a true difference is called significant.

    python experiments/interval_coverage.py [--boards 4000] [--seed 13]

Simulates boards of eight rows, three seeds each, whose true means are known: the accuracy of models on 300 shared test
images, with easy and hard images, and trainings that differ. Between rows the variance of a training is equal, or twice
as large in one half as in the other. Every interval and every p-value is made by the board's own functions. Prints, for
the intervals over images alone (as boards had them before) and for those that hold the training: the share that holds
the truth, in all rows and in those of either variance; the share of true differences of twice the pooled half-width
that are significant after Holm's correction for all pairs of rows; and the share of boards where any of the pairs
without a difference is called significant.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import ndtri

from harness.statistics import bootstrap, holm
from harness.training_variance import Sample, TrainingVariance, decompose, interval, p_value, pool
from harness.types import Array

ROWS, SEEDS, IMAGES = 8, 3, 300
TRAINING = 0.03  # standard deviation of a training's accuracy, as of `mix` .75 on imagenette10_96
DIFFICULTY = 1.0  # standard deviation of an image's difficulty, in units of the probit
LEVEL = 0.05


@dataclass(frozen=True)
class Shares:
    """Shares of intervals, pairs and boards, each from 0 to 1."""

    covered: float
    covered_small: float
    covered_large: float
    images_alone: float
    found: float
    false_alarm: float


def simulate(boards: int, ratio: float, seed: int) -> Shares:
    """ratio: by how much the variance of a training is larger in the second half of the rows."""
    rng = np.random.default_rng(seed)
    variance = np.repeat([2 / (1 + ratio), 2 * ratio / (1 + ratio)], ROWS // 2) * TRAINING**2
    covered, alone, found, alarms = [], [], [], []
    for at in range(boards):
        truth = np.full(ROWS, 0.45)
        draws = _Draws.of(rng, variance)
        parts = [decompose(draws.row(truth, row)) for row in range(ROWS)]
        training = pool(parts)
        ends = np.array([interval(part, training) for part in parts])
        covered.append((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
        if at < 400:  # the bootstrap is slow
            some = [bootstrap(draws.row(truth, row).values.reshape(SEEDS, -1).mean(0), 0, 500) for row in range(ROWS)]
            alone.append([low <= 0.45 <= high for low, high in some])
        null = _pairs(draws, truth, training)
        alarms.append((null < LEVEL).any())
        truth[-1] += 2 * _half_width(draws, truth, training)
        corrected = _pairs(draws, truth, training)
        found.append(np.mean([corrected[i] < LEVEL for i, pair in enumerate(PAIRS) if ROWS - 1 in pair]))
    held = np.array(covered)
    small, large = held[:, : ROWS // 2].mean(), held[:, ROWS // 2 :].mean()
    return Shares(held.mean(), small, large, float(np.mean(alone)), float(np.mean(found)), float(np.mean(alarms)))


PAIRS = list(combinations(range(ROWS), 2))


@dataclass(frozen=True)
class _Draws:
    """What a board's rows draw: the difficulty of the images, which all rows share; trainings; and the rest."""

    images: Array
    trainings: Array
    rest: Array

    @staticmethod
    def of(rng: np.random.Generator, variance: Array) -> _Draws:
        trainings = rng.normal(size=(ROWS, SEEDS, 1)) * np.sqrt(variance)[:, None, None]
        return _Draws(rng.normal(size=IMAGES) * DIFFICULTY, trainings, rng.normal(size=(ROWS, SEEDS, IMAGES)))

    def row(self, truth: Array, row: int) -> Sample:
        """Hits: an image is right where its easiness and chance reach the quantile of this training's accuracy."""
        level = ndtri(np.clip(truth[row] + self.trainings[row], 0.01, 0.99)) * np.sqrt(1 + DIFFICULTY**2)
        hits = (level + self.images + self.rest[row] > 0).astype(float)
        return Sample(hits.ravel(), np.tile(np.arange(IMAGES), SEEDS), np.repeat(np.arange(SEEDS), IMAGES))


def _difference(draws: _Draws, truth: Array, one: int, other: int) -> Sample:
    a, b = draws.row(truth, one), draws.row(truth, other)
    return Sample(a.values - b.values, a.units, a.seeds)


def _pairs(draws: _Draws, truth: Array, training: TrainingVariance | None) -> Array:
    p = [p_value(decompose(_difference(draws, truth, *pair)), training, 2 / SEEDS) for pair in PAIRS]
    return holm(p)


def _half_width(draws: _Draws, truth: Array, training: TrainingVariance | None) -> float:
    """Of the interval of a difference between two rows, by the expected parts of its variance."""
    low, high = interval(decompose(_difference(draws, truth, 0, ROWS - 1)), training, 2 / SEEDS)
    return (high - low) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--boards", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=13)
    args = parser.parse_args()
    print(f"{args.boards} boards of {ROWS} rows, {SEEDS} seeds, {IMAGES} images; seed {args.seed}")
    print(
        "| variance between rows | images alone | with training | smaller | larger | difference found | false alarm |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, ratio in (("equal", 1.0), ("2 : 1", 2.0)):
        s = simulate(args.boards, ratio, args.seed)
        shares = (s.images_alone, s.covered, s.covered_small, s.covered_large, s.found, s.false_alarm)
        print(f"| {name} | " + " | ".join(f"{share:.3f}" for share in shares) + " |")


if __name__ == "__main__":
    main()
