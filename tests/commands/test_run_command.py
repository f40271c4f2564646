"""`harness run`: one JSON document, the board and the verdict; finished pieces are not repeated."""

from __future__ import annotations

import json
import re

import pytest

from harness.records import Records
from harness.train import Learner
from tests.helpers.answers import SCORE


def test_a_run_prints_one_document_with_the_fields_that_scripts_rely_on(run):
    code, out, err = run("--defense", "mix", "--attack", "same,first", "--epochs", 1, "--seeds", 2, "--json")

    document = json.loads(out)
    assert code == 0, err
    assert [(cell["defense"], cell["attack"], cell["seed"]) for cell in document["cells"]] == [
        ("mix", attack, seed) for seed in (0, 1) for attack in ("same", "first")
    ]
    for cell in document["cells"]:
        assert {"dataset", "defense", "attack", "seed", "status", "params", "scores", "seconds"} <= set(cell)
        assert (cell["dataset"], cell["status"]) == ("stripes", "ok") and cell["seconds"] > 0
        assert all(set(score) >= SCORE for score in cell["scores"].values())
        expected = {"dssim", "dhaar", "mse", "phash", "fid", "lpips", "dists", "utility", "utility_gap"}
        assert expected <= set(cell["scores"])
    same, first = (cell["scores"] for cell in document["cells"][:2])
    assert {"attacked_dssim", "attacked_dhaar", "attacked_any_dssim", "attacked_any_dhaar"} <= set(same)
    assert {"top1", "any_source", "released"} <= set(first)
    assert same["attacked_dssim"]["mean"] == pytest.approx(same["dssim"]["mean"], abs=1e-5)
    assert first["top1"]["mean"] == pytest.approx(first["top1"]["chance"], abs=0.35) and 0 < first["top1"]["chance"] < 1
    assert same["dssim"]["low"] <= same["dssim"]["mean"] <= same["dssim"]["high"]


def test_a_score_that_cannot_be_measured_is_null_with_the_reason(run):
    """fid, lpips and dists need weights that are not on a machine that has only Python and pip."""
    _, out, _ = run("--defense", "none", "--attack", "same", "--no-utility", "--json")

    for metric in ("fid", "lpips", "dists"):
        score = json.loads(out)["cells"][0]["scores"][metric]
        assert (score["mean"] is None and score["n"] == 0 and score["reason"]) or score["mean"] < 1e-3


def test_the_board_is_printed_and_progress_goes_to_stderr(run, place):
    code, out, err = run("--defense", "mix", "--attack", "same", "--no-utility")

    assert code == 0
    assert "mix" in out and "worst dHaar" in out and "stripes: " in out
    assert "release mix" in err and "release mix" not in out
    assert sorted(path.name for path in place.iterdir()) == ["results"]


def test_knobs_are_set_from_the_command_line(run):
    code, out, _ = run(
        *("--defense", "shuffle_mix", "--attack", "same", "--no-utility", "--json"),
        *("-D", "block=4", "-D", "weights=0.5,0.5", "-D", "intra_class=true"),
    )

    params = json.loads(out)["cells"][0]["params"]
    assert code == 0
    assert (params["block"], params["weights"], params["intra_class"]) == (4, [0.5, 0.5], True)


def test_a_run_again_trains_nothing(run, monkeypatch):
    arguments = ("--defense", "mix", "--attack", "same", "--epochs", 1, "--json")
    first = json.loads(run(*arguments)[1])

    def forbidden(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(Learner, "epoch", forbidden)
    monkeypatch.setattr("harness.client.client.obfuscate", forbidden)
    code, out, _ = run(*arguments)

    again = json.loads(out)
    assert code == 0
    assert [cell["scores"] for cell in again["cells"]] == [cell["scores"] for cell in first["cells"]]


def test_a_dry_run_trains_and_writes_nothing(run, place, monkeypatch):
    def forbidden(*_):
        raise AssertionError("something was run")

    monkeypatch.setattr(Learner, "epoch", forbidden)
    monkeypatch.setattr("harness.client.client.obfuscate", forbidden)
    code, out, _ = run("--defense", "mix,turn", "--attack", "cnn", "--dry-run")

    assert code == 0
    assert out.count("to run") == 9 and "turn x cnn" in out  # none, mix, turn: a release, a training, an attack each
    for arch in ("kmeans_patches", "mcpherson_face", "resnet18"):
        assert run("--defense", "mix", "--attack", "cnn", "-A", f"arch={arch}", "--dry-run")[0] == 0
    assert list(place.iterdir()) == []


def test_the_plan_says_what_is_done(run):
    run("--defense", "mix", "--attack", "same", "--no-utility")

    code, out, _ = run("--defense", "mix,none", "--attack", "same", "--no-utility", "--dry-run", "--json")

    plan = json.loads(out)["plan"]
    assert code == 0
    done = {(item["kind"], item["defense"]): item["done"] for item in plan}
    assert done == {
        ("release", "none"): True,
        ("release", "mix"): True,
        ("attack", "mix"): True,
        ("attack", "none"): False,
    }


def test_a_failed_cell_makes_the_exit_code_1_and_the_rest_goes_on(run):
    code, out, err = run("--defense", "mix", "--attack", "burst,spread,same", "--no-utility", "--json")

    cells = json.loads(out)["cells"]
    assert code == 1
    assert [cell["status"] for cell in cells] == ["failed", "failed", "ok"]
    assert "mix x burst: failed: attack: RuntimeError: the attack burst" in err
    assert "3 candidates for releases of 2 sources" in err and "Traceback" not in err


def test_skipped_and_inapplicable_cells_are_no_failure(run):
    code, out, err = run(*("--defense", "mix", "--attack", "keyed,cnn", "--no-utility", "--public-share", 0, "--json"))

    assert code == 0
    assert [cell["status"] for cell in json.loads(out)["cells"]] == ["skipped", "inapplicable"]
    assert "set PLANTED_KEY" in err and "--public-share 0" in err


def test_a_message_that_several_defenses_share_is_one_line(run):
    code, _, err = run("--defense", "mix,none,turn", "--attack", "keyed,burst,cnn", "--no-utility", "--public-share", 0)

    said = [re.sub(r"^harness: |(?<=line )\d+", "", line) for line in err.splitlines() if " x " in line]
    assert code == 1
    assert said == [
        "all 3 defenses x keyed: skipped: attack: no credentials; set PLANTED_KEY",
        "all 3 defenses x cnn: inapplicable: attack: the attack needs public images and there are none "
        "(--public-share 0)",
        "all 3 defenses x burst: failed: attack: RuntimeError: the attack burst (planted.py, line )",
    ]


def test_attacks_that_fail_for_one_reason_share_a_line(run, monkeypatch):
    def untrainable(*_):
        raise RuntimeError("no training today")

    monkeypatch.setattr(Learner, "epoch", untrainable)
    _, _, err = run("--defense", "mix", "--attack", "same,first", "--epochs", 1)

    (said,) = [line for line in err.splitlines() if "no training today" in line]
    assert said.startswith("harness: mix x same, first: failed: utility: ")


def test_a_run_begins_with_the_verdict_on_each_requested_defense(run):
    code, out, _ = run("--defense", "mix,turn", "--attack", "same,keyed", "--no-utility")

    last, board, _ = out.partition("private, ")  # the title of the board
    assert code == 0 and board
    assert re.search(r"^mix \(weights=0\.5,0\.5\), 10 releases, \d+ originals, 1 seed$", last, re.MULTILINE)
    assert re.search(r"^turn, 10 releases, \d+ originals, 1 seed$", last, re.MULTILINE)
    assert not re.search(r"^none", last, re.MULTILINE)  # run only as the reference
    assert last.count("Not judged: missing inversion or auto") == 2
    assert last.count("Says nothing about keyed (skipped: no credentials; set PLANTED_KEY)") == 2


def test_the_document_has_verdicts_beside_the_cells(run):
    _, out, _ = run("--defense", "mix", "--attack", "same", "--no-utility", "--json")

    (said,) = json.loads(out)["verdicts"]
    assert said["defense"] == "mix" and "multi_release" in said["lacks"]
    assert said["worst"]["dssim"]["attack"] in ("look", "same")


def test_an_interrupted_run_says_so_and_keeps_what_it_has(run, place):
    code, out, err = run("--defense", "mix", "--attack", "same,stop", "--no-utility")

    assert (code, out) == (130, "")
    assert "the same command continues" in err and "Traceback" not in err
    assert sorted(record.spec.kind for record in Records(place / "results").all()) == ["attack", "release", "release"]


def test_one_target_is_enough(run):
    """No figure of one image is significant, but nothing fails."""
    code, out, err = run("--defense", "none", "--attack", "first", "--no-utility", "--targets", 1)

    assert code == 0, err
    assert "none, 10 releases, 1 original, 1 seed" in out
