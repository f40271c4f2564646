"""Changes between two runs: which fail, which are explained, and which pass."""

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


def change_of(before, after, score, **options):
    """The change of one score."""
    (change,) = [each for each in compare(before, after, **options).changes if each.score == score]
    return change


def failed(before, after, **options):
    return [(each.cell, each.score, each.what) for each in compare(before, after, **options).failed]


def noise(seed, spread=0.1):
    return np.random.default_rng(seed).normal(0, spread, N)


def suite(seeds=range(6), shift=0.0, rerun=0):
    """Two defenses, an attack that trains, utility: what a suite leaves; `rerun`: other random draws of the same."""
    found = []
    for seed in seeds:
        for name in ("noise_mix", "shuffle_mix"):
            rng = np.random.default_rng([seed, rerun, len(name)])
            found.append(release(LEVEL + shift + rng.normal(0, 0.05, N), seed, defense=name))
            distance = 0.3 + rng.normal(0, 0.02) + rng.normal(0, 0.05, N)
            found.append(attacked("inversion", seed, distance, defense=name, facts={"steps": 1000}))
            found.append(read("cnn", seed, 0.6 + rng.normal(0, 0.05), draw=rerun, defense=name))
            found.append(trained(rng.random(50) < 0.8 + rng.normal(0, 0.03), seed, defense=name))
    return found


# No change


def test_the_same_code_on_the_same_seeds_changes_nothing():
    found = compare(suite(), suite(range(2)))

    figures = [each for each in found.changes if each.score not in ("status", "order")]
    assert not found.failed and {each.what for each in figures} == {changes.UNCHANGED}


def test_other_seeds_do_not_fail():
    """Forty reruns on seeds of their own: pairing, noise and training anew."""
    base = suite()

    assert [failed(base, suite((10 + 2 * rerun, 11 + 2 * rerun))) for rerun in range(40)] == [[]] * 40


def test_records_of_other_code_versions_threads_and_precision_are_the_same_cell():
    other = {"code": "d", "versions": {"torch": "9"}, "threads": 8, "precision": "bfloat16"}

    found = compare([release()], [release(more=other)])

    assert not found.failed and {each.what for each in found.changes if each.score == "dssim"} == {changes.UNCHANGED}
    assert any("torch None -> 9" in remark for remark in found.remarks)


def test_a_change_within_the_tolerance_passes_however_certain():
    assert not failed([release(LEVEL)], [release(LEVEL - 0.004)])
    assert failed([release(LEVEL)], [release(LEVEL - 0.006)])


def test_a_change_beyond_its_tolerance_that_is_not_significant_passes():
    """Two originals fell by .6; the mean by .01, twice its tolerance."""
    few = LEVEL - np.where(np.arange(N) < 2, 0.6, 0)

    assert not failed([release(LEVEL)], [release(few)])


def test_a_given_tolerance_replaces_the_declared_one():
    assert not failed([release(LEVEL)], [release(LEVEL - 0.02)], tolerances={"dssim": 0.03})
    assert failed([release(LEVEL)], [release(LEVEL - 0.002)], tolerances={"dssim": 0.001})


# What fails


def test_a_loss_of_accuracy_on_every_defense_fails_in_their_mean_where_none_is_significant_alone():
    """Seeds differ with a standard deviation of .05 on each of six, in other orders; all fall by .07."""
    rng = np.random.default_rng(3)
    names = ("mix", "noise_mix", "shuffle_mix", "blur_mix", "pixelize_mix", "tile")

    def suite(seeds, lower=0.0):
        effects = np.linspace(-1, 1, len(seeds))
        made = []
        for of in names:
            levels = 0.8 - lower + 0.05 * rng.permutation(effects / effects.std(ddof=1))
            made += [
                trained(np.clip(rng.normal(level, 0.02, 200), 0, 1), seed, defense=of)
                for seed, level in zip(seeds, levels, strict=True)
            ]
        return made

    base = suite(range(8))

    assert failed(base, suite((10, 11), 0.07)) == [("utility, mean over 6 defenses", "utility", changes.UTILITY_LOST)]
    assert not failed(base, suite((12, 13)))


def test_a_raised_version_of_one_defense_does_not_explain_that_the_others_are_recognised_less():
    """Each of five falls by .15; one, whose version was raised, by .6."""
    rng = np.random.default_rng(5)
    names = ("mix", "shuffle_mix", "blur_mix", "pixelize_mix", "tile", "noise_mix")

    def suite(seeds, lower, raised=0.0):
        made, version = [], 2 if raised else 1
        for draw, of in enumerate(names):
            own, given = (raised, {"version": version}) if of == "noise_mix" else (lower, {})
            tops = 0.8 - own + 0.03 * rng.permutation(np.linspace(-1, 1, len(seeds)))
            made += [read(seed=s, top1=top, draw=draw, defense=of, **given) for s, top in zip(seeds, tops, strict=True)]
        return made

    base = suite(range(8), 0.0)

    assert ("cnn, mean over 5 defenses", "top1", changes.ATTACK_WEAKER) in failed(base, suite((10, 11), 0.15, 0.6))
    assert not failed(base, suite((10, 11), 0.0, 0.6))


def test_a_loss_of_privacy_fails():
    change = change_of([release(LEVEL)], [release(LEVEL - 0.1)], "dssim")

    assert change.failed and change.what == changes.PRIVACY_LOST
    assert change.change == pytest.approx(-0.1) and change.low == pytest.approx(-0.1) == change.high


def test_a_gain_of_privacy_fails_where_no_version_was_raised():
    assert change_of([release(LEVEL)], [release(LEVEL + 0.1)], "dssim").what == changes.PRIVACY_GAINED


def test_a_raised_version_of_the_defense_explains_a_gain_but_not_a_loss():
    better, worse = (change_of([release(LEVEL)], [release(LEVEL + by, version=2)], "dssim") for by in (0.1, -0.1))

    assert better.what == changes.EXPLAINED and "version of noise_mix raised, 1 -> 2" in better.notes
    assert worse.what == changes.PRIVACY_LOST


def test_a_raised_version_of_a_metric_explains_its_own_score_alone():
    higher = {"dhaar": 0.6}
    before, after = [release(LEVEL)], [release(LEVEL + 0.1, scores=higher, metrics=RAISED)]

    assert change_of(before, after, "dssim").what == changes.EXPLAINED
    assert change_of(before, after, "dhaar").what == changes.PRIVACY_GAINED


def test_a_changed_constant_of_a_metric_fails_although_its_version_is_the_same():
    """Its cells still match: the metric's settings do not identify a series."""
    other = [METRICS[0] | {"params": {"k2": 0.3}}, *METRICS[1:]]

    assert failed([release(LEVEL)], [release(LEVEL - 0.1, metrics=other)]) == [
        ("noise_mix release", "dssim", changes.PRIVACY_LOST)
    ]


def test_a_metric_without_a_declared_direction_fails_either_way():
    for by in (-1, 1):
        before, after = ([release(scores={"theirs": values})] for values in (50.0, 50.0 + 2 * by))
        assert change_of(before, after, "theirs").what == changes.FIGURE_MOVED


SEEDS = range(6)


def reconstruction(by=0.0, seeds=SEEDS, **given):
    distance = {seed: 0.3 + noise(seed, 0.01) + by for seed in seeds}
    return [attacked("inversion", seed, distance[seed], facts={"steps": 1000}, **given) for seed in seeds]


@pytest.mark.parametrize(
    ("by", "given", "what"),
    [
        (0.2, {}, changes.ATTACK_WEAKER),
        (0.2, {"attack_version": 2}, changes.ATTACK_WEAKER),
        (0.2, {"version": 2}, changes.EXPLAINED),
        (0.2, {"judges": RAISED[:2] + JUDGES[2:]}, changes.EXPLAINED),
        (-0.2, {}, changes.PRIVACY_LOST),
        (-0.2, {"attack_version": 2}, changes.EXPLAINED),
        (-0.2, {"version": 2}, changes.PRIVACY_LOST),
    ],
)
def test_the_distance_after_an_attack(by, given, what):
    """Weaker: the defense may be the reason, never the attack's own version. Stronger: the other way around."""
    found = change_of(reconstruction(), reconstruction(by, range(2), **given), "attacked_dssim")

    assert found.what == what and found.failed == (what != changes.EXPLAINED)


def test_a_recogniser_with_fewer_hits_is_weaker():
    before, after = ([read(seed=seed, top1=top1) for seed in SEEDS] for top1 in (0.8, 0.3))

    assert change_of(before, after[:2], "top1").what == changes.ATTACK_WEAKER
    assert change_of(after, before[:2], "top1").what == changes.PRIVACY_LOST


def test_a_loss_of_utility_fails_and_a_gain_is_reported():
    before, after = ([trained(np.arange(50) % 10 < share, seed) for seed in SEEDS] for share in (8, 3))

    lost, gained = change_of(before, after[:2], "utility"), change_of(after, before[:2], "utility")

    assert (lost.what, lost.failed) == (changes.UTILITY_LOST, True)
    assert (gained.what, gained.failed) == (changes.UTILITY_GAINED, False)


# Cells that are new, missing or failed


def test_a_missing_cell_fails_and_a_new_one_is_reported():
    found = compare([release(), attacked()], [release(), release(defense="mix")])

    assert [(each.cell, each.what) for each in found.failed] == [("noise_mix x smooth", changes.MISSING)]
    assert ("mix release", changes.NEW) in [(each.cell, each.what) for each in found.changes]


def test_a_score_that_is_no_longer_measured_fails():
    """A metric that was taken out of the registry, or whose weights are gone."""
    assert failed([release(scores={"fid": 9.0})], [release()]) == [("noise_mix release", "fid", changes.MISSING)]


@pytest.mark.parametrize("status", ["failed", "skipped", "inapplicable"])
def test_a_cell_that_no_longer_works_fails_with_its_own_line(status):
    change = change_of([attacked()], [attacked(status=status, reason="no such luck")], "status")

    assert change.failed and change.notes == (f"ok -> {status}: no such luck",)


def test_an_attack_that_starts_to_apply_fails():
    """The reason why it refused no longer holds, as with an order that is not shuffled."""
    assert change_of([attacked(status="inapplicable")], [attacked()], "status").what == changes.STATUS_CHANGED


def test_a_raised_version_explains_that_an_attack_starts_or_stops_to_apply_but_not_a_failure():
    for before, after, what in (
        ("ok", "inapplicable", changes.EXPLAINED),
        ("inapplicable", "ok", changes.EXPLAINED),
        ("ok", "failed", changes.STATUS_CHANGED),
    ):
        assert change_of([attacked(status=before)], [attacked(status=after, attack_version=2)], "status").what == what


def test_what_failed_in_the_baseline_may_fail_again_or_work():
    broken = attacked(status="failed", reason="still")

    assert not failed([broken], [broken]) and not failed([broken], [attacked()])


def test_a_training_that_fails_on_some_seeds_as_in_the_baseline_passes():
    before = [attacked(seed=seed, status="failed" if seed == 3 else "ok") for seed in range(6)]

    assert not failed(before, [attacked(seed=6, status="failed"), attacked(seed=7)])
    assert failed(before, [attacked(seed=6, status="failed"), attacked(seed=7, status="failed")])


# Matching


def test_a_changed_knob_is_reported_as_a_change_of_the_same_cell():
    """sigma halved in the registry: not one cell missing and another new."""
    change = change_of([release(LEVEL, sigma=20)], [release(LEVEL - 0.1, sigma=10)], "dssim")

    assert change.what == changes.PRIVACY_LOST and "sigma 20 -> 10" in change.notes


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

    assert (change.what, change.notes) == (changes.NOT_COMPARABLE, ("other images than the baseline's",))


# The order


def test_an_order_that_was_not_shuffled_fails():
    leaked = release(units=np.arange(N))

    assert change_of([release()], [leaked], "order").what == changes.ORDER_NOT_RANDOM
    assert change_of([release()], [release(seed=5)], "order").what == changes.WITHIN


def test_an_order_that_half_follows_the_originals_fails():
    """Equal weights: at random the original of the row or its partner dominates."""
    rng = np.random.default_rng(3)
    mixed = np.where(rng.random(N) < 0.5, np.arange(N), rng.permutation(N))

    assert change_of([release()], [release(units=mixed)], "order").what == changes.ORDER_NOT_RANDOM


def test_the_correlation_of_an_order_is_spearmans():
    rows = np.random.default_rng(4).permutation(N)

    change = change_of([], [release(units=rows)], "order")

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
    size = change_of(base, reconstruction(seeds=(6, 7)), "attacked_dssim").detectable

    found = [bool(failed(base, reconstruction(size, seeds=(8 + rerun, 38 + rerun)))) for rerun in range(30)]

    assert np.mean(found) > 0.6
