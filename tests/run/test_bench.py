"""Every piece gives one record; a failure is reported and the rest is done."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.records import provenance
from harness.registry import load_registry
from harness.run.cross import Cross
from harness.run.engine import run
from harness.train import Learner
from tests.helpers import planted
from tests.helpers.planted import attack, bench, defense, splits

LOOK = attack("the_release")


def names(folder: Path):
    return sorted(path.name for path in folder.iterdir())


def crossed(folder, entries, defenses, attacks, data=None, utility=False, **options):
    """A cross on planted data, and its bench."""
    on_stripes = bench(folder, data, *entries, **options)
    chosen = [on_stripes.registry.get("defenses", name) for name in defenses]
    return on_stripes, Cross(
        on_stripes, chosen, [on_stripes.registry.get("attacks", name) for name in attacks], 1, utility
    )


# Records


def test_every_piece_has_one_record(tmp_path):
    """none and mix against two attacks: 2 releases, 2 trainings, 4 attacks, each a JSON file and its numbers."""
    entries = (LOOK, attack("first_class", "recognition"))
    on_stripes, cross = crossed(tmp_path, entries, ("none", "mix"), ("the_release", "first_class"), utility=True)

    cells = run([cross])[0]

    kinds = sorted(record.spec.kind for record in on_stripes.records.all())
    assert kinds == ["attack"] * 4 + ["release"] * 2 + ["utility"] * 2
    assert len(names(tmp_path / "records")) == 16
    assert [(cell.defense.name, cell.attack.name, cell.status) for cell in cells] == [
        (which, how, "ok") for which in ("none", "mix") for how in ("the_release", "first_class")
    ]
    assert [item["done"] for item in cross.plan()] == [True] * 8


def test_a_finished_command_run_again_costs_no_training(tmp_path, monkeypatch):
    arguments = ((LOOK,), ("mix",), ("the_release",))
    first = [cell.scores for cell in run([crossed(tmp_path, *arguments, utility=True)[1]])[0]]
    before = {path: path.read_bytes() for path in (tmp_path / "records").iterdir()}

    def forbidden(*_):
        raise AssertionError("work was done again")

    monkeypatch.setattr(Learner, "epoch", forbidden)
    monkeypatch.setattr(planted, "the_release", forbidden)
    monkeypatch.setattr("harness.client.client.obfuscate", forbidden)
    again = [cell.scores for cell in run([crossed(tmp_path, *arguments, utility=True)[1]])[0]]

    assert again == first
    assert {path: path.read_bytes() for path in (tmp_path / "records").iterdir()} == before


def test_a_run_that_was_stopped_continues_with_what_is_missing(tmp_path):
    """Ctrl-C in an attack loses that cell alone."""
    entries = (LOOK, attack("stop"))
    on_stripes, cross = crossed(tmp_path, entries, ("mix",), ("the_release", "stop"))

    with pytest.raises(KeyboardInterrupt):
        run([cross])[0]

    kept = [record.spec.names for record in on_stripes.records.all() if record.spec.kind == "attack"]
    assert kept == [["mix", "the_release"]]
    assert not [name for name in names(tmp_path / "records") if "tmp" in name]


@pytest.mark.parametrize("change", [{"epochs": 20, "releases": 10}, {"releases": 7}, {"targets": 5}, {"threads": 2}])
def test_every_input_that_changes_a_figure_changes_the_record(tmp_path, change):
    """T counts for the trained model; R for it, for the releases and for attacks that see all of them."""
    data, all_releases = splits(), attack("count_releases", "recognition", ("releases",))
    one, other = (bench(tmp_path, data, **{"targets": 1000, "epochs": 10, **options}) for options in ({}, change))
    mix = one.registry.get("defenses", "mix")

    differs = {
        "release": one.release_spec(mix, 0).key != other.release_spec(mix, 0).key,
        "utility": one.utility_spec(mix, 0).key != other.utility_spec(mix, 0).key,
        "attack": one.attack_spec(mix, LOOK, 0).key != other.attack_spec(mix, LOOK, 0).key,
        "releases": one.attack_spec(mix, all_releases, 0).key != other.attack_spec(mix, all_releases, 0).key,
    }

    expected = {"epochs": ("utility",), "releases": ("release", "utility", "releases")}
    expected |= {"targets": ("release", "attack", "releases"), "threads": ("utility", "attack", "releases")}
    assert {name for name, yes in differs.items() if yes} == set(expected[next(iter(change))])


def test_another_seed_knob_or_data_set_is_another_record(tmp_path):
    on_stripes, other = bench(tmp_path), bench(tmp_path, splits(private=33))
    mix = on_stripes.registry.get("defenses", "mix")

    keys = {
        on_stripes.release_spec(mix, 0).key,
        on_stripes.release_spec(mix, 1).key,
        on_stripes.release_spec(mix.with_settings({"weights": [0.6, 0.4]}), 0).key,
        other.release_spec(mix, 0).key,
    }

    assert len(keys) == 4


PLUGIN = '''
"""A planted attack."""
from harness.types import Guess

def editable(observation, rng, *, darker):
    return Guess(candidates=(observation.images // darker)[:, None])
'''
ENTRY = """
attacks:
  editable:
    {use: editable_plugin:editable, version: 1, kind: reconstruction, params: {darker: 2}, traits: [], cite: mine}
"""


def test_editing_a_plugin_makes_a_new_cell_and_editing_its_comments_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    file, registry_file = tmp_path / "editable_plugin.py", tmp_path / "editable_plugin.yaml"
    file.write_text(PLUGIN)
    registry_file.write_text(ENTRY)
    on_stripes = bench(tmp_path, None, load_registry([registry_file]).get("attacks", "editable"))
    mix, entry = (on_stripes.registry.get(*which) for which in (("defenses", "mix"), ("attacks", "editable")))

    def key_of(text):
        file.write_text(text)
        provenance.forget()  # as every run does
        return on_stripes.attack_spec(mix, entry, 0).key

    plain = key_of(PLUGIN)
    commented = key_of(
        PLUGIN.replace("A planted attack.", "What it is.").replace("    return", "    # why\n    return")
    )
    edited = key_of(PLUGIN.replace("// darker", "// darker + 1"))

    assert commented == plain != edited


# Figures


def test_an_undefended_release_has_distance_zero(tmp_path):
    on_stripes = bench(tmp_path)

    shown = on_stripes.release(on_stripes.undefended, 0)

    assert shown.arrays["dssim"] == pytest.approx(np.zeros(30), abs=1e-6)
    assert shown.scores["dssim"]["mean"] == pytest.approx(0, abs=1e-6) and shown.scores["dssim"]["n"] == 30


@pytest.mark.parametrize("returned", ["the_release", "the_release_whole"])
@pytest.mark.parametrize("targets", [1000, 8])
def test_an_attack_that_returns_the_release_is_as_far_away_as_the_release(tmp_path, returned, targets):
    """A guess may have a row per target or one per release."""
    entry = attack(returned)
    on_stripes = bench(tmp_path, None, entry, targets=targets)
    noisy = on_stripes.registry.get("defenses", "noise_mix")

    shown, attacked = on_stripes.release(noisy, 0), on_stripes.attack(noisy, entry, 0)

    assert attacked.status == "ok", attacked.reason
    assert attacked.arrays["attacked_dssim"] == pytest.approx(shown.arrays["dssim"], abs=1e-5)
    assert attacked.arrays["attacked_any_dssim"] == pytest.approx(shown.arrays["any_dssim"], abs=1e-5)
    assert attacked.arrays["attacked_dhaar"] == pytest.approx(shown.arrays["dhaar"], abs=1e-5)
    assert attacked.scores["attacked_dssim"]["mean"] > 0.1
    assert len(attacked.arrays["attacked_dssim"]) == (30 if targets == 1000 else 8)


def test_the_nearest_source_is_never_farther_than_the_dominant_one(tmp_path):
    on_stripes = bench(tmp_path)

    shown = on_stripes.release(on_stripes.registry.get("defenses", "mix"), 0).arrays

    assert (shown["any_dssim"] <= shown["dssim"] + 1e-9).all() and (shown["any_dssim"] <= shown["every_dssim"]).all()
    assert (shown["any_dssim"] < shown["dssim"] - 0.01).any()  # with a coin for the dominant one it is often another


def test_targets_are_the_same_originals_for_every_seed_and_defense(tmp_path):
    """Where every original dominates one release, as without mixing and with weights .75 and .25."""
    on_stripes = bench(tmp_path, None, targets=10)
    rows = [on_stripes.registry.get("defenses", name) for name in ("none", "noise_mix", "shuffle_mix")]

    scored = [sorted(on_stripes.release(row, seed).arrays["units"]) for row in rows for seed in (0, 1)]

    assert len(scored[0]) == 10
    assert all(units == scored[0] for units in scored)


def test_a_random_label_among_equal_shares_scores_no_other_originals(tmp_path):
    """With weights .5 and .5 an original may dominate two releases or none."""
    on_stripes = bench(tmp_path, None, targets=10)
    chosen = set(on_stripes.release(on_stripes.undefended, 0).arrays["units"])

    shown = on_stripes.release(on_stripes.registry.get("defenses", "mix"), 0)

    assert set(shown.arrays["units"]) <= chosen
    assert shown.scores["dssim"]["n"] == len(set(shown.arrays["units"]))


def test_few_targets_are_a_subset_of_more_targets(tmp_path):
    few, many = (set(bench(None, None, targets=n).release(bench(None).undefended, 0).arrays["units"]) for n in (4, 12))

    assert len(few) == 4 and few < many


def test_an_attack_sees_as_many_releases_as_utility_trains_on(tmp_path):
    entry = attack("count_releases", "recognition", ("releases",))
    on_stripes = bench(tmp_path, None, entry, epochs=4)

    seen = on_stripes.attack(on_stripes.registry.get("defenses", "mix"), entry, 0)

    assert seen.facts == {"releases": 4, "labels": 30}


def test_utility_is_compared_with_the_undefended_model_on_the_same_images(tmp_path):
    """The gap is the mean over test images of undefended minus defended; of the undefended row itself it is zero."""
    _, cross = crossed(tmp_path, (LOOK,), ("none", "noise_mix"), ("the_release",), utility=True)

    plain, noisy = run([cross])[0]

    assert plain.scores["utility_gap"]["mean"] == 0
    lost = plain.utility.arrays["utility"] - noisy.utility.arrays["utility"]
    assert noisy.scores["utility_gap"]["mean"] == pytest.approx(lost.mean())
    assert noisy.scores["utility_gap"]["n"] == noisy.scores["utility"]["n"] == 12


def test_the_undefended_model_is_trained_in_every_cross(tmp_path):
    _, cross = crossed(tmp_path, (LOOK,), ("mix",), ("the_release",), utility=True)

    assert {(item["kind"], item["defense"]) for item in cross.plan()} == {
        ("release", "none"),
        ("utility", "none"),
        ("release", "mix"),
        ("utility", "mix"),
        ("attack", "mix"),
    }


# Failures


def test_a_failing_attack_is_reported_and_the_rest_is_done(tmp_path):
    entries = (attack("burst"), LOOK)
    _, cross = crossed(tmp_path, entries, ("mix",), ("burst", "the_release"))

    failed, fine = run([cross])[0]

    said = r"attack: RuntimeError: the attack burst \(planted\.py, line \d+\)"
    assert failed.status == "failed" and re.fullmatch(said, failed.reason)
    assert fine.status == "ok"
    assert failed.document()["scores"]["dssim"]["n"] > 0  # what the release shows is known all the same


def test_a_failed_cell_is_tried_again(tmp_path, monkeypatch):
    entry = attack("burst")
    on_stripes = bench(tmp_path, None, entry)
    mix = on_stripes.registry.get("defenses", "mix")
    assert on_stripes.attack(mix, entry, 0).status == "failed"

    monkeypatch.setattr(planted, "burst", planted.the_release)

    assert on_stripes.attack(mix, entry, 0).status == "failed"  # not within one run
    assert bench(tmp_path, None, entry).attack(mix, entry, 0).status == "ok"


@pytest.mark.parametrize(
    ("function", "kind", "expected"),
    [
        ("three_candidates", "reconstruction", "3 candidates for releases of 2 sources"),
        ("nothing", "reconstruction", "returned a guess of another kind"),
        ("nothing", "recognition", "returned a guess of another kind"),
        ("the_release", "recognition", "returned a guess of another kind"),
        ("odd_rows", "recognition", "a guess of 7 rows for 30 targets of 30 releases"),
        ("not_a_number", "recognition", "NaN"),
    ],
)
def test_a_wrong_guess_is_a_failed_cell(tmp_path, function, kind, expected):
    entry = attack(function, kind)
    on_stripes = bench(tmp_path, None, entry)

    result = on_stripes.attack(on_stripes.registry.get("defenses", "noise_mix"), entry, 0)

    assert result.status == "failed" and expected in result.reason
    assert not result.scores


def test_an_attack_that_reads_what_it_is_not_granted_fails_and_the_reason_names_the_grant(tmp_path):
    entry = attack("count_releases", "recognition", ("labels",))
    on_stripes = bench(tmp_path, None, entry)

    result = on_stripes.attack(on_stripes.registry.get("defenses", "mix"), entry, 0)

    assert result.status == "failed" and "reached for releases" in result.reason


def test_missing_credentials_are_skipped_and_not_failed(tmp_path):
    entry = attack("wants_a_key")
    on_stripes = bench(tmp_path, None, entry)

    result = on_stripes.attack(on_stripes.undefended, entry, 0)

    assert (result.status, result.reason) == ("skipped", "no credentials; set PLANTED_KEY")


def test_an_attack_without_an_evaluator_is_inapplicable(tmp_path):
    entry = attack("nothing", "reidentification", ("gallery",))
    on_stripes = bench(tmp_path, None, entry)
    others = tuple(each for each in on_stripes.registry.entries if each.name != "reidentification")
    on_stripes = replace(on_stripes, registry=replace(on_stripes.registry, entries=others))

    assert on_stripes.attack(on_stripes.undefended, entry, 0).status == "inapplicable"


def test_a_defense_that_returns_nan_is_refused_before_anything_runs(tmp_path):
    on_stripes = bench(tmp_path, None, defense("not_finite"))

    with pytest.raises(HarnessError, match=r"not_finite.*NaN or infinity"):
        on_stripes.client.check(on_stripes.registry.get("defenses", "not_finite"))


def test_a_learned_attack_at_chance_has_failed(tmp_path):
    entry = attack("first_class", "recognition", traits=("learned",))
    on_stripes = bench(tmp_path, None, entry)

    result = on_stripes.attack(on_stripes.undefended, entry, 0)

    assert result.status == "failed" and "chance" in result.reason


def test_a_failing_proof_is_made_once_in_a_run(tmp_path):
    """Training in vain is the most expensive way to learn nothing: not again for every defense."""
    entry = attack("learned_nothing", "recognition", traits=("learned",))
    planted.learned_nothing.runs = 0
    _, cross = crossed(tmp_path, (entry,), ("none", "mix", "noise_mix"), ("learned_nothing",))

    cells = run([cross])[0]

    assert [cell.status for cell in cells] == ["failed"] * 3
    assert planted.learned_nothing.runs == 1


def test_one_target_that_dominates_nothing_is_inapplicable_not_a_crash(tmp_path):
    """By a coin for the label some original dominates no release: it cannot be scored, and the cell says so."""
    entry = LOOK
    on_stripes = bench(tmp_path, None, entry, targets=1)
    mix = on_stripes.registry.get("defenses", "mix")

    results = [(on_stripes.release(mix, seed), on_stripes.attack(mix, entry, seed)) for seed in range(16)]

    assert any(not len(shown.arrays.get("units", ())) for shown, _ in results)  # it does happen here
    for result in (each for both in results for each in both):
        assert not result.reason or "Error:" not in result.reason  # a reason of the harness, no NumPy message


def test_a_metric_that_a_foreign_record_names_and_nobody_knows_is_not_available():
    assert not bench(None)._is_available("nosuch")
