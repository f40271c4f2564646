"""Classes may have any name that a folder can have: one of a picture, or one that a spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.publish.submission import read_scores
from harness.system.text import csv_text
from tests.helpers.planted import picture_folder

NAMES = ["'=1+1", "=1+1", '=HYPERLINK("x")', "@SUM(1)", "cat.png"]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = [*picture_folder(tmp_path / "one", each=6).iterdir(), *picture_folder(tmp_path / "two", 6, seed=9).iterdir()]
    for name, label in zip(NAMES, made, strict=False):
        shutil.copytree(label, tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def obfuscated(pictures: Path, place: Path, *options: str) -> Path:
    words = ["--defense", "mix", "--dataset", str(pictures), "--out", str(place / "out"), *options]
    assert main(["obfuscate", *words, "--secret", str(place / "s.npz")]) == 0
    return place / "out"


def table(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def test_a_release_with_a_class_called_as_a_picture_is_hashed_and_scored(pictures, tmp_path, capsys):
    out = obfuscated(pictures, tmp_path)
    (tmp_path / "guesses").mkdir()
    for file in np.load(tmp_path / "s.npz")["file"]:
        shutil.copy(out / str(file), tmp_path / "guesses")

    capsys.readouterr()
    assert main(["external", "hash", str(out)]) == 0 and len(capsys.readouterr().out.strip()) == 32
    words = ["--release", str(out), "--secret", str(tmp_path / "s.npz"), "--dataset", str(pictures)]
    words += ["--reconstructions", str(tmp_path / "guesses"), "--name", "Doe", "--records", str(tmp_path / "records")]
    assert main(["external", "score", *words]) == 0, capsys.readouterr().err


def test_a_folder_of_a_release_that_cannot_be_listed_is_named(pictures, tmp_path, monkeypatch, capsys):
    out, listed = obfuscated(pictures, tmp_path), os.scandir

    def refusing(path):
        if str(path).endswith("cat.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refusing)
    capsys.readouterr()

    assert main(["external", "hash", str(out)]) == 2
    assert "cat.png: Permission denied; name the folder of a release" in capsys.readouterr().err


def test_tables_of_labels_hold_no_formula_and_say_every_class(pictures, tmp_path):
    head, *_ = table(obfuscated(pictures, tmp_path, "-D", "label=soft") / "labels.csv")
    words = ["--defense", "mix", "--dataset", str(pictures), "--epochs", "1", "--out", str(tmp_path / "challenge")]
    assert main(["external", "release", *words]) == 0
    rows = table(tmp_path / "challenge/labels_000.csv")[1:]

    written = [*head[1:], *(label for _, label in rows)]
    assert not [cell for cell in written if cell[0] in "=+-@"]
    assert [csv_text(cell) for cell in head[1:]] == NAMES
    assert {csv_text(label) for _, label in rows} <= set(NAMES) and len({label for _, label in rows}) > 1


@pytest.mark.parametrize("is_written", [True, False], ids=["as in the table", "as the folders"])
def test_scores_are_read_with_the_classes_as_either_names_them(pictures, tmp_path, is_written):
    head, first, *_ = table(obfuscated(pictures, tmp_path, "-D", "label=soft") / "labels.csv")
    with (tmp_path / "scores.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", *(head[1:] if is_written else NAMES)], [first[0], *range(len(NAMES))]])

    read = read_scores(tmp_path / "scores.csv", [first[0]], NAMES)

    assert read.scores.tolist() == [list(range(len(NAMES)))]
