"""`harness tune` on real releases: its table, page and JSON, and one line for wrong input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.registry import load_registry
from tests.helpers.planted import picture_folder

DUSK = '''
import torch

from harness.errors import HarnessError


def dusk(sources, weights, rng, *, amount: float, lines: int):
    """Noise over everything: amount of it, 0 to 1."""
    if not 0 <= amount <= 1:
        raise HarnessError(f"amount {amount} is no share; use 0 to 1")
    return sources[:, 0] * (1 - amount) + amount * torch.rand(sources[:, 0].shape, generator=rng)


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
def outside(tmp_path, monkeypatch):
    """A defense from another registry, whose entry has no `tune`."""
    monkeypatch.setattr(sys, "path", list(sys.path))  # modules of one name, from a folder for each test
    sys.modules.pop("dusk", None)
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


def tuned_of(said):
    return {each["defense"]: each for each in json.loads(said)["tuned"]}


def test_a_knob_with_steps_ends_at_the_least_that_reaches_as_a_run_measures_it(command, pictures, capsys):
    """Every divisor of 16 is released by `harness run`; the first that reaches is the answer, beside its neighbours."""
    means = {}
    for block in (1, 2, 4, 8, 16):
        arguments = ["--defense", "shuffle_mix", "-D", f"block={block}", "--attack", "look", "--no-utility", "--json"]
        main(["run", "--dataset", str(pictures), "--threads", "1", "--records", "others", *arguments])
        means[block] = json.loads(capsys.readouterr().out)["verdicts"][0]["worst"]["dssim"]["mean"]
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
    """Noise: the answer is the least of a thousand amounts that reaches, up to what is near enough."""
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
        (("--defense", "noise_mix", "--target", "dssim=.6", "--most", "0"), "most 0 is too few"),
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
