"""Confidence intervals have their nominal coverage and corrected comparisons their nominal error rate: by simulation.

Wilson's coverage is not simulated: the binomial distribution is summed. Every other share is of SETS simulated sets, so
a correct 95 % interval covers the true value in 92.9 to 97.1 % (three standard deviations of the count).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.statistics import holm, paired, paired_p, summarise, wilson

SETS = 1000
SLACK = 3 * np.sqrt(0.95 * 0.05 / SETS)


def covered(make: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray | None]], truth: float) -> float:
    """The share of sets whose interval covers the true value."""
    hits = 0
    for number in range(SETS):
        values, units = make(np.random.default_rng([11, number]))
        found = summarise(values, units=units, seed=number, draws=400, proportion=False)
        hits += found["low"] <= truth <= found["high"]
    return hits / SETS


# The bootstrap of means


@pytest.mark.parametrize(
    ("make", "truth"),
    [
        (lambda rng: rng.normal(0.7, 0.1, 300), 0.7),
        (lambda rng: rng.gamma(2, 1, 300), 2),
        (lambda rng: rng.beta(7, 3, 300), 0.7),
    ],
    ids=["normal", "gamma", "beta, as distances are"],
)
def test_the_bootstrap_of_300_originals_covers_the_mean_in_95_percent(make, truth) -> None:
    assert abs(covered(lambda rng: (make(rng), None), truth) - 0.95) < SLACK


def clustered(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """300 originals that differ much and 900 releases, each dominated by a random original."""
    originals = rng.gamma(2, 1, 300)
    units = rng.integers(0, 300, 900)
    return originals[units] + rng.normal(0, 0.5, 900), units


def test_releases_of_the_same_originals_are_resampled_together() -> None:
    """Were each release resampled by itself, three intervals of ten would miss."""
    assert abs(covered(clustered, 2) - 0.95) < SLACK
    assert covered(lambda rng: (clustered(rng)[0], None), 2) < 0.8


def test_the_mean_of_few_very_skewed_figures_is_covered_in_90_to_95_percent() -> None:
    """A known weakness of percentile intervals: lognormal figures (skewness 6) of 100 originals."""
    found = covered(lambda rng: (rng.lognormal(0, 1, 100), None), float(np.exp(0.5)))

    assert 0.9 < found < 0.95


# Wilson


@pytest.mark.parametrize("n", [10, 20, 50, 200, 1000])
def test_wilson_covers_the_share_in_95_percent(n: int) -> None:
    """Computed exactly: over shares from .02 to .98 it is 95 to 96 % in the mean, and at worst 89 % for ten images."""
    counts = np.arange(n + 1)
    ends = np.array([wilson(int(hits), n) for hits in counts])
    shares = np.linspace(0.02, 0.98, 193)

    holds = [(ends[:, 0] <= share) & (share <= ends[:, 1]) for share in shares]
    found = np.array([scipy.stats.binom.pmf(counts, n, share)[h].sum() for share, h in zip(shares, holds, strict=True)])

    assert 0.949 < found.mean() < 0.96
    assert found.min() > (0.89 if n < 50 else 0.92)


# Paired differences


def two_runs(rng: np.random.Generator, apart: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two runs on 200 originals, which differ more than the runs; the difference is skewed and its mean is `apart`."""
    originals = rng.gamma(2, 1, 200)
    return originals + rng.exponential(0.1, 200) - 0.1 + apart, originals + rng.normal(0, 0.05, 200)


def test_the_interval_of_a_paired_difference_covers_it_in_95_percent() -> None:
    runs = (two_runs(np.random.default_rng([12, number]), 0.3) for number in range(SETS))

    found = [paired(a, b, seed=number, draws=400) for number, (a, b) in enumerate(runs)]

    assert abs(np.mean([each["low"] <= 0.3 <= each["high"] for each in found]) - 0.95) < SLACK


def test_p_is_that_of_students_paired_test() -> None:
    a, b = two_runs(np.random.default_rng(13), 0.02)

    assert paired_p(a, b) == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue, rel=1e-9)
    assert paired_p(b, a) == paired_p(a, b)


def test_p_counts_originals_not_releases() -> None:
    """Twenty copies of every release change nothing."""
    a, b = two_runs(np.random.default_rng(14), 0.02)
    units = np.arange(200)

    many = paired_p(np.tile(a, 20), np.tile(b, 20), units=np.tile(units, 20))

    assert many == pytest.approx(paired_p(a, b)) and many > 5 * paired_p(np.tile(a, 20), np.tile(b, 20))


def test_without_a_difference_p_is_below_05_in_5_percent() -> None:
    found = [paired_p(*two_runs(np.random.default_rng([15, number]))) for number in range(SETS)]

    assert abs(np.mean(np.array(found) < 0.05) - 0.05) < SLACK


def test_p_and_the_interval_agree_except_near_05() -> None:
    """With small differences: where p is below .02 no interval contains 0, above .1 every interval does."""
    runs = [two_runs(np.random.default_rng([16, number]), 0.015) for number in range(300)]

    beyond = np.array([found["low"] > 0 or found["high"] < 0 for found in (paired(a, b, draws=1000) for a, b in runs)])
    p = np.array([paired_p(a, b) for a, b in runs])

    assert (p < 0.02).sum() > 60 and (p > 0.1).sum() > 60
    assert beyond[p < 0.02].all() and not beyond[p > 0.1].any()


@pytest.mark.parametrize("n", [2, 5, 10])
def test_with_few_equal_differences_p_is_that_of_the_sign_test(n: int) -> None:
    """All n signs agree by chance in 2 of 2^n cases; equal differences give no smaller p."""
    assert paired_p(np.full(n, 0.5), np.zeros(n)) == 2.0 ** (1 - n)


@pytest.mark.parametrize("values", [[], [0.4], [0.0, 0.0, 0.0]], ids=["none", "one", "all equal"])
def test_without_data_or_differences_p_is_one(values: list[float]) -> None:
    assert paired_p(values, np.zeros(len(values))) == 1


# Many comparisons


def test_holm_gives_a_case_worked_by_hand() -> None:
    """.005 x 4 = .02, .01 x 3 = .03, .03 x 2 = .06, .04 x 1 = .04, which may not be less than .06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def step_down(p: list[float], level: float) -> list[bool]:
    """Holm 1979, as published: from the smallest, reject while p is at most level / (number not yet rejected)."""
    rejected = [False] * len(p)
    for step, position in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[position] > level / (len(p) - step):
            break
        rejected[position] = True
    return rejected


@settings(deadline=None)
@given(p=st.lists(st.floats(0, 1), max_size=12), level=st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_the_same_as_the_step_down_procedure(p: list[float], level: float) -> None:
    nearly = [abs(value * (len(p) - step) - level) < 1e-12 for value in p for step in range(len(p))]
    if any(nearly):  # on the border the last digit decides
        return

    assert [bool(each <= level) for each in holm(p)] == step_down(p, level)


def test_one_comparison_is_not_corrected_and_none_gives_none() -> None:
    assert holm([0.03]) == [0.03] and len(holm([])) == 0


@pytest.mark.parametrize("wrong", [[0.5, 1.2], [-0.1], [float("nan")], [[0.1]]])
def test_a_value_that_is_no_p_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        holm(wrong)


def test_a_cross_without_differences_has_a_significant_one_in_at_most_5_percent() -> None:
    """30 attacks against one baseline, so the comparisons depend on each other; uncorrected, most crosses have one."""
    significant, uncorrected = 0, 0
    for number in range(SETS):
        rng = np.random.default_rng([17, number])
        apart = rng.normal(0, 1, (30, 60)) - rng.normal(0, 1, 60)
        found = np.array([paired_p(row, np.zeros(60)) for row in apart])
        significant += bool((holm(found) < 0.05).any())
        uncorrected += bool((found < 0.05).any())

    assert significant / SETS < 0.05 + SLACK
    assert uncorrected / SETS > 0.5
