"""Bad input to `harness run` is exit code 2 and one clear line, and nothing is half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.answers import refused
from tests.helpers.planted import CLASSES, picture_folder

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
    "figure of one point": (("--figure", "a.png"), ("figure a.png", "--epochs 10 --releases 1,2,5,10")),
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
    "unknown model that nothing trains": (("--no-utility", "--model", "resnet81"), ("no network called 'resnet81'",)),
    "unknown recipe that nothing trains": (("--no-utility", "--recipe", "papre"), ("no recipe called 'papre'",)),
    "unknown network": (("--attack", "cnn", "-A", "arch=mcpherson_fase"), ("did you mean 'mcpherson_face'",)),
    "missing registry": (("--registry", "nowhere.yaml"), ("nowhere.yaml", "no such registry file")),
    "seeds in the millions": (("--seeds", "100000000"), ("seeds 100000000 is too many; use 1,000 or fewer",)),
    "seeds beyond any integer": (("--seeds", "9" * 4000), ("--seeds", "is no count")),
    "threads in the millions": (("--threads", "999999999"), ("threads 999999999 is too many; use 1,024",)),
    "workers in the billions": (("--workers", "9999999999"), ("workers 9999999999 is too many; use 1,024",)),
    "targets in the billions": (("--targets", "9999999999"), ("targets 9999999999 is too many; use 1,000,000",)),
    "epochs in the billions": (("--epochs", "9999999999"), ("epochs 9999999999 is too many; use 100,000",)),
    "releases in the billions": (("--releases", "1,9999999999"), ("releases 9999999999 is too many; use 10,000",)),
    "limit beyond any folder": (("--limit", "99999999999"), ("limit 99999999999 is too large; use 100,000,000",)),
    "size of a wall": (("--size", "1000000"), ("size 1000000 is too large; use 4,096 or less",)),
    "seeds with an underscore": (("--seeds", "1_0"), ("--seeds", "'1_0' is no count")),
    "pieces in the millions": (("--seeds", "1000", "--defense", "all", "--attack", "all"), ("at most are planned",)),
    "knob beyond a float": (("--defense", "noise_mix", "-D", "sigma=1e308"), ("sigma: 1e+308 is too large",)),
    "knob in base 8": (("--defense", "noise_mix", "-D", "sigma=010"), ("010 is in base 8", "write 10")),
    "knob in base 60": (("--defense", "blur_mix", "-D", "kernel=1:30"), ("1:30 is in base 60",)),
    "weights in base 8": (("--defense", "mix", "-D", "weights=01,0"), ("weights '01',0",)),
    "count of a knob in the billions": (("--attack", "cnn", "-A", "train_epochs=9999999999"), ("is too large",)),
    "a table that explodes": (("-D", "block=" + "[" * 5000), ("block=[[[", "not YAML: ")),
    "public share that is no number": (("--public-share", "nan"), ("'nan' is no number",)),
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
def test_a_bad_folder_is_one_clear_line_and_nothing_is_written(run, place, tmp_path, how, words):
    """Before it, warnings name the images that are left out."""
    code, out, err = run("--defense", "mix", "--attack", "same", data=spoil(tmp_path, how))

    *warnings, refusal = err.splitlines(keepends=True)
    assert refused((code, out, refusal), *words)
    assert all(" is left out: " in line for line in warnings)
    assert list(place.iterdir()) == []


def test_a_full_disk_is_one_line(run, place):
    """As is a records folder that cannot be made. Progress has been printed by then; the last line names the error."""
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


def test_the_program_exits_with_the_code_and_without_a_traceback(tmp_path):
    program = Path(sys.executable).parent / "harness"

    done = subprocess.run(
        [program, "run", "--defense", "shufle_mix", "--attack", "cnn"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "did you mean 'shuffle_mix'" in done.stderr
    assert list(tmp_path.glob("results*")) == []
