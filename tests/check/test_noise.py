"""How far a figure moves by chance: over originals as scipy says, over seeds as an analysis of variance says."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from harness.check.noise import Spread, joint_change, seed_effects, seed_variance, series_change
from harness.check.series import Series
from tests.helpers.checked import N, attacked, order, record, release, trained
from tests.helpers.checked import inputs as given


def series(*records):
    return Series({each.inputs["seed"]: each for each in records})


def attack(values, seed):
    """An attack's figures by original."""
    rows = order(seed)
    more = {"attack": {"name": "a", "version": 1, "params": {}}, "targets": 1000}
    arrays = {"units": rows, "attacked_dssim": np.asarray(values)[rows]}
    return record("attack", arrays, given(seed=seed, more=more), facts={"restoration": {"steps": 1000}})


def noise(seed, spread=0.1):
    return np.random.default_rng(seed).normal(0, spread, N)


def test_a_release_of_the_same_seeds_is_paired_original_by_original() -> None:
    """As scipy's paired t-test; the variance over seeds does not enter."""
    level = np.linspace(0.2, 0.8, N)
    before, after = release(level), release(level + 0.01 + noise(1, 0.02))

    found = series_change(series(before), series(after), "dssim", over_seeds=(1.0, 5))

    apart = scipy.stats.ttest_1samp(noise(1, 0.02) + 0.01, 0)
    assert found is not None and found.p == pytest.approx(apart.pvalue)
    assert found.interval() == pytest.approx(tuple(apart.confidence_interval(0.95)))


def test_a_repeated_training_is_compared_with_the_spread_over_seeds_too() -> None:
    """The same seeds: all originals moved together by .05, which is usual for a training with a spread of .05."""
    before, after = attack(0.5 + noise(1), 0), attack(0.55 + noise(1) + noise(2, 0.01), 0)

    alone = series_change(series(before), series(after), "attacked_dssim", over_seeds=None)
    known = series_change(series(before), series(after), "attacked_dssim", over_seeds=(0.05**2, 15))

    assert alone is not None and alone.p < 1e-9
    assert known is not None and known.p == pytest.approx(2 * scipy.stats.t.sf(abs(known.change) / (0.05 * 2**0.5), 15))
    low, high = known.interval()
    assert low < 0 < high


def test_a_training_is_compared_with_those_of_all_the_baselines_seeds() -> None:
    """By chance it is no nearer to the one of its own seed: Student's t of two means, of five and of one."""
    old = [attack(0.5 + 0.02 * seed + noise(seed), seed) for seed in range(5)]
    again = attack(0.6 + noise(0), 0)

    found = series_change(series(*old), series(again), "attacked_dssim", over_seeds=(0.02**2, 12))

    apart = (0.6 + noise(0)).mean() - np.mean([0.5 + 0.02 * seed + noise(seed).mean() for seed in range(5)])
    assert found is not None and found.change == pytest.approx(0.1)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(apart / (0.02 * (1 + 1 / 5) ** 0.5), 12))


def test_an_attack_that_trains_nothing_is_paired_like_a_release() -> None:
    """A filter on the same release does the same again."""
    before, after = attacked(distance=0.3), attacked(distance=0.35 + noise(2, 0.01))

    found = series_change(series(before), series(after), "attacked_dssim", over_seeds=(0.05**2, 15))

    assert found is not None and found.p < 1e-9


def test_only_the_seeds_that_were_run_again_are_compared() -> None:
    """A rerun of seed 0 is the baseline's seed 0, whatever its seeds 1 to 4 were."""
    old = [release(0.5 + noise(seed), seed) for seed in range(5)]

    found = series_change(series(*old), series(release(0.5 + noise(0), 0)), "dssim", None)

    assert found is not None and (found.change, found.p) == (0, 1)


def test_other_seeds_are_compared_with_all_of_the_baselines() -> None:
    old = [release(0.5 + noise(seed), seed) for seed in range(4)]

    found = series_change(series(*old), series(release(0.7, 9)), "dssim", (0.01**2, 3))

    assert found is not None
    assert found.before == pytest.approx(np.mean([0.5 + noise(seed) for seed in range(4)]))
    assert found.spreads[1].error == pytest.approx(0.01 * (1 / 4 + 1) ** 0.5)


def test_an_original_that_is_on_one_side_only_is_left_out() -> None:
    """A coin may let an original dominate no release of a seed."""
    level = np.linspace(0, 1, N)
    before, after = release(level, units=np.arange(N)), release(level, units=np.arange(N // 2))

    found = series_change(series(before), series(after), "dssim", None)

    assert found is not None and (found.change, found.n) == (0, N // 2)


def test_a_seeds_mean_does_not_depend_on_which_originals_a_coin_chose() -> None:
    """Figures are the originals' own; the plain means over a third of them differ by far more."""
    level = np.linspace(0, 1, N)
    some = [release(level, seed, units=order(seed)[: N // 3]) for seed in range(6)]

    means = seed_effects(series(*some).ok_records, "dssim")

    assert np.abs(means).max() < 1e-12
    assert np.std([level[each.arrays["units"]].mean() for each in some]) > 0.01


def test_the_variance_between_seeds_is_that_of_the_analysis_of_variance() -> None:
    """Over four defenses of one spread: the mean square within groups."""
    rng = np.random.default_rng(5)
    means = rng.normal(0.5, 0.05, (4, 6))
    several = [series(*(attack(np.full(N, mean), seed) for seed, mean in enumerate(row))) for row in means]

    found = seed_variance(several[0], several, "attacked_dssim")

    within = np.square(means - means.mean(1, keepdims=True)).sum() / 20
    assert found is not None and found == (pytest.approx(within), 20)


def test_a_defense_whose_trainings_scatter_more_than_the_others_stands_alone() -> None:
    """Pooled with quiet ones it would be called a change every other time."""
    rng = np.random.default_rng(5)
    means = [rng.normal(0.5, spread, 6) for spread in (0.2, 0.01, 0.01)]
    several = [series(*(attack(np.full(N, mean), seed) for seed, mean in enumerate(row))) for row in means]

    wild, quiet = (seed_variance(each, several, "attacked_dssim") for each in several[:2])

    assert wild is not None and wild == (pytest.approx(np.var(means[0], ddof=1)), 5)
    assert quiet is not None and quiet[1] == 15


def test_one_seed_knows_nothing_of_the_others() -> None:
    assert seed_variance(series(release()), [series(release())], "dssim") is None


def test_figures_that_never_differ_say_nothing_of_those_that_do() -> None:
    """`none` has distance 0 on every seed: pooled in, it would halve the others' variance."""
    still = series(*(attack(np.zeros(N), seed) for seed in range(4)))
    lively = series(*(attack(np.full(N, 0.1 * seed), seed) for seed in range(4)))

    assert seed_variance(lively, [lively, still], "attacked_dssim") == (
        pytest.approx(np.var([0, 0.1, 0.2, 0.3], ddof=1)),
        3,
    )


def test_what_trained_nothing_says_nothing_of_what_trained() -> None:
    """multi_release solves `mix` without a network, on every seed alike: that is no measure of its trainings."""
    lively = series(*(attack(np.full(N, 0.1 * seed), seed) for seed in range(4)))
    solved = series(*(attacked("a", seed, 0.3 + 0.001 * seed) for seed in range(4)))

    alone = seed_variance(lively, [lively], "attacked_dssim")
    assert seed_variance(lively, [lively, solved], "attacked_dssim") == alone


def test_accuracy_is_paired_by_test_image() -> None:
    before, after = np.arange(50) % 2, (np.arange(50) % 2) | (np.arange(50) < 10)

    found = series_change(series(trained(before)), series(trained(after)), "utility", None)

    assert found is not None and (found.change, found.n) == (pytest.approx(0.1), 50)


def test_a_change_of_the_detectable_size_is_found_four_times_in_five() -> None:
    """By simulation, at a level that is corrected for fifty comparisons."""
    rng, n, level = np.random.default_rng(1), 40, 0.001
    spread = Spread(1 / n**0.5, n - 1)
    shift = spread.detectable(level, power=0.8)
    draws = rng.normal(shift, 1, (20000, n))
    t = draws.mean(1) / (draws.std(1, ddof=1) / n**0.5)

    found = (2 * scipy.stats.t.sf(abs(t), n - 1) < level).mean()

    assert found == pytest.approx(0.8, abs=0.02)


def test_clean_reruns_on_other_seeds_are_told_apart_no_more_often_than_said() -> None:
    """Trainings that move all originals together by .05: of 400 reruns at most 5 % and some are significant.

    Over originals alone it would be most of them.
    """
    rng, found, alone = np.random.default_rng(2), [], []
    for _ in range(400):
        made = [np.clip(0.5 + rng.normal(0, 0.05) + rng.normal(0, 0.1, N), 0, 1) for _ in range(8)]
        old, new = (series(*(attack(made[seed], seed) for seed in seeds)) for seeds in (range(6), range(6, 8)))
        found.append(series_change(old, new, "attacked_dssim", seed_variance(old, [old], "attacked_dssim")).p)
        alone.append(series_change(old, new, "attacked_dssim", None).p)

    assert (np.array(found) < 0.05).mean() < 0.08
    assert (np.array(alone) < 0.05).mean() > 0.4


def accuracies(of, seeds, effect):
    """Utility on one defense: each test image right with .8 on every seed, moved by the effect of the seed."""
    made = []
    for seed in seeds:
        rng = np.random.default_rng([seed, len(of)])
        made.append(trained(np.clip(0.8 + effect(seed) + rng.normal(0, 0.01, 50), 0, 1), seed, defense=of))
    return series(*made)


def test_the_mean_over_defenses_keeps_a_seeds_trainings_together() -> None:
    """A seed moves both defenses alike by its own number, so the mean varies as much as each: as over one defense."""
    shift = np.random.default_rng(0).normal(0, 0.05, 12)
    old = [accuracies(of, range(10), lambda seed: shift[seed]) for of in ("mix", "noise_mix")]
    new = [accuracies(of, (10, 11), lambda seed: shift[seed]) for of in ("mix", "noise_mix")]

    found = joint_change(list(zip(old, new, strict=True)), "utility")

    means = np.mean([[each.arrays["utility"].mean() for each in side.records.values()] for side in old], axis=0)
    assert found is not None and found.n == 50
    assert found.spreads[1].freedom == 9
    assert found.spreads[1].error == pytest.approx(means.std(ddof=1) * (1 / 10 + 1 / 2) ** 0.5)
    changes = (
        np.mean([[each.arrays["utility"].mean() for each in side.records.values()] for side in new]) - means.mean()
    )
    assert found.change == pytest.approx(changes)


def test_the_mean_over_defenses_finds_what_none_of_them_shows_alone() -> None:
    """Four defenses with seeds apart by .03 independently: their mean has half the spread."""
    rng = np.random.default_rng(1)
    names = ("mix", "noise_mix", "shuffle_mix", "blur_mix")
    shifts = {of: rng.normal(0, 0.03, 15) for of in names}
    old = [accuracies(of, range(15), lambda seed, of=of: shifts[of][seed]) for of in names]

    joint = joint_change([(each, each) for each in old], "utility")
    alone = series_change(old[0], old[0], "utility", seed_variance(old[0], old, "utility"))

    assert joint is not None and alone is not None
    assert joint.spreads[1].error == pytest.approx(0.5 * alone.spreads[1].error, rel=0.5)
    assert joint_change([(old[0], old[0])], "utility") is not None
    assert joint_change([(accuracies("mix", [0], lambda seed: 0), old[1])], "utility") is None
