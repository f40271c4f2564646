"""Ranges of knobs, weights as a knob, the `tune` field of an entry, and targets."""

from __future__ import annotations

import pytest
import yaml

from harness.errors import HarnessError
from harness.records import provenance
from harness.registry import load_registry
from harness.registry.entry import read_registry
from harness.tune.ranges import Range, known_range, with_knob
from harness.tune.result import parse_target
from tests.helpers.planted import bench

MIXING = {"weights": [1.0], "pairing": "permutation", "intra_class": False, "label": "dominant"}
SOUND = {"knob": "sigma", "low": 0, "high": 9, "kind": "integer", "direction": "up"}


def entry(name, **settings):
    return load_registry().get("defenses", name).with_settings(settings)


def test_whole_numbers_come_in_the_order_of_obfuscation_and_suit_the_size():
    assert Range("block", 1, 256, "divides", "up").values((12, 18)) == [1, 2, 3, 6]
    assert Range("kernel", 2, 9, "odd", "up").values((12, 18)) == [3, 5, 7, 9]
    assert Range("grid", 2.5, 6, "integer", "down").values((12, 18)) == [6, 5, 4, 3]


@pytest.mark.parametrize(
    ("weights", "low", "there", "vector"),
    [
        ([0.5, 0.5], 1 / 2, 0.7, [0.7, 0.3]),
        ([0.75, 0.25], 1 / 2, 1.0, [1.0, 0.0]),
        ([1 / 3, 1 / 3, 1 / 3], 1 / 3, 0.6, [0.6, 0.2, 0.2]),
        ([0.2, 0.5, 0.3], 0.6 / 1.6, 0.375, [0.375, 0.375, 0.25]),
        ([1.0, 0.0, 0.0], 1 / 3, 0.5, [0.5, 0.25, 0.25]),
    ],
)
def test_weights_go_from_one_source_alone_to_as_much_as_the_next(weights, low, there, vector):
    """The others keep their proportions: .3 and .2 are 3 to 2 of the rest."""
    defense = entry("mix", weights=weights)

    found = known_range(defense, "weights")

    assert (found.low, found.high) == (pytest.approx(low), 1.0)
    assert with_knob(defense, "weights", there).mixing["weights"] == pytest.approx(vector)


def test_every_built_in_defense_with_a_knob_says_how_it_is_tuned():
    for defense in load_registry().section("defenses").values():
        untuned = not defense.params and defense.mixing["weights"] == [1.0]
        assert (defense.tune is None) == untuned, defense.name


def test_how_a_defense_is_tuned_changes_no_record(tmp_path):
    """The key of its release is the same without it."""
    on = bench(tmp_path)
    defense = entry("noise_mix")
    without = type(defense)(**{**vars(defense), "tune": None})

    assert "tune" not in provenance.resolved(defense)
    assert on.release_spec(defense, 0).key == on.release_spec(without, 0).key


@pytest.mark.parametrize(
    ("tune_table", "message"),
    [
        ("sigma", "tune: expected a table or nothing, got 'sigma'"),
        ({**SOUND, "hihg": 3}, "tune: no field 'hihg'; did you mean 'high'?"),
        ({**SOUND, "knob": "sigm"}, "tune.knob is 'sigm'; did you mean 'sigma'? (knobs: per, sigma, weights)"),
        ({**SOUND, "knob": "per"}, "tune.knob per is 'pixel'; only a number can be tuned"),
        ({"low": 1}, "tune: knob is missing; add it"),
        ({**SOUND, "low": "a"}, "tune.low: expected a number or nothing, got 'a'"),
        ({**SOUND, "low": 9}, "tune goes from 9 to 9; low must be below high"),
        ({**SOUND, "kind": "even"}, "tune.kind: expected continuous or divides or integer or odd, got 'even'"),
        ({**SOUND, "direction": 1}, "tune.direction: expected text or nothing, got 1"),
        ({"knob": "sigma", "low": 0, "high": 1}, "tune: kind is missing; add it, tune needs knob, low, high, kind"),
        ({**SOUND, "knob": ["sigma"]}, "tune.knob: expected text, got ['sigma']"),
        ({**SOUND, "low": -1e300}, "tune.low: expected a number, -1e+15 or more, got -1e+300"),
        ({**SOUND, "high": 10**9, "kind": "integer"}, "of whole numbers 10,000 at most are tried"),
        ({"knob": "weights", "low": 0.5}, "write tune: {knob: weights}"),
    ],
)
def test_a_malformed_tune_table_is_one_line_with_the_place_and_the_fix(tmp_path, tune_table, message):
    fields = {"use": "a:b", "version": 1, "cite": "c", "params": {"sigma": 3, "per": "pixel"}, "mixing": MIXING}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"defenses": {"mine": {**fields, "tune": tune_table}}}))

    with pytest.raises(HarnessError) as refusal:
        read_registry(file, "mine.yaml")

    assert f"{file}: defenses.mine: " in str(refusal.value)
    assert message in str(refusal.value)


def test_only_a_defense_is_tuned(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("attacks: {mine: {use: 'a:b', version: 1, kind: recognition, cite: c, tune: {knob: weights}}}")

    with pytest.raises(HarnessError, match="no field 'tune'"):
        read_registry(file, "mine.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dssim", "'' is no number"),
        ("dsim=0.5", "no metric 'dsim'; did you mean 'dssim'?"),
        ("dssim=high", "'high' is no number"),
        ("dssim=0", "dssim lies in 0 to 2"),
        ("dssim=2.5", "dssim lies in 0 to 2"),
        ("dhaar=1.01", "dhaar lies in 0 to 1"),
        ("dssim=nan", "'nan' is no number"),
    ],
)
def test_a_target_that_no_image_has_is_refused(text, message):
    with pytest.raises(HarnessError, match="target") as refusal:
        parse_target(text)

    assert message in str(refusal.value)
