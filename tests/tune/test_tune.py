"""Tuning on a bench with a closed form: right above the target, by the worst case, with warnings."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from harness.client.client import scheme_of
from harness.registry import load_registry
from harness.statistics import summarise
from harness.tune.ranges import with_knob
from harness.tune.result import TuneOptions
from harness.tune.tune import tune
from tests.helpers.rows import attacked, release

SPREAD = np.linspace(-0.1, 0.1, 41)


class Planted:
    """A bench whose release has, at each sigma, mean dSSIM sigma / 100; an attack halves every other one."""

    def __init__(self):
        self.measured = []
        self.splits = SimpleNamespace(size=(16, 16))
        self.client = SimpleNamespace(scheme=lambda defense: scheme_of(defense, load_registry()))

    def release(self, defense, seed):
        self.measured.append(defense.params["sigma"])
        return release(defense.name, seed, self.release_distance(defense), sigma=defense.params["sigma"])

    def attack(self, defense, attack, seed):
        distance = self.release_distance(defense) * np.where(np.arange(len(SPREAD)) % 2, 0.5, 1.1)
        return attacked(attack.name, defense.name, seed, distance, sigma=defense.params["sigma"])

    def release_distance(self, defense):
        return defense.params["sigma"] / 100 + SPREAD


def entry(name, **settings):
    return load_registry().get("defenses", name).with_settings(settings)


def test_a_continuous_knob_ends_right_above_the_target():
    tuned = tune(Planted(), entry("noise_mix"), TuneOptions("dssim", 0.66))

    assert tuned.status == "reached"
    assert 66 <= tuned.found.value <= 66.5
    assert tuned.found.score["mean"] == pytest.approx(tuned.found.value / 100)
    less, more = tuned.neighbours
    assert less.value < 66 < more.value
    assert [each.value for each in tuned.evaluations] == sorted(each.value for each in tuned.evaluations)
    assert not tuned.warnings


def test_by_low_it_is_the_lower_end_that_reaches():
    by_mean = tune(Planted(), entry("noise_mix"), TuneOptions("dssim", 0.66))
    by_low = tune(Planted(), entry("noise_mix"), TuneOptions("dssim", 0.66, by="low"))

    assert by_mean.found.score["low"] < 0.66 <= by_low.found.score["low"] <= 0.665


def test_under_an_attack_the_figure_is_the_mean_of_the_worst_case_per_original():
    """Half the originals are halved by the attack, and those that it makes worse keep the distance of the release."""
    smooth = load_registry().get("attacks", "smooth")
    planted = Planted()

    tuned = tune(planted, entry("noise_mix"), TuneOptions("dssim", 0.66, attacks=(smooth,)))

    release_distance = planted.release_distance(tuned.found.defense)
    worst = np.where(np.arange(len(SPREAD)) % 2, release_distance / 2, release_distance)
    expected = summarise(worst, proportion=False)
    assert {name: tuned.found.score[name] for name in ("mean", "low", "high", "n")} == pytest.approx(
        {name: expected[name] for name in ("mean", "low", "high", "n")}
    )
    assert tuned.found.score["attack"] == "smooth"
    assert 0.66 <= tuned.found.score["mean"] <= 0.665


def test_a_target_that_cannot_be_reached_gives_the_maximum_and_is_no_error():
    tuned = tune(Planted(), entry("noise_mix"), TuneOptions("dssim", 0.66), between=(0, 40))

    assert (tuned.status, tuned.found) == ("cannot reach", None)
    assert tuned.maximum.value == 40
    assert tuned.maximum.score["mean"] == pytest.approx(0.4)


def test_a_range_that_is_given_without_a_direction_is_tried_at_both_ends():
    """noise_after's sibling: a knob that the entry's tune does not name."""
    scheme = with_knob(entry("noise_mix"), "sigma", 20)
    unnamed = type(scheme)(**{**vars(scheme), "tune": None})

    tuned = tune(Planted(), unnamed, TuneOptions("dssim", 0.66), knob="sigma", between=(10, 90))

    assert 66 <= tuned.found.value <= 66.5


def test_the_number_of_values_is_bounded_with_a_warning():
    planted = Planted()

    tuned = tune(planted, entry("noise_mix"), TuneOptions("dssim", 0.66, max_values=4))

    assert len(planted.measured) == 4
    assert tuned.found.score["mean"] >= 0.66
    assert any("sigma: stopped after 4 values" in text for text in tuned.warnings)


@pytest.mark.parametrize(
    "tune_table", [None, {"knob": "sigma", "low": 0, "high": 256, "kind": "integer", "direction": "up"}]
)
def test_an_incomplete_search_does_not_say_cannot_reach(tune_table):
    """Two values, neither of which reaches: that is no proof."""
    whole = entry("noise_mix", sigma=2)
    cut = type(whole)(**{**vars(whole), "tune": tune_table})

    class Peaked(Planted):
        def release_distance(self, defense):
            return (0.7 if 90 < defense.params["sigma"] < 110 else 0.1) + SPREAD

    tuned = tune(Peaked(), cut, TuneOptions("dssim", 0.66, max_values=2), knob="sigma")

    assert (tuned.status, tuned.found) == ("stopped", None)
    assert "stopped after 2 values" in tuned.reason


def test_a_knob_that_hides_less_where_it_should_hide_more_gives_a_warning():
    class Dented(Planted):
        def release_distance(self, defense):
            sigma = defense.params["sigma"]
            return (sigma if sigma < 200 else 70) / 100 + SPREAD

    tuned = tune(Dented(), entry("noise_mix"), TuneOptions("dssim", 0.66))

    assert 66 <= tuned.found.value <= 66.5
    (warning,) = tuned.warnings
    assert warning.startswith("not monotone: noise_mix sigma=256 has .700, and sigma=128")


def test_a_neighbour_that_falls_short_again_by_however_little_gives_a_warning():
    class Grained(Planted):
        def release_distance(self, defense):
            return {66: 0.6605, 67: 0.659}.get(defense.params["sigma"], defense.params["sigma"] / 100) + SPREAD

    whole = entry("noise_mix")
    stepped = type(whole)(**{**vars(whole), "tune": {**whole.tune, "kind": "integer", "high": 132}})

    tuned = tune(Grained(), stepped, TuneOptions("dssim", 0.66))

    assert tuned.found.value == 66
    (warning,) = tuned.warnings
    assert warning.startswith("not monotone: noise_mix sigma=67 has .659, and sigma=66")


def test_a_release_that_fails_is_a_failed_answer_with_the_value_that_failed():
    class Broken(Planted):
        def release(self, defense, seed):
            made = super().release(defense, seed)
            return made if defense.params["sigma"] < 100 else type(made)(made.spec, "failed", "it burst")

    tuned = tune(Broken(), entry("noise_mix"), TuneOptions("dssim", 0.66))

    assert (tuned.status, tuned.found) == ("failed", None)
    assert tuned.reason == "noise_mix sigma=256: the release is failed: it burst"


def test_a_second_knob_ends_right_above_the_target_on_both_sides_of_a_step():
    """dSSIM is block / 16 x (3/2 - dominant weight): the step before cannot reach, the step itself overshoots."""

    class Stepped(Planted):
        def release(self, defense, seed):
            weight = defense.mixing["weights"][0]
            middle = defense.params["block"] / 16 * (1.5 - weight)
            return release(defense.name, seed, middle + SPREAD, block=defense.params["block"], weight=weight)

    tuned = tune(Stepped(), entry("shuffle_mix"), TuneOptions("dssim", 0.66), then="weights")

    before, there = tuned.then
    assert (tuned.found.value, tuned.found.score["mean"]) == (16, pytest.approx(0.75))
    assert before.status == "cannot reach"
    assert (before.maximum.value, before.maximum.score["mean"]) == (0.5, pytest.approx(0.5))
    assert before.maximum.defense.params["block"] == 8
    assert 0.835 <= there.found.value <= 0.84
    assert there.found.defense.params["block"] == 16


def test_a_knob_that_is_right_above_the_target_needs_no_second_one():
    assert tune(Planted(), entry("noise_mix"), TuneOptions("dssim", 0.66), then="weights").then == ()
