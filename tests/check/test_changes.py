"""What moved between two runs: what fails, what is explained, and what is nobody's business."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from harness.check import changes
from harness.check.compare import compare
from harness.statistics import holm
from tests.helpers.checked import IMAGES, JUDGES, METRICS, N, attacked, read, release, trained

LEVEL = np.linspace(0.3, 0.7, N)
RAISED = [METRICS[0] | {"version": 2}, *METRICS[1:]]


def told(before, after, score, **options):
    """The change of one score."""
    (change,) = [each for each in compare(before, after, **options).changes if each.score == score]
    return change


def failed(before, after, **options):
    return [(each.cell, each.score, each.what) for each in compare(before, after, **options).failed]


def noise(seed, spread=0.1):
    return np.random.default_rng(seed).normal(0, spread, N)


def suite(seeds=range(6), shift=0.0, dice=0):
    """Two defenses, an attack that trains, utility: what a suite leaves; `dice`: other chances of the same."""
    found = []
    for seed in seeds:
        for name in ("noise_mix", "shuffle_mix"):
            rng = np.random.default_rng([seed, dice, len(name)])
            found.append(release(LEVEL + shift + rng.normal(0, 0.05, N), seed, defense=name))
            left = 0.3 + rng.normal(0, 0.02) + rng.normal(0, 0.05, N)
            found.append(attacked("inversion", seed, left, defense=name, facts={"steps": 1000}))
            found.append(read("cnn", seed, 0.6 + rng.normal(0, 0.05), dice=dice, defense=name))
            found.append(trained(rng.random(50) < 0.8 + rng.normal(0, 0.03), seed, defense=name))
    return found


# Nothing


def test_the_same_code_on_the_same_seeds_changes_nothing():
    found = compare(suite(), suite(range(2)))

    figures = [each for each in found.changes if each.score not in ("status", "order")]
    assert not found.failed and {each.what for each in figures} == {changes.SAME}


def test_other_seeds_are_no_alarm():
    """Forty reruns on seeds of their own: pairing, noise and training anew."""
    base = suite()

    assert [failed(base, suite((10 + 2 * rerun, 11 + 2 * rerun))) for rerun in range(40)] == [[]] * 40


def test_code_versions_threads_and_precision_do_not_tell_cells_apart():
    other = {"code": "d", "versions": {"torch": "9"}, "threads": 8, "precision": "bfloat16"}

    found = compare([release()], [release(more=other)])

    assert not found.failed and {each.what for each in found.changes if each.score == "dssim"} == {changes.SAME}
    assert any("torch None -> 9" in remark for remark in found.remarks)


def test_a_change_within_the_tolerance_passes_however_certain():
    assert not failed([release(LEVEL)], [release(LEVEL - 0.004)])
    assert failed([release(LEVEL)], [release(LEVEL - 0.006)])


def test_a_large_change_that_chance_explains_passes():
    """Two originals fell by .6; the mean by .01, twice its tolerance."""
    few = LEVEL - np.where(np.arange(N) < 2, 0.6, 0)

    assert not failed([release(LEVEL)], [release(few)])


def test_a_tolerance_of_the_callers_own_counts():
    assert not failed([release(LEVEL)], [release(LEVEL - 0.02)], tolerances={"dssim": 0.03})
    assert failed([release(LEVEL)], [release(LEVEL - 0.002)], tolerances={"dssim": 0.001})


# What fails


def test_privacy_lost_fails():
    change = told([release(LEVEL)], [release(LEVEL - 0.1)], "dssim")

    assert change.failed and change.what == changes.LOST
    assert change.change == pytest.approx(-0.1) and change.low == pytest.approx(-0.1) == change.high


def test_privacy_gained_fails_where_no_version_was_raised():
    assert told([release(LEVEL)], [release(LEVEL + 0.1)], "dssim").what == changes.UNEXPLAINED


def test_a_raised_version_of_the_defense_explains_a_gain_and_no_loss():
    better, worse = (told([release(LEVEL)], [release(LEVEL + by, version=2)], "dssim") for by in (0.1, -0.1))

    assert better.what == changes.EXPLAINED and "version of noise_mix raised, 1 -> 2" in better.notes
    assert worse.what == changes.LOST


def test_a_raised_version_of_a_metric_explains_its_own_score_alone():
    higher = {"dhaar": 0.6}
    before, after = [release(LEVEL)], [release(LEVEL + 0.1, scores=higher, metrics=RAISED)]

    assert told(before, after, "dssim").what == changes.EXPLAINED
    assert told(before, after, "dhaar").what == changes.UNEXPLAINED


def test_a_changed_constant_of_a_metric_is_seen_without_a_version():
    """Its cells are matched all the same: the metric's settings are not what was asked for."""
    other = [METRICS[0] | {"params": {"k2": 0.3}}, *METRICS[1:]]

    assert failed([release(LEVEL)], [release(LEVEL - 0.1, metrics=other)]) == [
        ("noise_mix release", "dssim", changes.LOST)
    ]


def test_a_metric_of_somebodys_own_fails_whichever_way_it_moves():
    for by in (-1, 1):
        before, after = ([release(scores={"theirs": values})] for values in (50.0, 50.0 + 2 * by))
        assert told(before, after, "theirs").what == changes.SHIFTED


SEEDS = range(6)


def reconstruction(by=0.0, seeds=SEEDS, **given):
    left = {seed: 0.3 + noise(seed, 0.01) + by for seed in seeds}
    return [attacked("inversion", seed, left[seed], facts={"steps": 1000}, **given) for seed in seeds]


@pytest.mark.parametrize(
    ("by", "given", "what"),
    [
        (0.2, {}, changes.WEAKER),
        (0.2, {"attack_version": 2}, changes.WEAKER),
        (0.2, {"version": 2}, changes.EXPLAINED),
        (0.2, {"judges": RAISED[:2] + JUDGES[2:]}, changes.EXPLAINED),
        (-0.2, {}, changes.LOST),
        (-0.2, {"attack_version": 2}, changes.EXPLAINED),
        (-0.2, {"version": 2}, changes.LOST),
    ],
)
def test_what_an_attack_leaves(by, given, what):
    """Weaker: the defense may be the reason, never the attack's own version. Stronger: the other way around."""
    found = told(reconstruction(), reconstruction(by, range(2), **given), "attacked_dssim")

    assert found.what == what and found.failed == (what != changes.EXPLAINED)


def test_a_recogniser_that_reads_less_is_weaker():
    before, after = ([read(seed=seed, top1=top1) for seed in SEEDS] for top1 in (0.8, 0.3))

    assert told(before, after[:2], "top1").what == changes.WEAKER
    assert told(after, before[:2], "top1").what == changes.LOST


def test_utility_lost_fails_and_gained_is_reported():
    before, after = ([trained(np.arange(50) % 10 < share, seed) for seed in SEEDS] for share in (8, 3))

    lost, gained = told(before, after[:2], "utility"), told(after, before[:2], "utility")

    assert (lost.what, lost.failed) == (changes.USELESS, True)
    assert (gained.what, gained.failed) == (changes.GAINED, False)


# Cells that came, went or broke


def test_a_missing_cell_fails_and_a_new_one_is_reported():
    found = compare([release(), attacked()], [release(), release(defense="mix")])

    assert [(each.cell, each.what) for each in found.failed] == [("noise_mix x smooth", changes.MISSING)]
    assert ("mix release", changes.NEW) in [(each.cell, each.what) for each in found.changes]


def test_a_score_that_is_not_measured_any_more_fails():
    """A metric that was taken out of the registry, or whose weights are gone."""
    assert failed([release(scores={"fid": 9.0})], [release()]) == [("noise_mix release", "fid", changes.MISSING)]


@pytest.mark.parametrize("status", ["failed", "skipped", "inapplicable"])
def test_a_cell_that_worked_and_does_not_any_more_fails_with_a_line_of_its_own(status):
    change = told([attacked()], [attacked(status=status, reason="no such luck")], "status")

    assert change.failed and change.notes == (f"ok -> {status}: no such luck",)


def test_an_attack_that_begins_to_apply_fails():
    """It refused for a reason, and the reason is gone: an order that is not shuffled, say."""
    assert told([attacked(status="inapplicable")], [attacked()], "status").what == changes.STATUS


def test_a_raised_version_explains_that_an_attack_refuses_or_begins_to_apply_but_no_failure():
    for before, after, what in (
        ("ok", "inapplicable", changes.EXPLAINED),
        ("inapplicable", "ok", changes.EXPLAINED),
        ("ok", "failed", changes.STATUS),
    ):
        assert told([attacked(status=before)], [attacked(status=after, attack_version=2)], "status").what == what


def test_what_failed_in_the_baseline_may_fail_again_or_mend():
    broken = attacked(status="failed", reason="still")

    assert not failed([broken], [broken]) and not failed([broken], [attacked()])


def test_a_training_that_fails_on_some_seeds_as_in_the_baseline_is_no_alarm():
    before = [attacked(seed=seed, status="failed" if seed == 3 else "ok") for seed in range(6)]

    assert not failed(before, [attacked(seed=6, status="failed"), attacked(seed=7)])
    assert failed(before, [attacked(seed=6, status="failed"), attacked(seed=7, status="failed")])


# Matching


def test_a_knob_that_moved_without_anybody_saying_so_is_still_the_same_cell():
    """sigma halved in the registry: not a cell missing and another new."""
    change = told([release(LEVEL, sigma=20)], [release(LEVEL - 0.1, sigma=10)], "dssim")

    assert change.what == changes.LOST and "sigma 20 -> 10" in change.notes


def test_two_settings_of_one_defense_are_two_cells():
    both = [release(LEVEL, sigma=10), release(LEVEL + 0.2, sigma=20)]

    found = compare(both, both)

    assert not found.failed
    assert {each.cell for each in found.changes} == {
        f"noise_mix release (sigma={sigma} weights=0.75,0.25 pairing=permutation intra_class=false label=dominant)"
        for sigma in (10, 20)
    }


def test_other_images_cannot_be_compared():
    (change,) = compare([release()], [release(dataset=IMAGES | {"fingerprint": "0" * 32})]).failed

    assert (change.what, change.notes) == (changes.OTHER, ("other images than the baseline's",))


# The order


def test_an_order_that_was_not_shuffled_is_told():
    leaked = release(units=np.arange(N))

    assert told([release()], [leaked], "order").what == changes.TOLD
    assert told([release()], [release(seed=5)], "order").what == changes.WITHIN


def test_an_order_that_half_follows_the_originals_is_told():
    """Equal weights: a coin decides whether the original of the place or its partner dominates."""
    dice = np.random.default_rng(3)
    mixed = np.where(dice.random(N) < 0.5, np.arange(N), dice.permutation(N))

    assert told([release()], [release(units=mixed)], "order").what == changes.TOLD


def test_the_correlation_of_an_order_is_spearmans():
    rows = np.random.default_rng(4).permutation(N)

    change = told([], [release(units=rows)], "order")

    assert change.after == pytest.approx(scipy.stats.spearmanr(rows, np.arange(N)).statistic)


# Many comparisons


def test_p_values_are_corrected_for_all_comparisons_of_the_suite():
    """One change at p = .005 stands out alone, and not among forty."""
    apart = noise(4) - noise(4).mean()
    moved = LEVEL + 0.01 + apart / apart.std(ddof=1) * 0.01 * N**0.5 / scipy.stats.t.isf(0.0025, N - 1)
    more = {f"theirs{number}": noise(number) + 5 for number in range(40)}

    alone = compare([release(LEVEL)], [release(moved)])
    among = compare([release(LEVEL, scores=more)], [release(moved, scores=more)])

    assert [len(each.failed) for each in (alone, among)] == [1, 0]
    for found in (alone, among):
        counted = [each for each in found.changes if each.p is not None and each.score != "order"]
        order = [each.p for each in found.changes if each.score == "order"]
        p = [0.005 if each.score == "dssim" else 1.0 for each in counted]
        assert [each.p for each in counted] == pytest.approx(holm([*p, *order])[: len(p)].tolist())


def test_what_could_have_been_detected_is_never_less_than_the_tolerance():
    for change in compare(suite(), suite(range(2))).changes:
        if change.detectable is not None:
            assert change.detectable >= change.tolerance


def test_a_change_of_the_size_that_could_have_been_detected_is_detected():
    """A training weakened by that much, on seeds of its own: found about four times in five."""
    base = reconstruction()
    size = told(base, reconstruction(seeds=(6, 7)), "attacked_dssim").detectable

    found = [bool(failed(base, reconstruction(size, seeds=(8 + rerun, 38 + rerun)))) for rerun in range(30)]

    assert np.mean(found) > 0.6
