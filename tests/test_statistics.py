"""Means and intervals are those of the textbooks, and their unit is the original."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import statistics
from harness.statistics import paired, share_below, summarise, wilson

NOTHING = {"mean": None, "low": None, "high": None, "p5": None, "min": None, "n": 0}


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (1, 1000), (437, 1000)])
def test_wilson_is_scipys(hits: int, n: int) -> None:
    expected = scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")

    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@settings(deadline=None)
@given(n=st.integers(1, 5000), share=st.floats(0, 1))
def test_wilson_stays_within_zero_and_one_around_the_share(n: int, share: float) -> None:
    hits = round(share * n)

    low, high = wilson(hits, n)

    assert low is not None and high is not None
    assert 0 <= low <= hits / n <= high <= 1


def test_hits_get_wilsons_interval() -> None:
    """Ten failures of ten do not prove a rate of zero."""
    found = summarise([0.0] * 10)

    assert (found["mean"], found["low"]) == (0, 0)
    assert found["high"] == pytest.approx(scipy.stats.binomtest(0, 10).proportion_ci(method="wilson").high)


def test_distances_that_are_all_zero_are_not_taken_for_proportions() -> None:
    """The undefended image has dSSIM 0 exactly, with an interval of width 0."""
    assert summarise([0.0] * 10, proportion=False)["high"] == 0


def test_bootstrap_is_scipys() -> None:
    values = np.random.default_rng(3).gamma(2, size=150)

    ours = summarise(values, draws=4000)

    theirs = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(0)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours["low"] == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours["high"] == pytest.approx(theirs.high, abs=0.05 * width)


def test_bootstrap_of_normal_figures_is_near_students_interval() -> None:
    values = np.random.default_rng(4).normal(5, 2, 400)

    ours = summarise(values)

    low, high = scipy.stats.t.interval(0.95, 399, values.mean(), scipy.stats.sem(values))
    assert ours["low"] == pytest.approx(low, abs=0.03)
    assert ours["high"] == pytest.approx(high, abs=0.03)


def test_the_interval_has_its_nominal_coverage() -> None:
    """300 sets of 100 skewed figures: between 91 and 98 % of the intervals hold the true mean."""
    sets = np.random.default_rng(5).gamma(2, size=(300, 100))

    found = [summarise(values, seed=seed, draws=500) for seed, values in enumerate(sets)]

    assert 0.91 < np.mean([each["low"] <= 2 <= each["high"] for each in found]) < 0.98


def test_mean_fifth_percentile_and_minimum_are_of_originals() -> None:
    """An original's figure is the mean over the releases that it dominates."""
    found = summarise([1, 3, 10, 20, 30, 7], units=["a", "a", "b", "b", "b", "c"])

    assert (found["n"], found["min"]) == (3, 2)
    assert found["mean"] == pytest.approx((2 + 20 + 7) / 3)
    assert found["p5"] == pytest.approx(np.percentile([2, 20, 7], 5))


def test_more_releases_of_the_same_originals_do_not_narrow_the_interval() -> None:
    """Every release twenty times over leaves the interval as it was."""
    values = np.random.default_rng(6).normal(size=60)
    units = np.arange(60)

    many = summarise(np.tile(values, 20), units=np.tile(units, 20))

    once = summarise(values, units=units)
    assert many["n"] == once["n"] == 60
    assert (many["low"], many["high"]) == pytest.approx((once["low"], once["high"]))
    assert many["high"] - many["low"] > 2 * (
        summarise(np.tile(values, 20))["high"] - summarise(np.tile(values, 20))["low"]
    )


def test_hits_averaged_over_releases_are_bootstrapped() -> None:
    """A figure of one half is not a hit or a miss."""
    found = summarise([1, 0, 1, 1, 0, 0], units=[0, 0, 1, 1, 2, 2])

    assert found["mean"] == pytest.approx(0.5)
    assert (found["low"], found["high"]) == (0, 1)


def test_the_same_seed_gives_the_same_interval_in_chunks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(8).normal(size=50)
    whole = summarise(values, seed=1)

    monkeypatch.setattr(statistics, "CHUNK", 100 * 50)
    statistics._cached.cache_clear()

    assert summarise(values, seed=1) == whole
    assert summarise(values, seed=2) != whole


@pytest.mark.parametrize("n", [2, 50, 1000, 1201, 3000], ids=lambda n: f"{n} originals")
@pytest.mark.parametrize("seed", [0, 7])
def test_cached_resamples_change_no_figure(n: int, seed: int) -> None:
    """Bit for bit the same as without a cache, for the first figure, the next, and where too many to cache."""
    for values in np.random.default_rng(n).gamma(2, size=(3, n)):
        found = summarise(values, seed=seed, proportion=False)

        rows = np.random.Generator(np.random.Philox(seed)).integers(0, n, (2000, n), dtype=np.int32)
        low, high = np.percentile([values[row].mean() for row in rows], (2.5, 97.5))
        assert (found["low"], found["high"]) == (low, high)


def test_only_a_bounded_number_of_resamples_is_cached() -> None:
    statistics._cached.cache_clear()
    for n in (20, 30, 40, 50, 60, statistics.CACHED // 2000 + 1):
        summarise(np.linspace(0.1, 0.9, n))

    cache = statistics._cached.cache_info()

    assert (cache.misses, cache.currsize) == (5, 4)
    assert cache.maxsize is not None and cache.maxsize * statistics.CACHED * 8 <= 2**27


def test_a_shift_moves_the_interval_along() -> None:
    values = np.random.default_rng(9).normal(size=80)

    low, shifted = summarise(values)["low"], summarise(values + 100)["low"]

    assert shifted == pytest.approx(low + 100)


def test_no_values_give_no_statistics() -> None:
    assert summarise([]) == NOTHING
    assert summarise([], units=[]) == NOTHING


def test_one_original_has_a_mean_but_no_interval() -> None:
    assert summarise([0.4, 0.6], units=[7, 7]) == {
        "mean": 0.5,
        "low": None,
        "high": None,
        "p5": 0.5,
        "min": 0.5,
        "n": 1,
    }


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_values_that_are_not_finite_are_an_error_with_their_number(broken: float) -> None:
    with pytest.raises(ValueError, match="2 of 4 values are not finite"):
        summarise([0.1, broken, 0.3, broken])


def test_every_value_needs_its_unit() -> None:
    with pytest.raises(ValueError, match="3 values belong to 2 units"):
        summarise([1, 2, 3], units=[1, 2])


def test_statistics_can_be_written_as_json() -> None:
    assert {type(value) for value in summarise(np.float32([0.25, 0.5])).values()} == {float, int}


def test_a_paired_interval_is_narrower_than_two_separate_ones() -> None:
    """Originals differ a lot, the two runs differ by 0.1 on each of them."""
    rng = np.random.default_rng(10)
    b = rng.normal(size=200)
    a = b + 0.1 + rng.normal(0, 0.01, 200)

    found = paired(a, b)

    assert found["n"] == 200 and found["mean"] == pytest.approx(0.1, abs=0.005)
    assert 0.095 < found["low"] < found["high"] < 0.105
    assert paired(a, a) == {"mean": 0, "low": 0, "high": 0, "n": 200}


def test_paired_figures_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="same units"):
        paired([1, 2], [1, 2, 3])


def test_share_below_counts_originals_under_the_threshold() -> None:
    found = share_below([0.1, 0.2, 0.66, 0.9, 0.9], 0.66)

    expected = scipy.stats.binomtest(2, 5).proportion_ci(method="wilson")
    assert (found["mean"], found["n"]) == (0.4, 5)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert share_below([0.1, 0.9], 0.6, units=["x", "x"])["mean"] == 1
