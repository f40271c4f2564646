"""The commands: exit codes, one JSON document or one clear line, nothing half-written."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted import CLASSES, picture_folder, stripes

from harness.cli import main
from harness.records import Records
from harness.train import Learner

SCORE = {"mean", "low", "high", "p5", "min", "n"}
PLANTED = """
defenses:
  turn:
    use: planted:turn
    version: 1
    mixing: {weights: [1.0], pairing: permutation, intra_class: false, label: dominant}
    cite: planted
attacks:
  same: {use: "planted:the_release", version: 1, kind: reconstruction, cite: planted}
  first: {use: "planted:first_class", version: 1, kind: recognition, cite: planted}
  burst: {use: "planted:burst", version: 1, kind: reconstruction, cite: planted}
  stop: {use: "planted:stop", version: 1, kind: reconstruction, cite: planted}
  keyed: {use: "planted:wants_a_key", version: 1, kind: reconstruction, cite: planted}
  spread: {use: "planted:three_candidates", version: 1, kind: reconstruction, cite: planted}
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return picture_folder(tmp_path_factory.mktemp("data") / "stripes")


@pytest.fixture(autouse=True)
def place(tmp_path, cache, monkeypatch):
    """An empty folder to work in, a cache of our own, and sys.path as it was."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(sys, "path", list(sys.path))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def registry(tmp_path):
    file = tmp_path / "planted_entries.yaml"
    file.write_text(PLANTED)
    return str(file)


@pytest.fixture
def run(pictures, registry, capsys):
    """run("--defense", "mix", ...) -> exit code, stdout, stderr; on the stripes, one thread."""

    def call(*arguments, data=pictures):
        code = main(["run", "--dataset", str(data), "--registry", registry, "--threads", "1", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def harness(capsys):
    def call(*arguments):
        code = main([*map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def refused(answer, *words):
    """Exit 2, nothing on stdout, one line on stderr with these words."""
    code, out, err = answer
    assert (code, out) == (2, ""), err
    assert err.startswith("harness: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in err
    return True


# Run


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
        assert {"dssim", "dhaar", "mse", "phash", "fid", "utility", "utility_gap"} <= set(cell["scores"])
    same, first = (cell["scores"] for cell in document["cells"][:2])
    assert {"attacked_dssim", "attacked_dhaar", "attacked_any_dssim", "attacked_any_dhaar"} <= set(same)
    assert {"top1", "any_source", "released"} <= set(first)
    assert same["attacked_dssim"]["mean"] == pytest.approx(same["dssim"]["mean"], abs=1e-5)
    assert first["top1"]["mean"] == pytest.approx(first["top1"]["chance"], abs=0.35) and 0 < first["top1"]["chance"] < 1
    assert same["dssim"]["low"] <= same["dssim"]["mean"] <= same["dssim"]["high"]


def test_a_figure_that_cannot_be_had_is_null_with_the_reason(run):
    """FID needs weights that are not on a machine that has only Python and pip."""
    _, out, _ = run("--defense", "none", "--attack", "same", "--no-utility", "--json")

    fid = json.loads(out)["cells"][0]["scores"]["fid"]
    assert (fid["mean"] is None and fid["n"] == 0 and fid["reason"]) or fid["mean"] == pytest.approx(0, abs=1e-3)


def test_the_board_is_printed_and_progress_goes_to_stderr(run, place):
    code, out, err = run("--defense", "mix", "--attack", "same", "--no-utility")

    assert code == 0
    assert "mix" in out and "worst dSSIM" in out and "stripes: " in out
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
    monkeypatch.setattr("harness.client.obfuscate", forbidden)
    code, out, _ = run(*arguments)

    again = json.loads(out)
    assert code == 0
    assert [cell["scores"] for cell in again["cells"]] == [cell["scores"] for cell in first["cells"]]


def test_a_dry_run_trains_and_writes_nothing(run, place, monkeypatch):
    def forbidden(*_):
        raise AssertionError("something was run")

    monkeypatch.setattr(Learner, "epoch", forbidden)
    monkeypatch.setattr("harness.client.obfuscate", forbidden)
    code, out, _ = run("--defense", "mix,turn", "--attack", "cnn", "--dry-run")

    assert code == 0
    assert out.count("to run") == 9 and "turn x cnn" in out  # none, mix, turn: a release, a training, an attack each
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


def test_what_is_skipped_or_inapplicable_is_no_failure(run):
    code, out, err = run(*("--defense", "mix", "--attack", "keyed,cnn", "--no-utility", "--public-share", 0, "--json"))

    assert code == 0
    assert [cell["status"] for cell in json.loads(out)["cells"]] == ["skipped", "inapplicable"]
    assert "set PLANTED_KEY" in err and "--public-share 0" in err


def test_what_several_defenses_share_is_said_on_one_line(run):
    code, _, err = run("--defense", "mix,none,turn", "--attack", "keyed,burst,cnn", "--no-utility", "--public-share", 0)

    said = [line for line in err.splitlines() if " x " in line]
    assert code == 1
    assert said == [
        "all 3 defenses x keyed: skipped: attack: no credentials; set PLANTED_KEY",
        "all 3 defenses x cnn: inapplicable: attack: the attack needs public images and there are none "
        "(--public-share 0)",
        "all 3 defenses x burst: failed: attack: RuntimeError: the attack burst",
    ]


def test_attacks_that_fall_with_one_reason_are_said_together(run, monkeypatch):
    def untrainable(*_):
        raise RuntimeError("no training today")

    monkeypatch.setattr(Learner, "epoch", untrainable)
    _, _, err = run("--defense", "mix", "--attack", "same,first", "--epochs", 1)

    (said,) = [line for line in err.splitlines() if "no training today" in line]
    assert said.startswith("mix x same, first: failed: utility: ")


def test_a_run_ends_with_the_verdict_on_each_defense_that_was_asked_for(run):
    code, out, _ = run("--defense", "mix,turn", "--attack", "same,keyed", "--no-utility")

    last = out[out.index("mix (weights=0.5,0.5), ") :]
    assert code == 0
    assert re.search(r"^mix \(weights=0\.5,0\.5\), \d+ originals, 1 seed$", last, re.MULTILINE)
    assert re.search(r"^turn, \d+ originals, 1 seed$", last, re.MULTILINE)
    assert not re.search(r"^none", last, re.MULTILINE)  # run only as the reference
    assert last.count("Not judged: lacks a learned attack") == 2
    assert last.count("Says nothing of keyed (skipped: no credentials; set PLANTED_KEY)") == 2


def test_verdicts_stand_beside_the_cells(run):
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
    """Little can be said of one image, and no figure of it is beyond chance; but nothing breaks."""
    code, out, err = run("--defense", "none", "--attack", "first", "--no-utility", "--targets", 1)

    assert code == 0, err
    assert "n=1" in out


# Bad input to a run

REFUSED = {
    "unknown defense": (("--defense", "shufle_mix"), ("no defense called 'shufle_mix'", "did you mean 'shuffle_mix'")),
    "unknown attack": (("--attack", "cn"), ("no attack called 'cn'", "did you mean 'cnn'")),
    "unknown knob": (("-D", "blok=4"), ("shuffle_mix", "'blok'", "did you mean 'block'")),
    "unknown attack knob": (("--attack", "cnn", "-A", "epochs=3"), ("cnn", "'epochs'", "train_epochs")),
    "knob without value": (("-D", "block"), ("'block'", "NAME=VALUE")),
    "knob of another kind": (("-D", "block=large"), ("block", "expected a number", "'large'")),
    "knob that is no whole number": (("-D", "block=4.5"), ("block", "4.5", "whole number")),
    "block that does not divide": (("-D", "block=7"), ("shuffle_mix", "block 7 does not divide 16x16", "use 2, 4, 8")),
    "block of nothing": (("-D", "block=0"), ("shuffle_mix", "block 0")),
    "weights that do not sum to 1": (("-D", "weights=0.5,0.4"), ("shuffle_mix", "sum to 0.9, not 1")),
    "negative weight": (("-D", "weights=1.5,-0.5"), ("shuffle_mix", "1.5,-0.5", "0 or more")),
    "more sources than images": (
        ("-D", "weights=" + ",".join(["0.01"] * 100)),
        ("shuffle_mix", "45 images", "fewer than the 100 sources"),
    ),
    "share above 1": (("--defense", "graft_mix", "-D", "p=1.5"), ("graft_mix", "p 1.5", "0 to 1")),
    "negative noise": (("--defense", "noise_mix", "-D", "sigma=-1"), ("noise_mix", "sigma -1")),
    "grid finer than the image": (("--defense", "pixelize_mix", "-D", "grid=17"), ("pixelize_mix", "grid 17", "16x16")),
    "even kernel": (("--defense", "blur_mix", "-D", "kernel=4"), ("blur_mix", "kernel 4", "odd")),
    "unknown data set": (("--dataset", "photo"), ("unknown data set 'photo'", "did you mean 'photos'")),
    "missing folder": (("--dataset", "./nowhere"), ("nowhere", "does not exist")),
    "no training": (("--epochs", "0"), ("epochs 0",)),
    "none among several": (("--epochs", "1,0,5"), ("--epochs", "epochs 0 is too few")),
    "fewer than none": (("--epochs=-3",), ("epochs -3 is too few",)),
    "the same epochs twice": (("--epochs", "1,5,5"), ("epochs 5 stands twice in '1,5,5'",)),
    "epochs and a hole": (("--epochs", "1,,5"), ("--epochs", "''", "as 1,2,5,10")),
    "half an epoch": (("--epochs", "1.5"), ("--epochs", "'1.5'", "whole number")),
    "figure of one point": (("--figure", "a.png"), ("figure a.png", "--epochs 1,2,5,10,20")),
    "figure of nothing": (("--epochs", "1,2", "--figure", "a.png"), ("figure a.png", "no curve", "multi_release")),
    "no seeds": (("--seeds", "0"), ("seeds 0",)),
    "no targets": (("--targets", "0"), ("targets 0",)),
    "no threads": (("--threads", "0"), ("threads 0",)),
    "epochs in words": (("--epochs", "ten"), ("--epochs", "'ten'")),
    "limit below the classes": (("--limit", "2"), ("limit 2", "3 classes", "use 3 or more")),
    "no images at all": (("--limit", "0"), ("limit 0",)),
    "tiny images": (("--size", "4"), ("size 4", "8 to 4096")),
    "public share of everything": (("--public-share", "1.5"), ("public share 1.5", "[0, 1)")),
    "unknown device": (("--device", "gpu"), ("device 'gpu'", "auto, cpu or cuda")),
    "unknown model": (("--model", "resnet81"), ("no network called 'resnet81'", "did you mean 'resnet18'")),
    "unknown recipe": (("--recipe", "papre"), ("no recipe called 'papre'", "default or paper")),
    "unknown network": (("--attack", "cnn", "-A", "arch=mcpherson_fase"), ("did you mean 'mcpherson_face'",)),
    "missing registry": (("--registry", "nowhere.yaml"), ("nowhere.yaml", "no such registry file")),
    "unknown option": (("--epoch5", "3"), ("--epoch5",)),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_one_clear_line_and_nothing_is_written(run, place, arguments, words):
    answer = run("--defense", "shuffle_mix", "--attack", "same", "--epochs", "1", *arguments)

    assert refused(answer, *words)
    assert list(place.iterdir()) == []


def test_cuda_is_refused_where_there_is_none(run, place, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    assert refused(run("--defense", "mix", "--attack", "same", "--device", "cuda"), "'cuda'", "use --device cpu")
    assert list(place.iterdir()) == []


def spoil(folder: Path, how: str) -> Path:
    """A copy of the stripes with something wrong."""
    root = picture_folder(folder / how.replace(" ", "_"), each=20)
    first = sorted((root / CLASSES[0]).iterdir())[0]
    if how == "empty class":
        (root / "empty").mkdir()
    elif how == "one class":
        for name in CLASSES[1:]:
            for file in (root / name).iterdir():
                file.unlink()
            (root / name).rmdir()
    elif how == "truncated file":
        first.write_bytes(first.read_bytes()[:80])
    elif how == "no image":
        first.write_text("this is no image")
    elif how == "mixed sizes":
        Image.open(first).resize((24, 20)).save(first)
    elif how == "one image a class":
        for name in CLASSES:
            for file in sorted((root / name).iterdir())[1:]:
                file.unlink()
    return root


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("empty class", ("class 'empty'", "no images")),
        ("one class", ("1 class", "two or more")),
        ("truncated file", (CLASSES[0], "1 of 60 images cannot be read")),
        ("no image", (CLASSES[0], "1 of 60 images cannot be read")),
        ("mixed sizes", ("24x20", "16x16", "--size")),
        ("one image a class", ("class 'across' has no image left",)),
    ],
)
def test_a_bad_folder_is_one_clear_line_and_nothing_is_written(run, place, tmp_path, how, words, caplog):
    """What is left out is warned of as well; that goes through the log, which pytest holds back here."""
    answer = run("--defense", "mix", "--attack", "same", data=spoil(tmp_path, how))

    assert refused(answer, *words)
    assert list(place.iterdir()) == []


def test_a_full_disk_is_one_line(run, place):
    """As is a records folder that cannot be made. Progress has been told by then; the last line says what is wrong."""
    (place / "taken").write_text("")

    code, out, err = run("--defense", "mix", "--attack", "same", "--no-utility", "--records", "taken")

    assert (code, out) == (2, "")
    assert "records folder taken" in err.splitlines()[-1] and "--records" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_knob_that_only_some_defenses_have_goes_to_those(run):
    code, out, _ = run("--defense", "mix,shuffle_mix", "--attack", "same", "--no-utility", "-D", "block=4", "--json")

    assert code == 0
    assert [cell["params"].get("block") for cell in json.loads(out)["cells"]] == [None, 4]


def test_a_knob_that_none_of_several_defenses_has_is_refused(run):
    answer = run("--defense", "mix,shuffle_mix", "--attack", "same", "-D", "blok=4")

    assert refused(answer, "'blok'", "did you mean 'block'")


# Looking around


@pytest.mark.parametrize("words", [(), ("fly",), ("list", "defences"), ("show",), ("new", "dataset", "x"), ("run",)])
def test_wrong_usage_is_one_line(harness, words):
    assert refused(harness(*words), "--help")


def test_list_names_every_entry(harness):
    code, out, _ = harness("list")

    assert code == 0
    for word in ("defenses", "shuffle_mix", "attacks", "cnn", "metrics", "dssim", "datasets", "photos", "Raynal"):
        assert word in out


def test_a_section_is_listed_alone_and_parses(harness):
    code, out, _ = harness("list", "metrics", "--json")

    (listed,) = json.loads(out).values()
    assert code == 0
    assert [entry["name"] for entry in listed] == ["dssim", "dhaar", "mse", "phash", "fid"]
    assert all(entry["unavailable"] is None for entry in listed)


def test_a_plugin_that_cannot_be_imported_is_listed_with_the_reason_and_breaks_nothing_else(harness, tmp_path, run):
    file = tmp_path / "broken.yaml"
    file.write_text("attacks: {broken: {use: 'no_such_module_at_all:fn', version: 1, kind: recognition, cite: nobody}}")

    code, out, _ = harness("list", "attacks", "--registry", file)

    assert code == 0
    assert "No module named 'no_such_module_at_all'" in out and "cnn" in out
    assert refused(run("--registry", file, "--defense", "mix", "--attack", "broken"), "no_such_module_at_all")
    assert run("--registry", file, "--defense", "mix", "--attack", "same", "--no-utility")[0] == 0


def test_list_answers_at_once_and_without_torch():
    """Half a second of processor time, once its bytecode is written; torch alone takes two."""
    code = (
        "import resource, sys; from harness.cli import main; main(['list', '--json']);"
        "used = resource.getrusage(resource.RUSAGE_SELF);"
        "print(used.ru_utime + used.ru_stime, [m for m in ('torch', 'numpy') if m in sys.modules], file=sys.stderr)"
    )

    written = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=written)
        seconds, modules = done.stderr.split(maxsplit=1)
        if float(seconds) < 0.5:
            break

    assert modules.strip() == "[]"
    assert float(seconds) < 0.5
    assert set(json.loads(done.stdout)) >= {"defenses", "attacks", "metrics", "datasets"}


def test_show_tells_an_entry_whole(harness):
    code, out, _ = harness("show", "shuffle_mix", "--json")

    shown = json.loads(out)
    assert code == 0
    assert shown["params"] == {"block": 8} and shown["mixing"]["weights"] == [0.75, 0.25]
    assert "section 3.3" in shown["cite"] and shown["version"] == 2


def test_show_of_an_unknown_name_is_refused(harness):
    assert refused(harness("show", "dsim"), "'dsim'", "did you mean 'dssim'")


# Plugins


@pytest.mark.parametrize("name", ["noise_mix", "none", "dhaar"])
def test_validate_passes_what_is_shipped(harness, name):
    code, out, _ = harness("validate", name)

    assert code == 0
    assert "FAILED" not in out and out.count("ok ") >= 5


@pytest.mark.parametrize(
    ("body", "broken"),
    [
        ("return sources[:, 0] * 255", "stays in the range"),
        ("return sources[:, 0, 0]", "one per mixture"),
        ("return sources[:, 0] + torch.rand(()) / 9", "global generator"),
        ("sources.mul_(0.5); return sources[:, 0].clone()", "writes into nothing"),
        ("return sources[:, 0] / 0", "NaN or infinity"),
        ("raise ValueError('no')", "ValueError: no"),
    ],
)
def test_validate_names_what_a_defense_does_wrong(harness, tmp_path, body, broken):
    name = f"wrong_{abs(hash(body)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(f"import torch\n\ndef {name}(sources, weights, rng):\n    {body}\n")
    mixing = "{weights: [0.5, 0.5], pairing: permutation, intra_class: false, label: dominant}"
    file = tmp_path / f"{name}.yaml"
    file.write_text(f"defenses: {{{name}: {{use: '{name}:{name}', version: 1, mixing: {mixing}, cite: nobody}}}}")

    code, out, _ = harness("validate", name, "--registry", file)

    assert code == 1
    assert any("FAILED" in line and broken in line for line in out.splitlines()), out


def test_validate_speaks_json(harness, registry):
    code, out, _ = harness("validate", "burst", "--registry", registry, "--json")

    checks = json.loads(out)["checks"]
    assert code == 1
    assert any(not check["ok"] and "the attack burst" in check["why"] for check in checks)


def test_validate_of_an_unknown_name_is_refused(harness):
    assert refused(harness("validate", "mixx"), "'mixx'", "did you mean 'mix")


def test_from_new_to_a_run_in_two_steps(harness, run, place):
    """The generated defense is sound as it stands and runs."""
    code, out, _ = harness("new", "defense", "veil")
    assert code == 0 and sorted(path.name for path in place.iterdir()) == ["veil.py", "veil.yaml"]
    assert "harness validate veil --registry veil.yaml" in out

    assert harness("validate", "veil", "--registry", "veil.yaml")[0] == 0
    code, out, err = run(
        *("--registry", "veil.yaml", "--defense", "veil", "--attack", "same", "--no-utility", "--json"),
        *("-D", "strength=0.5"),
    )

    (cell,) = json.loads(out)["cells"]
    assert (code, cell["status"], cell["params"]["strength"]) == (0, "ok", 0.5), err
    assert cell["scores"]["dssim"]["mean"] > 0.1


@pytest.mark.parametrize("kind", ["attack", "metric"])
def test_every_generated_plugin_is_sound_as_it_stands(harness, kind):
    name = f"fresh_{kind}"
    assert harness("new", kind, name)[0] == 0

    code, out, _ = harness("validate", name, "--registry", f"{name}.yaml")

    assert code == 0, out


def test_new_overwrites_nothing(harness, place):
    harness("new", "defense", "gauze")
    (place / "gauze.py").write_text("mine")

    assert refused(harness("new", "defense", "gauze"), "gauze")
    assert (place / "gauze.py").read_text() == "mine"


@pytest.mark.parametrize(("name", "folder"), [("shuffle_mix", "."), ("two words", "."), ("fine", "missing")])
def test_new_refuses_names_that_are_taken_and_folders_that_are_not_there(harness, place, name, folder):
    assert refused(harness("new", "defense", name, "--folder", folder), name if folder == "." else folder)
    assert list(place.iterdir()) == []


def test_new_on_a_full_disk_is_one_line(harness, place, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", refuse)

    assert refused(harness("new", "defense", "fine"), "No space left on device")
    assert list(place.iterdir()) == []


# Measure


def save(path: Path, pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def test_measure_of_two_files(harness, tmp_path):
    """Flat grey 100 against flat grey 110: a mean squared error of 100."""
    a, b = (save(tmp_path / f"{level}.png", np.full((32, 32, 3), level, np.uint8)) for level in (100, 110))

    code, out, _ = harness("measure", a, b, "--json", "--metric", "mse", "--metric", "dssim")

    scores = json.loads(out)["scores"]
    assert code == 0 and set(scores) == {"mse", "dssim"}
    assert all(set(score) >= SCORE for score in scores.values())
    assert scores["mse"]["mean"] == pytest.approx(100, rel=1e-3) and scores["mse"]["n"] == 1


def test_measure_of_two_folders(harness, tmp_path):
    images, _ = stripes(6, size=32)
    for row, image in enumerate(images.transpose(0, 2, 3, 1)):
        save(tmp_path / "a" / f"{row}.png", image)
        save(tmp_path / "b" / f"{row}.png", image if row else 255 - image)

    code, out, _ = harness("measure", tmp_path / "a", tmp_path / "b", "--json", "--metric", "dssim")

    score = json.loads(out)["scores"]["dssim"]
    assert code == 0
    assert score["n"] == 6 and score["min"] == pytest.approx(0, abs=1e-5)
    assert score["mean"] > 1 / 6  # the inverted one is more than unlike
    assert score["low"] <= score["mean"] <= score["high"]


def test_measure_in_words(harness, tmp_path):
    images, _ = stripes(2, size=32)
    a, b = (save(tmp_path / f"{row}.png", image.transpose(1, 2, 0)) for row, image in enumerate(images))

    code, out, _ = harness("measure", a, b)

    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["dssim", "dhaar", "mse", "phash", "fid"]


def test_measure_refuses_what_cannot_be_compared(harness, tmp_path):
    small, large = (save(tmp_path / f"{side}.png", np.zeros((side, side, 3), np.uint8)) for side in (16, 32))
    (tmp_path / "text.png").write_text("no image")

    assert refused(harness("measure", small, large), "16x16", "32x32")
    assert refused(harness("measure", small, tmp_path / "none.png"), "none.png", "does not exist")
    assert refused(harness("measure", small, tmp_path / "text.png"), "text.png", "cannot be read")
    assert refused(harness("measure", small, small, "--metric", "ssim"), "'ssim'", "did you mean 'dssim'")


# Rank


def test_rank_writes_a_page_and_a_table(run, harness, place):
    run("--defense", "none,mix", "--attack", "same", "--no-utility")

    code, out, err = harness("rank")

    assert code == 0
    assert "mix" in out and "wrote" in err
    read = list(csv.DictReader((place / "leaderboards" / "stripes.csv").read_text().splitlines()))
    assert [line["defense"] for line in read] == ["none", "mix"]
    assert float(read[0]["dssim_mean"]) == pytest.approx(0, abs=1e-6) and float(read[1]["dssim_mean"]) > 0.1
    assert (place / "leaderboards" / "stripes.md").read_text().startswith("# stripes")


def test_rank_prints_one_document(run, harness, place):
    run("--defense", "mix", "--attack", "same", "--no-utility")

    code, out, _ = harness("rank", "--json", "--out", "boards")

    (board,) = json.loads(out)["boards"]
    assert code == 0 and {line["defense"] for line in board["rows"]} == {"none", "mix"}
    assert sorted(path.name for path in (place / "boards").iterdir()) == ["stripes.csv", "stripes.json", "stripes.md"]


def test_rank_without_records_is_refused(harness, place):
    assert refused(harness("rank"), "no records in results", "harness run")
    assert list(place.iterdir()) == []


def test_rank_into_a_folder_that_cannot_be_made_is_refused(run, harness, place):
    run("--defense", "none", "--attack", "same", "--no-utility")
    (place / "taken").write_text("")

    assert refused(harness("rank", "--out", "taken"), "taken", "--out")


# As a program


def test_the_program_exits_with_the_code_and_without_a_traceback(tmp_path):
    program = Path(sys.executable).parent / "harness"

    done = subprocess.run(
        [program, "run", "--defense", "shufle_mix", "--attack", "cnn"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "did you mean 'shuffle_mix'" in done.stderr
    assert list(tmp_path.glob("results*")) == []
