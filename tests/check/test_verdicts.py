"""A verdict that turns fails the check, whether or not a figure moved beyond its tolerance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.check import changes
from harness.check.compare import compare
from harness.check.series import PLANTED_FAULT
from harness.check.verdicts import verdict_changes
from tests.helpers.rows import RELEASED, N, attacked, never_found, release

SEEDS = range(6)
PARTS = {"verdict (dssim)", "verdict (dhaar)", "verdict (exposed)", "verdict (reidentified)", "verdict (rehearsal)"}


def suite(values=RELEASED, seeds=SEEDS, version=1, **given):
    """A defense that passes, and an attack on it that finds nothing."""
    found = [never_found(release(seed=seed, dssim=values, **given)) for seed in seeds]
    found += [never_found(attacked("smooth", seed=seed, dssim=np.maximum(values, 0.7), **given)) for seed in seeds]
    for each in found:
        each.inputs["defense"]["version"] = version
    return found


def verdicts(before, after, what=None):
    found = [each for each in compare(before, after).changes if each.score.startswith("verdict")]
    return {each.score: each for each in found if what is None or each.what == what}


def leaked(count, seeds=range(2)):
    """The same with the smallest distance over all releases 0 for some originals; release 0 is as it was."""
    found = suite(seeds=seeds)
    for each in found:
        if each.spec.kind == "release":
            worst = np.where(np.arange(N) < count, 0.0, RELEASED)
            each.arrays.update(worst_dssim=worst, worst_any_dssim=worst, dssim_all=worst)
    return found


def test_the_same_verdict_is_a_line_for_each_part_and_fails_nothing():
    found = verdicts(suite(), suite(seeds=range(2)))

    assert set(found) == PARTS and {each.what for each in found.values()} == {changes.UNCHANGED}


def test_one_release_that_shows_its_originals_turns_the_verdict_although_release_0_is_as_it_was():
    lost = verdicts(suite(), leaked(N), changes.PRIVACY_LOST)

    assert set(lost) == {"verdict (dssim)", "verdict (exposed)"}
    assert all(each.failed for each in lost.values())
    assert lost["verdict (exposed)"].notes[0].startswith("passes -> does not pass (0 of 200")


def test_one_original_of_many_turns_the_verdict_although_no_mean_moves_beyond_its_tolerance():
    """.004 of the mean worst case, less than its tolerance of .005."""
    found = [each for each in compare(suite(), leaked(1)).failed if each.score != "order"]  # of hand-made releases

    assert [(each.score, each.what) for each in found] == [("verdict (exposed)", changes.PRIVACY_LOST)]


def test_an_attack_that_finds_the_originals_of_a_defense_that_passed_turns_the_verdict():
    after = suite(seeds=range(2))
    for each in after:
        if each.spec.kind == "attack":
            each.arrays["reid_histogram_rank1"] = np.ones(N)
            each.scores["reid_histogram_rank1"] = {"mean": 1.0, "chance": 0.004}

    lost = verdicts(suite(), after, changes.PRIVACY_LOST)

    assert "by histogram after smooth" in lost["verdict (reidentified)"].notes[0]


def test_a_defense_that_passes_now_is_an_unexplained_gain_unless_its_version_was_raised():
    near = np.full(N, 0.5)

    gained = verdicts(suite(near), suite(seeds=range(2)), changes.PRIVACY_GAINED)
    explained = verdicts(suite(near), suite(seeds=range(2), version=2), changes.EXPLAINED)

    assert set(gained) == set(explained) == {"verdict (dssim)", "verdict (dhaar)"}
    assert "version of mix raised, 1 -> 2" in explained["verdict (dssim)"].notes


def test_a_raised_version_explains_a_loss_only_where_it_is_an_attacks_or_a_metrics():
    """As it is with a figure: a raised version of the defense explains no loss."""
    worse = suite(np.full(N, 0.5), seeds=range(2), version=2)

    assert set(verdicts(suite(), worse, changes.PRIVACY_LOST)) == {"verdict (dssim)", "verdict (dhaar)"}


def test_a_defense_that_is_not_rehearsed_as_it_releases_fails():
    after = suite(seeds=range(2))
    said = {"rehearsal": {"mismatch": True, "statistics": {}, "said": ["rehearsed images are flat"]}}
    after = [replace(each, facts=said) if each.spec.kind == "release" else each for each in after]

    lost = verdicts(suite(), after, changes.PRIVACY_LOST)

    assert set(lost) == {"verdict (rehearsal)"} and "rehearsed images are flat" in lost["verdict (rehearsal)"].notes[0]


def test_a_part_that_is_not_judged_any_more_fails():
    after = suite(seeds=range(2))
    for each in after:
        del each.arrays["reid_invariant_rank1"]

    assert set(verdicts(suite(), after, changes.VERDICT_MISSING)) == {"verdict (reidentified)"}


def test_a_verdict_on_which_the_baselines_seeds_do_not_agree_may_turn():
    """Means of .665 and .655 about the threshold of .66: the first two seeds pass, the next two do not."""
    before = [each for at in (0, 2, 4) for each in suite(np.full(N, 0.655 if at == 2 else 0.665), range(at, at + 2))]
    after = suite(np.full(N, 0.655), seeds=(7, 8))

    found = verdicts(before, after)["verdict (dssim)"]

    assert found.what == changes.WITHIN and "do not agree" in found.notes[0]


def near_the_limit():
    """A baseline of which seeds 2 and 3 have 2 of 200 originals exposed, upper end .036, and the others none."""
    before = suite()
    for each in before:
        if each.spec.kind == "release" and each.inputs["seed"] in (2, 3):
            worst = np.where(np.arange(N) < 2, 0.1, RELEASED)
            each.arrays.update(worst_dssim=worst, worst_any_dssim=worst, dssim_all=worst)
    return before


def exposing(count, at):
    """A new run in which so many originals are at this distance."""
    after = leaked(0)
    for each in after:
        if each.spec.kind == "release":
            worst = np.where(np.arange(N) < count, at, RELEASED)
            each.arrays.update(worst_dssim=worst, worst_any_dssim=worst, dssim_all=worst)
    return after


def test_a_leak_beyond_all_of_the_baselines_seeds_turns_a_verdict_on_which_they_do_not_agree():
    """3 of 200 are like the 2 of 200 of two seeds; 30 of 200 are like none, and so is one original that is seen."""
    chance, many, seen = (
        verdicts(near_the_limit(), exposing(*each))["verdict (exposed)"] for each in ((3, 0.1), (30, 0.1), (1, 0.0))
    )

    assert chance.what == changes.WITHIN and "do not agree" in chance.notes[0]
    assert many.what == changes.PRIVACY_LOST and seen.what == changes.PRIVACY_LOST


def test_the_new_run_is_compared_with_its_own_seeds():
    """Seeds 2 and 3 of the baseline, which the run repeats, do not pass; it agrees with them."""
    before = [each for at in (0, 2, 4) for each in suite(np.full(N, 0.6 if at == 2 else 0.8), range(at, at + 2))]

    found = verdicts(before, suite(np.full(N, 0.6), seeds=(2, 3)))

    assert {each.what for each in found.values()} == {changes.UNCHANGED}


def test_without_a_release_on_both_sides_there_is_no_verdict_to_compare():
    assert verdict_changes([]) == [] and not verdicts([], suite())


def faulty(caught=True, seeds=SEEDS, version=1):
    """A planted fault: a picture in a row of another, and whether the verdict says so."""
    found = suite(seeds=seeds, version=version)
    for each in found:
        each.inputs["defense"]["traits"] = [PLANTED_FAULT]
        if each.spec.kind == "release":
            each.facts["wrong_rows"] = {**each.facts["wrong_rows"], "shown": int(caught), "unlike_any": int(caught)}
    return found


def test_a_planted_fault_that_is_caught_still_fails_nothing_and_no_figure_of_it_is_compared():
    found = compare(faulty(), faulty(seeds=range(2)))

    assert not found.failed and found.compared == 0


@pytest.mark.parametrize("version", [1, 2])
def test_a_planted_fault_that_passes_fails_the_check_whatever_version_was_raised(version):
    found = compare(faulty(), faulty(False, range(2), version)).failed

    assert {each.what for each in found} == {changes.NOT_CAUGHT}
    assert {each.score for each in found} == {"verdict", "verdict (exposed)"}


def test_a_planted_fault_that_passes_fails_the_check_though_the_baseline_lets_it_pass_or_lacks_it():
    for before in (faulty(False), suite()):
        found = compare(before, [*suite(seeds=range(2)), *faulty(False, range(2))])
        assert changes.NOT_CAUGHT in {each.what for each in found.failed}


def test_every_part_that_caught_a_planted_fault_must_catch_it_still():
    """It fails by its rehearsals still."""
    after = faulty(False, range(2))
    for each in after:
        if each.spec.kind == "release":
            each.facts["rehearsal"] = {"mismatch": True, "statistics": {}, "said": ["rows depend on others"]}

    assert [each.score for each in compare(faulty(), after).failed] == ["verdict (exposed)"]
