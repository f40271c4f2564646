"""Records become tables: the worst case per original, ranks only for judged rows, and only numbers in cells."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from harness.leaderboard import verdict
from harness.leaderboard.board import boards
from harness.leaderboard.format import figure, settings
from harness.leaderboard.row import CONTROLS
from harness.records import Records, RunResult, RunSpec
from harness.report import table_data, terminal
from harness.report.files import write
from harness.report.markdown import page
from harness.statistics import summarise

N = 40
DATASET = {
    "name": "stripes", "fingerprint": "f" * 32, "height": 16, "width": 16,
    "classes": 2, "private": N, "public": 20, "test": 50,
}  # fmt: skip
RELEASED = np.linspace(0.7, 0.9, N)
MULTI = "multi_release"


def inputs(defense, seed, device="cpu", code="c", dataset=None, **knobs):
    mixing = {
        "weights": [1.0] if defense == "none" else [0.5, 0.5],
        "pairing": "permutation",
        "intra_class": False,
        "label": "dominant",
    }
    entry = {"name": defense, "use": "d:d", "version": 1, "params": knobs, "mixing": mixing}
    return {
        "dataset": dataset or DATASET,
        "defense": entry,
        "seed": seed,
        "device": device,
        "code": code,
        "versions": {},
    }


def record(kind, arrays, given, more, status="ok", finished="2026-01-01T00:00:00+00:00", chance=0.5, reason=None):
    units = arrays.get("units")
    scores = {
        name: {**summarise(values, units=units, proportion=False), "chance": chance, "corrected": 0.0}
        for name, values in arrays.items()
        if name != "units"
    }
    return RunResult(RunSpec(kind, given | more), status, reason, scores, arrays, {}, 1.0, finished)


def release(defense="mix", seed=0, dssim=RELEASED, dhaar=None, units=None, targets=1000, finished="2026", **given):
    dssim = np.asarray(dssim, float)
    arrays = {
        "units": np.arange(len(dssim)) if units is None else np.asarray(units),
        "dssim": dssim,
        "dhaar": dssim if dhaar is None else np.asarray(dhaar, float),
    }
    return record("release", arrays, inputs(defense, seed, **given), {"targets": targets}, finished=finished)


def attacked(name, defense="mix", seed=0, dssim=RELEASED, traits=(), status="ok", granted=(), epochs=None, **given):
    values = np.asarray(dssim, float)
    arrays = {"units": np.arange(len(values)), "attacked_dssim": values, "attacked_dhaar": values}
    entry = {"name": name, "use": "a:a", "version": 1, "params": {}, "kind": "reconstruction"}
    entry |= {"traits": list(traits)} if traits else {}
    entry |= {"granted": list(granted)} if granted else {}
    more = {"attack": entry, "targets": 1000, "threads": 1} | ({"epochs": epochs} if epochs else {})
    reason = None if status == "ok" else "why it failed"
    return record(
        "attack", arrays if status == "ok" else {}, inputs(defense, seed, **given), more, status, reason=reason
    )


def recognised(top1, name="cnn", defense="mix", seed=0, chance=0.5, **given):
    values = np.asarray(top1, float)
    arrays = {"units": np.arange(len(values)), "top1": values, "any_source": values, "released": values}
    entry = {"name": name, "use": "a:a", "version": 1, "params": {"arch": "tiny"}, "kind": "recognition"}
    entry |= {"traits": ["learned"], "granted": ["defense", "public"]}
    return record("attack", arrays, inputs(defense, seed, **given), {"attack": entry, "targets": 1000}, chance=chance)


def trained(accuracy, defense="mix", seed=0, epochs=10, recipe="default", **given):
    right = np.arange(50) < round(50 * accuracy)
    utility = {"name": "utility", "use": "u:u", "version": 1, "params": {"model": "resnet18", "recipe": recipe}}
    more = {"epochs": epochs, "threads": 1, "utility": utility}
    return record("utility", {"utility": right.astype(float)}, inputs(defense, seed, **given), more)


def complete(defense, accuracy, dssim=RELEASED, seeds=3):
    """Everything that a row needs to be ranked."""
    made = []
    for seed in range(seeds):
        made += [release(defense, seed, dssim), trained(accuracy, defense, seed)]
        made += [recognised(np.arange(N) % 2, defense=defense, seed=seed)]
        made += [attacked(MULTI, defense, seed, dssim, granted=("releases",), epochs=10)]
        made += [attacked(name, defense, seed, dssim, traits=("control",)) for name in CONTROLS if name != "smooth"]
        made += [attacked("smooth", defense, seed, dssim)]
    return made


def rows(*records):
    (board,) = boards(records)
    return board.rows


def row(*records):
    (found,) = rows(*records)
    return found


# The worst case


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


def test_an_original_that_dominates_two_releases_counts_once():
    """Original 0 with .2 and .4, original 1 with .9: the mean is (.3 + .9) / 2 and n is 2."""
    found = row(release(dssim=[0.2, 0.4, 0.9], units=[0, 0, 1]))

    assert found.scores["dssim"]["mean"] == pytest.approx(0.6) and found.scores["dssim"]["n"] == 2
    assert found.worst["dssim"]["mean"] == pytest.approx(0.6)


def test_an_attack_on_one_seed_does_not_count_on_another():
    found = row(release(), release(seed=1), attacked("one", dssim=np.zeros(N)))

    assert found.worst["dssim"]["mean"] == pytest.approx(RELEASED.mean() / 2)


def test_a_multi_release_attack_counts_without_a_trained_model():
    """`--no-utility` must not make a defense look safer."""
    found = row(release(), attacked(MULTI, dssim=np.full(N, 0.1), granted=("releases",), epochs=5))

    assert found.worst["dssim"]["mean"] == pytest.approx(0.1)


def test_an_attack_on_more_releases_than_utility_trained_on_is_in_another_row():
    """T is one number for privacy and utility; attacks on more releases are in a row of their own."""
    found = rows(
        release(), trained(0.9, epochs=10), attacked(MULTI, dssim=np.zeros(N), granted=("releases",), epochs=20)
    )

    left = {each.epochs: (each.worst["dssim"]["mean"], each.utility is not None) for each in found}
    assert left == {10: (pytest.approx(RELEASED.mean()), True), 20: (0, False)}


def test_an_attack_is_joined_by_original():
    """An attack of another choice of targets, as many as these, is no attack on these."""
    other = attacked("elsewhere", dssim=np.zeros(N))
    other.arrays["units"][:] = np.arange(N) + 1000

    found = row(release(), other)

    assert found.worst["dssim"]["mean"] == pytest.approx(RELEASED.mean())


def test_two_choices_of_targets_are_not_averaged():
    """A run on ten targets and one on all: an original's release is one release, however often it was measured."""
    few = release(dssim=np.full(10, 0.1), targets=10)

    found = [each for board in boards([release(), few]) for each in board.rows]

    assert all(each.scores["dssim"]["mean"] in (pytest.approx(RELEASED.mean()), pytest.approx(0.1)) for each in found)


# Passing and rank


def test_a_row_passes_only_where_the_nearest_source_is_hidden_as_well():
    """Which source dominates is the defense's own statement."""
    narrow = np.full(N, 0.67)
    found = row(release(dssim=narrow))
    passes = dict(found.passes)
    found.worst["any_dssim"] = {**found.worst["dssim"], "low": 0.3}

    assert passes["dssim"]
    assert not found.passes["dssim"] and found.passes["dhaar"]


def test_a_row_passes_where_the_lower_end_of_its_interval_reaches_the_threshold():
    wide, narrow = np.where(np.arange(N) % 2, 0.36, 1.0), np.full(N, 0.67)

    assert not row(release(dssim=wide)).passes["dssim"]  # mean .68, lower end below .66
    assert row(release(dssim=narrow)).passes == {"dssim": True, "dhaar": True}
    assert row(release(dssim=narrow, dhaar=narrow - 0.2)).passes == {"dssim": True, "dhaar": False}


def test_judged_rows_that_pass_are_ranked_by_utility():
    found = rows(*complete("weak", 0.98, RELEASED - 0.5), *complete("good", 0.8), *complete("better", 0.9))

    assert [(each.defense, each.rank) for each in found] == [("better", 1), ("good", 2), ("weak", None)]
    assert all(each.missing == [] for each in found)


@pytest.mark.parametrize(
    ("missing", "said"),
    [("cnn", "a learned attack"), (MULTI, "multi_release"), *((name, name) for name in CONTROLS)],
)
def test_a_row_without_a_required_attack_is_not_ranked(missing, said):
    kept = [each for each in complete("mix", 0.9) if each.inputs.get("attack", {}).get("name") != missing]

    found = row(*kept)

    assert found.rank is None and any(said in lack for lack in found.missing)


def test_two_seeds_are_too_few_to_be_ranked():
    found = row(*complete("mix", 0.9, seeds=2))

    assert found.rank is None and found.missing == ["3 seeds (has 2)"]


def test_attacks_on_one_seed_of_three_do_not_meet_the_requirements():
    """Two releases were never attacked."""
    kept = [each for each in complete("mix", 0.9) if each.spec.kind != "attack" or each.inputs["seed"] == 0]

    found = row(*kept)

    assert found.rank is None and found.missing


def test_a_failed_attack_does_not_meet_the_requirements():
    kept = [each for each in complete("mix", 0.9) if each.inputs.get("attack", {}).get("name") != MULTI]
    failed = [attacked(MULTI, seed=seed, status="failed", granted=("releases",), epochs=10) for seed in range(3)]

    assert row(*kept, *failed).rank is None


def test_where_none_passes_the_board_says_so():
    (board,) = boards(complete("mix", 0.9, RELEASED - 0.5))

    assert [each.rank for each in board.rows] == [None]
    assert any("No defense passes" in line for line in verdict.on_board(board))


def test_where_no_row_is_judged_the_board_names_what_is_missing():
    (board,) = boards([release(), trained(0.9)])

    (line,) = verdict.on_board(board)
    assert "Not yet judged" in line and "multi_release" in line and "a learned attack" in line


def test_the_pareto_front_holds_the_rows_that_no_other_beats_in_both():
    """(.8, .9) beats (.7, .8); (.9, .5) is on the front for its privacy."""
    level = np.ones(N)
    found = rows(
        *complete("best", 0.9, 0.8 * level),
        *complete("beaten", 0.8, 0.7 * level),
        *complete("private", 0.5, 0.9 * level),
        *(release("unjudged", dssim=0.99 * level), trained(0.99, "unjudged")),
    )

    assert {each.defense for each in found if each.pareto} == {"best", "private"}


def test_equal_rows_share_the_front():
    found = rows(*complete("a", 0.9), *complete("b", 0.9))

    assert [each.pareto for each in found] == [True, True]


# Utility and recognition


def test_the_accuracy_drop_is_against_the_undefended_model_of_the_same_training():
    found = {
        (each.defense, each.training): each
        for each in rows(
            *(release("none", dssim=np.zeros(N)), trained(0.9, "none"), trained(0.6, "none", recipe="paper")),
            *(release("mix"), trained(0.8, "mix"), trained(0.5, "mix", recipe="paper")),
        )
    }

    assert found["mix", "resnet18, default"].utility["mean"] == pytest.approx(0.8)
    assert found["mix", "resnet18, default"].accuracy_drop["mean"] == pytest.approx(0.1)
    assert found["mix", "resnet18, paper"].accuracy_drop["mean"] == pytest.approx(0.1)
    assert found["none", "resnet18, default"].accuracy_drop["mean"] == 0


def test_without_the_undefended_model_there_is_no_accuracy_drop():
    found = row(release(), trained(0.8))

    assert found.accuracy_drop is None and found.utility["mean"] == pytest.approx(0.8)


def test_the_recogniser_with_the_highest_rate_beyond_chance_is_shown():
    """.75 where chance is .7 is less than .6 where chance is .2."""
    lucky, able = (np.arange(N) < share * N for share in (0.75, 0.6))

    found = row(release(), recognised(lucky, "lucky", chance=0.7), recognised(able, "able", chance=0.2))

    assert found.strongest["top1"]["attack"] == "able"
    assert found.strongest["top1"]["corrected"] == pytest.approx((0.6 - 0.2) / 0.8)


def test_where_a_constant_guess_is_always_right_nothing_is_beyond_chance():
    """As on a single target."""
    found = row(release(dssim=[0.7]), recognised([1.0], chance=1.0))

    assert "top1" not in found.strongest or found.strongest["top1"]["corrected"] in (None, 0)


# Which records: see test_selection.py


def test_knobs_and_devices_and_data_are_never_mixed():
    other = {**DATASET, "fingerprint": "0" * 32}

    found = boards([release(), release(strength=2), release(device="cuda"), release(dataset=other)])

    assert sorted(len(board.rows) for board in found) == [1, 1, 2]


def test_no_records_make_no_board():
    assert boards([]) == []


def test_only_failures_make_a_board_without_rows():
    (board,) = boards([attacked("broken", status="failed")])

    assert board.rows == []
    page([board])
    table_data.csv_text([board])


# Text


@pytest.fixture(scope="module")
def board():
    skipped = release("half", dssim=RELEASED - 0.5)
    found = boards([*complete("good", 0.9), *complete("none", 0.95, np.zeros(N)), skipped])
    return found


def test_the_csv_holds_every_row_with_its_numbers_in_full(board):
    read = list(csv.DictReader(io.StringIO(table_data.csv_text(board))))

    assert [line["defense"] for line in read] == [each.defense for each in board[0].rows]
    good = next(line for line in read if line["defense"] == "good")
    assert float(good["worst_dssim_mean"]) == pytest.approx(RELEASED.mean(), abs=1e-12)
    assert float(good["utility_mean"]) == pytest.approx(0.9) and float(good["utility_gap_mean"]) == pytest.approx(
        0.06, abs=0.02
    )
    assert good["rank"] == "1" and good["lacks"] == "" and good["passes_dssim"] == "True"
    assert float(good["dssim_low"]) < float(good["dssim_mean"]) < float(good["dssim_high"])


def test_the_page_is_a_table_whose_rows_are_as_wide_as_its_head(board):
    lines = page(board).splitlines()
    first = next(position for position, line in enumerate(lines) if line.startswith("|"))
    grids = [len(re.findall(r"(?<!\\)\|", line)) for line in lines[first : first + 2 + 3]]

    assert len(set(grids)) == 1 and grids[0] > 10
    assert not lines[first + 2 + 3]


def test_every_record_of_a_row_is_linked(board):
    text = page(board)

    assert all(f"records/{key}.json" in text for each in board[0].rows for key in each.records)


def test_no_nan_and_no_infinity_appears(board):
    text = page(board) + table_data.csv_text(board) + table_data.as_json(table_data.document(board))

    assert not re.search(r"\b(nan|inf|infinity)\b", text, re.IGNORECASE)
    assert len(json.loads(table_data.as_json(table_data.document(board)))["boards"][0]["rows"]) == 3


def test_every_figure_has_its_interval(board):
    good = next(each for each in board[0].rows if each.defense == "good")

    assert re.fullmatch(r"\.800 \[\.7\d\d, \.8\d\d\]", figure(good.scores["dssim"]))


def test_a_figure_that_is_missing_is_a_dash():
    assert figure(None) == "-" == figure(summarise([]))


@pytest.mark.parametrize(
    ("mean", "shown"), [(0.5, ".500"), (-0.25, "-.250"), (1.0, "1.000"), (10.25, "10.250"), (0.0, ".000")]
)
def test_numbers_are_written_without_a_leading_zero(mean, shown):
    assert figure({"mean": mean, "low": None, "high": None}) == shown


def test_settings_are_shown_as_they_are_typed():
    given = release(strength=2.5, fast=True)
    given.inputs["defense"]["mixing"]["weights"] = [[0.5, 0.5], [0.6, 0.4]]

    assert settings(row(given).settings) == "strength=2.5 fast=true weights=0.5,0.5/0.6,0.4"


def test_the_board_fits_eighty_columns(board):
    console = Console(file=io.StringIO(), width=80)

    terminal.show(board, console)

    assert max(map(len, console.file.getvalue().splitlines())) <= 80


def test_pages_and_tables_are_written_by_data_set(board, tmp_path):
    paths = write(board, tmp_path / "boards")

    assert sorted(path.name for path in paths) == ["stripes.csv", "stripes.json", "stripes.md"]
    assert (tmp_path / "boards" / "stripes.csv").read_text() == table_data.csv_text(board)
    assert json.loads((tmp_path / "boards" / "stripes.json").read_text()) == table_data.document(board)


def test_a_board_is_a_function_of_the_folder(tmp_path, board):
    folder = Records(tmp_path)
    for each in [*complete("good", 0.9), *complete("none", 0.95, np.zeros(N))]:
        folder.write(each)

    first, again = (table_data.csv_text(boards(folder.all())) for _ in range(2))

    assert first == again and first.count("\n") == 3


# What the review of the first board found


def test_none_with_other_weights_is_no_reference():
    """A mixture under the name of the undefended row would make every accuracy drop look small."""
    mixture = trained(0.5, "none")
    mixture.inputs["defense"]["mixing"]["weights"] = [0.5, 0.5]

    assert row(release(), trained(0.8), mixture).accuracy_drop is None


def test_records_of_another_release_code_are_not_joined():
    """An attack on the defense before its edit does not count for the edited one."""
    old = attacked("peek", dssim=RELEASED - 0.4)
    old.inputs["release"] = "before"
    new = release()
    new.inputs["release"] = "after"

    assert row(new, old).worst["dssim"]["mean"] == pytest.approx(RELEASED.mean())


def test_an_attack_that_is_granted_the_labels_counts_only_without_another_recogniser():
    echo = recognised(np.ones(N), "echo")
    echo.inputs["attack"]["granted"] = ["labels"]

    assert row(release(), echo, recognised(np.arange(N) % 2)).strongest["top1"]["attack"] == "cnn"
    assert row(release(), echo).strongest["top1"]["attack"] == "echo"


def test_a_model_that_learned_nothing_is_no_reference_for_an_accuracy_drop():
    undefended = trained(0.1, "none")
    undefended.scores["utility"] |= {"low": 0.05, "chance": 0.1}

    assert "an undefended model above chance" in row(release(), trained(0.1), undefended).missing
