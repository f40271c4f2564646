"""Intervals hold the truth of simulated people as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from experiments.calibration_coverage import HALF, IMAGE, MEAN, PERSON, SPREAD, WIDTH, covered, simulate, truth
from harness.study.calibration import thresholds
from harness.study.calibration.clustered import Clusters
from harness.study.calibration.roc import ACC, CUT_OFF, curve


def test_the_truth_of_the_simulation_is_that_of_half_a_million_people():
    """The quadrature beside a sample without ties between people and images."""
    rng = np.random.default_rng(0)
    dssim = rng.normal(MEAN, SPREAD, 500_000)
    hidden = rng.random(500_000) < expit((dssim - HALF - np.hypot(PERSON, IMAGE) * rng.normal(size=500_000)) / WIDTH)
    found, of = curve(dssim, hidden), truth()

    assert of.auc == pytest.approx(found.auc, abs=0.002)
    assert of.t_acc == pytest.approx(found.point(ACC).threshold, abs=0.01)
    assert of.t_cut_off == pytest.approx(found.point(CUT_OFF).threshold, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(("people", "surveys"), [(24, 24), (24, 4)])
def test_intervals_hold_the_truth_93_to_97_times_in_a_hundred(people, surveys):
    """120 repetitions with a fixed seed, within four standard errors of .95 for each figure and two for all together;
    500 are in docs/calibration.md (`python experiments/calibration_coverage.py`)."""
    rng, of = np.random.default_rng([8, people, surveys]), truth()
    held = np.array([covered(simulate(rng, people, surveys), of) for _ in range(120)])

    assert not np.isnan(held).any()
    assert (held.mean(0) >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / 120)).all()
    assert 0.93 <= held.mean() <= 0.98


def test_an_interval_that_ignores_who_judged_is_too_short():
    """Why judgements are clustered: as independent ones, they miss the truth too often."""
    rng, of = np.random.default_rng(4), truth()
    missed = 0
    for _ in range(60):
        found = simulate(rng, 24, 1)
        apart = Clusters(np.arange(len(found.hidden)), np.arange(len(found.hidden)))
        missed += 60 - 60 * covered(type(found)(found.dssim, found.noise, found.hidden, apart), of)[0]

    assert missed / 60 > 0.2 * 60


@pytest.mark.parametrize("criterion", [ACC, CUT_OFF])
def test_more_people_make_the_interval_shorter(criterion):
    widths = []
    for people in (6, 24):
        found = simulate(np.random.default_rng(5), people, people)
        estimate = curve(found.dssim, found.hidden).point(criterion).threshold
        low, high = thresholds.interval(found.dssim, found.hidden, found.clusters, criterion, estimate)
        assert low <= estimate <= high
        widths.append(high - low)

    assert widths[1] < 0.75 * widths[0]


def test_a_metric_of_noise_has_no_threshold_by_the_greatest_difference():
    found = simulate(np.random.default_rng(6), 24, 24)
    estimate = curve(found.noise, found.hidden).point(ACC).threshold

    assert thresholds.interval(found.noise, found.hidden, found.clusters, ACC, estimate) == (None, None)


def test_one_value_for_all_has_no_interval():
    clusters = Clusters(np.arange(4), np.arange(4))

    assert thresholds.interval(np.full(4, 0.5), np.array([1, 0, 1, 0], bool), clusters, ACC, 0.5) == (None, None)
