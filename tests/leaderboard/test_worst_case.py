"""The worst case is the minimum over the release and every attack that counts, for every original."""

from __future__ import annotations

import numpy as np
import pytest

from harness.leaderboard.board import boards
from tests.helpers.rows import MULTI, RELEASED, N, attacked, recognised, release, row, rows, trained


def test_the_worst_case_is_the_minimum_over_the_release_and_every_attack_per_original():
    """One attack is better on the first half, the other on the second, and both are worse than the release on one."""
    half = np.arange(N) < N // 2
    one, other = np.where(half, 0.3, 0.95), np.where(half, 0.95, 0.4)
    one[0] = 0.99

    found = row(release(), attacked("one", dssim=one), attacked("other", dssim=other))

    expected = np.minimum(RELEASED, np.minimum(one, other))
    assert expected[0] == RELEASED[0]
    assert found.worst["dssim"]["mean"] == pytest.approx(expected.mean())
    assert found.worst["dssim"]["min"] == pytest.approx(0.3)
    assert found.worst["dssim"]["below"] == pytest.approx((expected < 0.66).mean())
    assert found.worst["dssim"]["attack"] == "one"  # the larger fall in the mean


def test_without_a_reconstruction_the_worst_case_is_the_release_itself():
    found = row(release(), recognised(np.ones(N)))

    assert found.worst["dssim"]["mean"] == pytest.approx(RELEASED.mean())
    assert found.worst["dssim"]["attack"] == "look"


def test_an_attack_that_increases_the_distance_does_not_raise_the_worst_case():
    found = row(release(), attacked("clumsy", dssim=RELEASED + 0.2))

    assert found.worst["dssim"]["mean"] == pytest.approx(RELEASED.mean())
    assert found.worst["dssim"]["attack"] == "look"


def test_controls_never_enter_the_worst_case():
    """The oracle would lower it on every row."""
    found = row(release(), attacked("oracle", dssim=np.zeros(N), traits=("control",)))

    assert found.worst["dssim"]["mean"] == pytest.approx(RELEASED.mean())


def test_failed_attacks_do_not_count_and_are_named():
    found = row(release(), attacked("broken", status="failed"))

    assert found.worst["dssim"]["mean"] == pytest.approx(RELEASED.mean())
    assert found.failures == ["broken: why it failed"]


def test_an_original_that_dominates_two_rows_counts_once():
    """Original 0 with .2 and .4, original 1 with .9: the release is (.3 + .9) / 2, the worst case (.2 + .9) / 2."""
    found = row(release(dssim=[0.2, 0.4, 0.9], units=[0, 0, 1]))

    assert found.scores["dssim"]["mean"] == pytest.approx(0.6) and found.scores["dssim"]["n"] == 2
    assert found.worst["dssim"]["mean"] == pytest.approx(0.55) and found.worst["dssim"]["n"] == 2


def test_an_attack_on_one_seed_does_not_count_on_another():
    found = row(release(), release(seed=1), attacked("one", dssim=np.zeros(N)))

    assert found.worst["dssim"]["mean"] == pytest.approx(RELEASED.mean() / 2)


def test_a_multi_release_attack_counts_without_a_trained_model():
    """`--no-utility` must not make a defense look safer."""
    found = row(release(), attacked(MULTI, dssim=np.full(N, 0.1), granted=("releases",), releases=5))

    assert found.worst["dssim"]["mean"] == pytest.approx(0.1)


def test_an_attack_on_more_releases_than_utility_trained_on_is_in_another_row():
    """R is one number for privacy and utility; attacks on more releases are in a row of their own."""
    found = rows(
        release(), trained(0.9, epochs=10), attacked(MULTI, dssim=np.zeros(N), granted=("releases",), releases=20)
    )

    left = {each.releases: (each.worst["dssim"]["mean"], each.utility is not None) for each in found}
    assert left == {10: (pytest.approx(RELEASED.mean()), True), 20: (0, False)}


def test_an_attack_is_joined_by_original():
    """An attack of another choice of targets, as many as these, is no attack on these."""
    other = attacked("elsewhere", dssim=np.zeros(N))
    for index in ("units", "originals", "held"):
        other.arrays[index] = np.arange(N) + 1000

    found = row(release(), other)

    assert found.worst["dssim"]["mean"] == pytest.approx(RELEASED.mean())


def test_two_choices_of_targets_are_not_averaged():
    """A run on ten targets and one on all: an original's release is one release, however often it was measured."""
    few = release(dssim=np.full(10, 0.1), targets=10)

    found = [each for board in boards([release(), few]) for each in board.rows]

    assert all(each.scores["dssim"]["mean"] in (pytest.approx(RELEASED.mean()), pytest.approx(0.1)) for each in found)
