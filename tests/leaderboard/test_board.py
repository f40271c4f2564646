"""Records become rows: ranks only for judged rows, differences only against their own reference."""

from __future__ import annotations

import numpy as np
import pytest

from harness.leaderboard import verdict
from harness.leaderboard.board import boards
from harness.leaderboard.row import CONTROLS
from harness.report import table_data
from harness.report.markdown import page
from tests.helpers.rows import DATASET, MULTI, RELEASED, N, attacked, complete, recognised, release, row, rows, trained

# Passing and rank


def test_a_row_passes_only_where_the_nearest_source_is_hidden_as_well():
    """Which source dominates is the defense's own statement."""
    narrow, seen = release(dssim=np.full(N, 0.67)), release(dssim=np.full(N, 0.67))
    seen.arrays["worst_any_dssim"] = np.full(N, 0.3)

    assert row(narrow).passes["dssim"] is True
    assert row(seen).passes["dssim"] is False and row(seen).passes["dhaar"] is True


def test_a_row_passes_where_the_lower_end_of_its_interval_reaches_the_threshold():
    wide, narrow = np.where(np.arange(N) % 2, 0.36, 1.0), np.full(N, 0.67)

    assert row(release(dssim=wide)).passes["dssim"] is False  # mean .68, lower end below .66
    for dhaar, passes in ((narrow, True), (narrow - 0.2, False)):
        found = row(release(dssim=narrow, dhaar=dhaar)).passes
        assert (found["dssim"], found["dhaar"]) == (True, passes)


def test_judged_rows_that_pass_are_ranked_by_utility():
    found = rows(*complete("weak", 0.98, RELEASED - 0.5), *complete("good", 0.8), *complete("better", 0.9))

    assert [(each.defense, each.rank) for each in found] == [("better", 1), ("good", 2), ("weak", None)]
    assert all(each.missing == [] for each in found)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("cnn", "a recogniser"),
        ("linear", "floor"),
        ("inversion", "inversion or auto"),
        (MULTI, "multi_release"),
        *((name, name) for name in CONTROLS),
    ],
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
    failed = [attacked(MULTI, seed=seed, status="failed", granted=("releases",), releases=10) for seed in range(3)]

    assert row(*kept, *failed).rank is None


def test_where_none_passes_the_board_says_so():
    (board,) = boards(complete("mix", 0.9, RELEASED - 0.5))

    assert [each.rank for each in board.rows] == [None]
    assert any("No defense passes" in line for line in verdict.on_board(board))


def test_where_no_row_is_judged_the_board_names_what_is_missing():
    (board,) = boards([release(), trained(0.9)])

    line = next(text for text in verdict.on_board(board) if text.startswith("Not yet judged"))
    assert all(name in line for name in ("multi_release", "inversion or auto", "a recogniser", "linear"))


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
