"""ROC curves, AUC and both thresholds beside scikit-learn, closed forms and counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from harness.study.calibration.roc import ACC, CUT_OFF, curve, grade, influence

# recognised at .1, .2, .4, not at .3, .5, .6
DISTANCES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
HIDDEN = np.array([False, False, True, False, True, True])

cases = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({hidden for _, hidden in rows}) == 2
)


def split(rows):
    return np.array([value / 8 for value, _ in rows]), np.array([hidden for _, hidden in rows])


def test_six_judgements_by_hand():
    found = curve(DISTANCES, HIDDEN)

    assert found.auc == pytest.approx(8 / 9)  # of nine pairs one is the wrong way round
    acc, cut = found.point(ACC), found.point(CUT_OFF)
    assert (acc.threshold, acc.fpr, acc.tpr) == (0.5, 0.0, pytest.approx(2 / 3))  # .3 is as good, and hides less
    assert (cut.threshold, cut.fpr, cut.tpr) == (0.5, 0.0, pytest.approx(2 / 3))


@given(cases)
def test_rates_are_shares_at_or_above_the_threshold(rows):
    distances, hidden = split(rows)
    found = curve(distances, hidden)
    at = np.array([-1.0, *np.unique(distances), 0.33, 2.0])

    fpr, tpr = found.rates_at(at)

    assert fpr == pytest.approx([np.mean(distances[~hidden] >= t) for t in at])
    assert tpr == pytest.approx([np.mean(distances[hidden] >= t) for t in at])


@given(cases)
def test_thresholds_are_the_best_of_all_and_the_largest_of_equals(rows):
    distances, hidden = split(rows)
    found = curve(distances, hidden)
    every = np.unique(distances)
    fpr, tpr = (np.array([np.mean(distances[some] >= t) for t in every]) for some in (~hidden, hidden))

    for criterion, badness in ((ACC, fpr - tpr), (CUT_OFF, np.sqrt(fpr**2 + (1 - tpr) ** 2))):
        best = every[badness <= badness.min() + 1e-9].max()
        assert found.point(criterion).threshold == best


@given(cases)
def test_influence_is_what_is_left_of_the_mean_placement(rows):
    """DeLong's placement values, counted pair by pair."""
    distances, hidden = split(rows)
    nearer = (distances[~hidden] < distances[hidden, None]) + 0.5 * (distances[~hidden] == distances[hidden, None])
    auc = roc_auc_score(hidden, distances)
    expected = np.empty(len(hidden))
    expected[hidden] = (nearer.mean(1) - auc) / hidden.sum()
    expected[~hidden] = (nearer.mean(0) - auc) / (~hidden).sum()

    found = influence(distances, hidden)

    assert found == pytest.approx(expected, abs=1e-12)
    assert curve(distances, hidden).auc == pytest.approx(auc)


def test_the_auc_of_two_normal_distributions_is_the_binormal_one():
    """Phi((m1 - m0) / sqrt(s1^2 + s0^2)); a threshold of equal widths lies in the middle."""
    rng = np.random.default_rng(1)
    near, far = rng.normal(0.4, 0.1, 100_000), rng.normal(0.6, 0.1, 100_000)

    found = curve(np.concatenate([near, far]), np.repeat([False, True], 100_000))

    assert found.auc == pytest.approx(norm.cdf(0.2 / np.sqrt(0.02)), abs=0.002)
    assert found.point(ACC).threshold == pytest.approx(0.5, abs=0.01)
    assert found.point(CUT_OFF).threshold == pytest.approx(0.5, abs=0.005)
    assert found.point(ACC).tpr == pytest.approx(norm.cdf(1), abs=0.04)


def test_grades_are_the_papers():
    assert [grade(auc) for auc in (0.5, 0.69, 0.7, 0.79, 0.8, 0.9, 0.91)] == [
        "guessing", "below acceptable", "acceptable", "acceptable", "excellent", "excellent", "outstanding",
    ]  # fmt: skip
