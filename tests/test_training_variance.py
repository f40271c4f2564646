"""Intervals of trained figures hold the truth as often as they say, and count no variance twice."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from experiments.interval_coverage import simulate
from harness.training_variance import Sample, decompose, interval, p_value, pool


def balanced(values: np.ndarray) -> Sample:
    """(S, n) figures as a sample."""
    seeds, n = values.shape
    return Sample(values.ravel(), np.tile(np.arange(n), seeds), np.repeat(np.arange(seeds), n))


@pytest.mark.parametrize("ratio", [1.0, 2.0], ids=["equal variances", "2 : 1"])
def test_intervals_hold_the_truth_and_a_true_difference_is_found(ratio: float) -> None:
    """4,000 boards: `python experiments/interval_coverage.py`."""
    found = simulate(200, ratio, seed=13)

    assert 0.93 <= found.covered <= 0.97
    assert found.images_alone < 0.90  # what the boards printed before
    assert found.found > 0.5
    assert found.false_alarm <= 0.05


def test_the_parts_are_those_of_the_analysis_of_variance_in_two_ways() -> None:
    """Of (S, n) figures: between originals, between seeds and the rest, by their sums of squares."""
    values = np.random.default_rng(0).normal(size=(3, 50)) + np.arange(3)[:, None] + np.arange(50) / 10
    grand, seeds, images = values.mean(), values.mean(1), values.mean(0)
    rest = values - seeds[:, None] - images + grand

    part = decompose(balanced(values))

    assert part.mean == pytest.approx(grand)
    assert part.images == pytest.approx(images.var(ddof=1) / 50)
    assert part.squares == pytest.approx(((seeds - grand) ** 2).sum())
    assert part.rest == pytest.approx((rest**2).sum() / (2 * 49) / 50)


def test_originals_that_all_seeds_share_are_not_counted_as_training() -> None:
    """Very different originals, equal trainings: the variance of a training is nearly 0."""
    rng = np.random.default_rng(1)
    values = rng.normal(0, 5, 200) + rng.normal(0, 0.1, (3, 200))

    training = pool([decompose(balanced(values))])

    assert training is not None and training.variance < 1e-4


def test_where_only_trainings_differ_the_interval_is_students_over_seeds() -> None:
    """Every original alike: the interval of three numbers."""
    means = np.array([0.3, 0.5, 0.55])
    part = decompose(balanced(np.repeat(means[:, None], 40, axis=1)))

    low, high = interval(part, pool([part]))

    expected = student.interval(0.95, 2, means.mean(), means.std(ddof=1) / np.sqrt(3))
    assert (low, high) == pytest.approx(expected)


def test_more_rows_give_more_degrees_of_freedom_and_shorter_intervals() -> None:
    rng = np.random.default_rng(2)
    parts = [decompose(balanced(rng.normal(0, 0.1, (3, 1)) + np.zeros((3, 30)))) for _ in range(8)]

    together = pool(parts)

    assert together is not None and together.freedom == 16
    assert together.mean_square == pytest.approx(np.mean([part.squares / 2 for part in parts]))


def test_one_seed_shows_nothing_about_another_training() -> None:
    one = decompose(balanced(np.random.default_rng(3).normal(1, 0.1, (1, 100))))
    others = pool([decompose(balanced(np.random.default_rng(4).normal(size=(3, 100))))])

    assert p_value(one, others) == 1.0
    assert pool([one]) is None


def test_a_figure_that_is_the_same_on_every_seed_has_no_training_variance() -> None:
    """An undefended release has dSSIM 0 whatever is trained; it does not lower the variance of other rows either."""
    zero = decompose(balanced(np.zeros((3, 50))))
    wide = decompose(balanced(np.random.default_rng(5).normal(size=(3, 50))))

    assert interval(zero, pool([zero, wide])) == (0.0, 0.0)
    assert pool([zero, wide]) == pool([wide])
