"""Two-way clustered variance beside its definition and beside variances that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from harness.study.calibration.clustered import Clusters, of_share
from harness.study.calibration.roc import influence

RNG = np.random.default_rng(3)


def one_way(contributions, names):
    """By definition: the sum of squared cluster sums, with G / (G - 1)."""
    sums = np.array([contributions[names == name].sum() for name in np.unique(names)])
    return (sums**2).sum() * len(sums) / (len(sums) - 1)


def test_two_ways_are_the_sum_of_both_less_what_they_share():
    people, images = RNG.integers(0, 7, 400), RNG.integers(0, 30, 400)
    contributions = RNG.normal(size=400)
    contributions -= contributions.mean()
    both = np.array([f"{p}/{i}" for p, i in zip(people, images, strict=True)])

    found = Clusters(people, images).variance(contributions)

    expected = one_way(contributions, people) + one_way(contributions, images) - one_way(contributions, both)
    assert expected > 0 and found == pytest.approx(expected)


def test_a_difference_that_is_negative_by_chance_gives_way_to_the_greater_part():
    """Two people and two images, each sum 0 but for one: what both share is more than the two parts."""
    people, images = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    contributions = np.array([1.2, -1.0, -1.0, 0.8])

    found = Clusters(people, images).variance(contributions)

    assert one_way(contributions, people) * 2 < one_way(contributions, 2 * people + images)
    assert found == pytest.approx(one_way(contributions, people))


def test_images_of_one_person_each_leave_the_variance_over_people():
    images = np.repeat(np.arange(60), 2)
    people = images // 10
    contributions = RNG.normal(size=120)
    contributions -= contributions.mean()

    assert Clusters(people, images).variance(contributions) == pytest.approx(one_way(contributions, people))


def test_one_person_leaves_images_and_one_of_each_says_nothing():
    images = np.arange(20)
    contributions = RNG.normal(size=20)
    contributions -= contributions.mean()
    alone = Clusters(np.zeros(20, int), images)

    assert alone.by == ("images",) and alone.quantile == pytest.approx(student.ppf(0.975, 19))
    assert alone.variance(contributions) == pytest.approx(one_way(contributions, images))
    nothing = Clusters(np.zeros(20, int), np.zeros(20, int))
    assert nothing.by == () and of_share(0.5, contributions, nothing) == (None, None)


def test_judgements_apart_have_the_variance_of_delong():
    """Each judgement its own person and image: the classical variance of an AUC."""
    distances, hidden = RNG.normal(size=300), RNG.random(300) < 0.4
    contributions = influence(distances, hidden)
    placed = [contributions[mine] * mine.sum() for mine in (hidden, ~hidden)]
    delong = sum(part.var(ddof=1) / len(part) for part in placed)

    found = Clusters(np.arange(300), np.arange(300)).variance(contributions)

    assert found == pytest.approx(delong, rel=0.02)


def test_many_sums_at_once_are_the_same_as_one_after_the_other():
    clusters = Clusters(RNG.integers(0, 5, 90), RNG.integers(0, 9, 90))
    many = RNG.normal(size=(90, 4))
    many -= many.mean(0)

    assert clusters.variance(many) == pytest.approx(np.array([clusters.variance(many[:, at]) for at in range(4)]))


def test_an_interval_stays_between_0_and_1_and_there_is_none_at_the_ends():
    clusters = Clusters(np.arange(10), np.arange(10))
    wide = np.where(np.arange(10) % 2, 0.2, -0.2)

    low, high = of_share(0.9, wide, clusters)

    assert 0 < low < 0.9 < high < 1
    assert of_share(1.0, wide, clusters) == (None, None)
