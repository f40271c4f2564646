"""Every option that takes a path refuses an empty one, which Python takes for the current folder."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

import harness
from harness.cli import main, parser
from harness.commands.common import dataset_type, path_type
from harness.data.load import load
from harness.errors import HarnessError
from tests.helpers.folders import tree
from tests.helpers.planted import picture_folder

PLACES = {"FILE", "DIR", "FOLDER", "PATH", "BASELINE", "RECORD"}


def options_of(command: argparse.ArgumentParser, words=()):
    """(words of the command, option) of it and of all commands below it."""
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from options_of(below, (*words, name))
        else:
            yield words, action


PATHS = [each for each in options_of(parser()) if each[1].type in (path_type, dataset_type)]
NAMES = [
    " ".join((*words, action.option_strings[-1] if action.option_strings else action.dest)) for words, action in PATHS
]


def test_every_place_is_read_as_a_path():
    assert len(PATHS) > 40
    for words, action in options_of(parser()):
        assert action.type is not Path, (words, action.dest)
        if action.metavar in PLACES or action.dest in ("dataset", "registry", "records", "folder"):
            assert action.type in (path_type, dataset_type), (words, action.dest)


@pytest.mark.parametrize("empty", ["", " ", "\n"])
@pytest.mark.parametrize(("words", "action"), PATHS, ids=NAMES)
def test_an_empty_path_is_refused(words, action, empty, capsys):
    before = [*words, action.option_strings[0]] if action.option_strings else list(words)

    assert main([*before, empty]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the path is empty" in line


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda place: (place / "loop").symlink_to("loop") or "loop", "symbolic links"),
        (lambda place: "x" * 300, "too long"),
        (lambda place: "/".join(["x" * 200] * 30), "too long"),
        (lambda place: "a\0b", "zero byte"),
    ],
    ids=["loop", "long name", "long path", "zero"],
)
@pytest.mark.parametrize(
    "command",
    [
        ["obfuscate", "--defense", "mix", "--out", "o", "--secret", "s.npz", "--dataset"],
        ["obfuscate", "--defense", "mix", "--dataset", ".", "--secret", "s.npz", "--out"],
        ["obfuscate", "--defense", "mix", "--dataset", ".", "--out", "o", "--secret"],
        ["run", "--defense", "mix", "--attack", "smooth", "--dataset"],
        ["rank", "--records"],
        ["external", "hash"],
    ],
    ids=lambda words: "".join(words[-1:]),
)
def test_a_path_that_no_system_opens_is_one_line(command, make, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert main([*command, make(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_the_current_folder_is_meant_by_its_name(tmp_path, monkeypatch, cache):
    tree(tmp_path / "pets", {"cat": 8, "dog": 8})
    monkeypatch.chdir(tmp_path / "pets")

    assert len(load(".", cache=cache).private)
    with pytest.raises(HarnessError, match="empty"):
        load("", cache=cache)


def test_an_empty_data_set_is_refused_in_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(HarnessError, match="empty"):
        harness.evaluate(defense="mix", attack="smooth", dataset="", records=tmp_path / "r")


def test_a_folder_called_as_a_registered_data_set_is_the_folder_in_python(tmp_path, monkeypatch):
    """`./photos` is a folder, `photos` a name."""
    monkeypatch.chdir(tmp_path)
    picture_folder(tmp_path / "photos", each=12)

    result = harness.evaluate("none", "mean_image", "./photos", utility=False, epochs=1, records=tmp_path / "r")

    assert result["cells"][0]["scores"]["attacked_dssim"]["n"] < 36  # of 36 pictures, and not of scikit-image's 353
