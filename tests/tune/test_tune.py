"""`harness tune`: ranges from the registry, the worst case that a board judges by, one line for what is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from harness.cli import main
from harness.client.client import scheme_of
from harness.errors import HarnessError
from harness.records import provenance
from harness.registry import load_registry
from harness.registry.entry import read_registry
from harness.statistics import summarise
from harness.tune.ranges import Range, known_range, with_knob
from harness.tune.result import TuneOptions, parse_target
from harness.tune.tune import tune
from tests.helpers.planted import bench, picture_folder
from tests.leaderboard.test_board import attacked, release

SPREAD = np.linspace(-0.1, 0.1, 41)
DUSK = '''
from harness.errors import HarnessError


def dusk(sources, weights, rng, *, amount: float, lines: int):
    """Grey over everything: amount of it, 0 to 1."""
    if not 0 <= amount <= 1:
        raise HarnessError(f"amount {amount} is no share; use 0 to 1")
    return sources[:, 0] * (1 - amount) + 0.5 * amount


def nothing(observation, rng):
    from harness.errors import Inapplicable

    raise Inapplicable("this attack wants more grey")
'''
ENTRIES = """
defenses:
  dusk:
    use: dusk:dusk
    version: 1
    params: {amount: 0.1, lines: 8}
    mixing: {weights: [1.0], pairing: permutation, intra_class: false, label: dominant}
    cite: planted
attacks:
  never: {use: "dusk:nothing", version: 1, kind: reconstruction, cite: planted}
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return picture_folder(tmp_path_factory.mktemp("data") / "stripes")


@pytest.fixture
def outside(tmp_path):
    """A defense from another registry, whose entry has no `tune`."""
    (tmp_path / "dusk.py").write_text(DUSK)
    (tmp_path / "dusk.yaml").write_text(ENTRIES)
    return tmp_path / "dusk.yaml"


@pytest.fixture
def command(pictures, outside, capsys):
    """command("--defense", "mix", ...) -> exit code, stdout, stderr"""

    def call(*arguments, data=pictures):
        fixed = ["--dataset", str(data), "--registry", str(outside), "--threads", "1", "--records", "kept"]
        code = main(["tune", *fixed, *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


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


# The core on a bench with a closed form


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


# Ranges


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


MIXING = {"weights": [1.0], "pairing": "permutation", "intra_class": False, "label": "dominant"}
SOUND = {"knob": "sigma", "low": 0, "high": 9, "kind": "integer", "direction": "up"}


@pytest.mark.parametrize(
    ("tune_table", "message"),
    [
        ("sigma", "tune is 'sigma'; expected a table with knob, low"),
        ({**SOUND, "hihg": 3}, "tune has no field 'hihg'; did you mean 'high'?"),
        ({**SOUND, "knob": "sigm"}, "tune.knob is 'sigm'; did you mean 'sigma'? (knobs: per, sigma, weights)"),
        ({**SOUND, "knob": "per"}, "tune.knob per is 'pixel'; only a number can be tuned"),
        ({"low": 1}, "tune.knob is None"),
        ({**SOUND, "low": "a"}, "tune.low is 'a'; expected a number"),
        ({**SOUND, "low": 9}, "tune goes from 9 to 9; low must be below high"),
        ({**SOUND, "kind": "even"}, "tune.kind is 'even'; use continuous or integer or odd or divides"),
        ({**SOUND, "direction": 1}, "tune.direction is 1; use up or down"),
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
        ("dssim=nan", "dssim lies in 0 to 2"),
    ],
)
def test_a_target_that_no_image_has_is_refused(text, message):
    with pytest.raises(HarnessError, match="target") as refusal:
        parse_target(text)

    assert message in str(refusal.value)


# The command, on real releases


def tuned_of(said):
    return {each["defense"]: each for each in json.loads(said)["tuned"]}


def test_a_knob_with_steps_ends_at_the_least_that_reaches_as_a_run_measures_it(command, pictures, capsys):
    """Every divisor of 16 is released by `harness run`; the first that reaches is the answer, beside its neighbours."""
    means = {}
    for block in (1, 2, 4, 8, 16):
        arguments = ["--defense", "shuffle_mix", "-D", f"block={block}", "--attack", "look", "--no-utility", "--json"]
        main(["run", "--dataset", str(pictures), "--threads", "1", "--records", "others", *arguments])
        means[block] = json.loads(capsys.readouterr().out)["cells"][0]["scores"]["dssim"]["mean"]
    target = (means[2] + means[4]) / 2

    code, said, _ = command("--defense", "shuffle_mix", "--target", f"dssim={target}", "--json")

    found = tuned_of(said)["shuffle_mix"]
    assert (code, found["knob"], found["value"], found["reached"]) == (0, "block", 4, True)
    assert [each["value"] for each in found["neighbours"]] == [2, 8]
    assert {each["value"]: each["score"]["mean"] for each in found["evaluations"]}.items() <= means.items()
    assert found["score"]["mean"] == means[4]


def test_a_rerun_measures_nothing_again(command):
    """The records and the document are the same."""
    asked = ("--defense", "noise_mix", "--target", "dssim=0.4", "--json")
    _, first, _ = command(*asked)
    written = {file: file.stat().st_mtime_ns for file in Path("kept").glob("*.json")}

    _, second, _ = command(*asked)

    assert first == second
    assert {file: file.stat().st_mtime_ns for file in written} == written
    assert len(written) == len(tuned_of(first)["noise_mix"]["evaluations"])


def test_all_defenses_are_in_the_table_with_their_status(command):
    code, said, _ = command("--defense", "all", "--target", "dssim=0.66", "--then", "weights", "--json")

    found = tuned_of(said)
    assert code == 0
    assert set(found) == set(load_registry().section("defenses")) | {"dusk"}
    assert found["none"]["status"] == found["dusk"]["status"] == "nothing to tune"
    assert found["none"]["reason"] == "it has no knob"
    assert "name a knob with --knob (amount, lines)" in found["dusk"]["reason"]
    assert found["mix"]["status"] == "cannot reach"
    assert found["mix"]["maximum"]["value"] == 0.5
    answers = [one for each in found.values() for one in (each, *each["then"]) if one["reached"]]
    assert answers
    for one in answers:
        assert one["score"]["mean"] >= 0.66
        before = [each["score"]["mean"] for each in one["evaluations"] if each["value"] != one["value"]]
        assert one["value"] == one["evaluations"][0]["value"] or min(before) < 0.66


def test_a_knob_of_which_nothing_is_known_is_bracketed_by_doubling(command):
    """A dusk of grey: the answer is the least of a thousand amounts that reaches, up to what is near enough."""
    code, said, _ = command("--defense", "dusk", "--knob", "amount", "--target", "dssim=0.2", "--json")

    found = tuned_of(said)["dusk"]
    values = [each["value"] for each in found["evaluations"]]
    assert (code, found["status"]) == (0, "reached")
    assert 0.2 <= found["score"]["mean"] <= 0.205
    assert {0.1, 0.2, 0.4} <= set(values)
    assert max(values) <= 1  # doubling goes around what the defense refuses


def test_whole_numbers_that_the_size_refuses_are_passed_over(command):
    """shuffle_mix's block, with an entry that says no more than integer, at 16 px."""
    code, said, _ = command("--defense", "shuffle_mix", "--between", "3,15", "--target", "dssim=0.3", "--json")

    assert code == 0
    assert {each["value"] for each in tuned_of(said)["shuffle_mix"]["evaluations"]} <= {4, 8}


def test_the_page_links_every_value_to_its_record_and_the_last_table_is_on_stdout(command, tmp_path):
    code, said, _ = command("--defense", "noise_mix,none", "--target", "dssim=0.3", "--out", tmp_path / "page.md")

    page = (tmp_path / "page.md").read_text()
    records = {file.stem for file in (tmp_path / "kept").glob("*.json")}
    assert code == 0
    assert all(f"(kept/{key}.json)" in page for key in records)
    assert "nothing to tune: it has no knob" in page
    assert "<- least that reaches" in said
    assert "stripes, " in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--defense", "noise_mix", "--target", "dssim=3"), "dssim lies in 0 to 2"),
        (("--defense", "nose_mix", "--target", "dssim=.6"), "did you mean 'noise_mix'?"),
        (
            ("--defense", "noise_mix", "--knob", "sigm", "--target", "dssim=.6"),
            "has a knob 'sigm'; did you mean 'sigma'",
        ),
        (("--defense", "noise_mix", "--knob", "noise_after", "--target", "dssim=.6"), "noise_after is False; only a"),
        (("--defense", "noise_mix", "--knob", "pairing", "--target", "dssim=.6"), "pairing is 'permutation'; only a"),
        (("--defense", "pixelize", "--knob", "weights", "--target", "dssim=.6"), "mixes nothing"),
        (("--defense", "mix", "-D", "weights=distortion", "--target", "dssim=.6"), "give one vector"),
        (("--defense", "noise_mix", "--target", "dssim=.6", "--between", "9,3"), "is no range"),
        (("--defense", "shuffle_mix", "--target", "dssim=.6", "--between", "5,7"), "no block from 5 to 7 (divides)"),
        (("--defense", "noise_mix", "--target", "dssim=.6", "--attack", "cnn"), "is of kind recognition"),
        (("--defense", "noise_mix", "--target", "dssim=.6", "--attack", "mean_image"), "is a control"),
        (("--defense", "noise_mix", "--target", "dssim=.6", "--attack", "never"), "sigma=256: never is inapplicable"),
        (("--defense", "mix,blur", "--then", "wights", "--target", "dssim=.6"), "did you mean 'weights'?"),
        (("--defense", "mix,blur", "--between", "1,3", "--target", "dssim=.6"), "the range of one knob"),
        (("--defense", "noise_mix", "--target", "dssim=.6", "--seed", "-1"), "seed -1"),
        (("--defense", "noise_mix", "--target", "dssim=.6", "--most", "0"), "'0' is no count"),
        (("--defense", "noise_mix", "--target", "dssim=.6", "--out", "page.txt"), "ends in .md"),
        (("--defense", "graft", "--target", "dssim=.6", "--between", "2,3"), "p 2.0 is not a share"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(command, arguments, message):
    code, out, err = command(*arguments)

    last = [line for line in err.splitlines() if line.startswith("harness: ")]
    assert (code, out) == (2, "")
    assert len(last) == 1
    assert message in last[0]
    assert "Traceback" not in err


def test_photographs_are_tuned_right_above_the_target(command):
    code, said, _ = command(
        "--defense", "noise_mix", "--target", "dssim=0.66", "--limit", "30", "--size", "32", "--json", data="photos"
    )

    found = tuned_of(said)["noise_mix"]
    assert code == 0
    assert 0.66 <= found["score"]["mean"] <= 0.67
    assert found["neighbours"][0]["score"]["mean"] < 0.66
