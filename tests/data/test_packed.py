"""Without its library, or the hub, a data set is refused in one sentence; names that show nothing are refused."""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys

import pytest

from harness.cli import parser
from harness.data.cache_entries import entries, note_place, place_of
from harness.data.load import load
from tests.helpers.folders import refusal, tree
from tests.helpers.paths import ROOT


def test_without_pyarrow_the_extra_is_named(tmp_path, cache, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert "obfuscation-harness[hf]" in refusal(tmp_path / "a.parquet", cache=cache)


def test_without_datasets_the_extra_is_named(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)

    assert refusal("hf:mnist", cache=cache).startswith("hf:mnist: it needs datasets")


@pytest.mark.parametrize("name", ["hf:", "hf:../x", "hf:a/b/c", "hf:a@", "hf:a\u200b"])
def test_what_is_no_name_of_the_hub_is_refused(cache, name):
    assert "is no name of the hub" in refusal(name, cache=cache)


def test_a_missing_file_and_two_kinds_are_refused(tmp_path, cache):
    assert "does not exist" in refusal(tmp_path / "a-{0..1}.tar", cache=cache)
    for name in ("a.tar", "a.parquet"):
        (tmp_path / name).touch()
    assert "both Parquet files and tar shards" in refusal(tmp_path, cache=cache)


@pytest.mark.parametrize("letter", ["\u200b", "\u200d", "\ufeff", "\u00ad", "\u202e", "\x07", "\u3164"])
def test_a_name_with_an_invisible_letter_is_refused_at_every_door(tmp_path, flat, cache, letter):
    assert "invisible" in refusal(flat, cache=cache, name=f"pets{letter}")
    assert "invisible" in refusal(tree(tmp_path / f"x{letter}y", {"cat": 5, "dog": 5}), cache=cache)
    assert "is no text" in refusal(tree(tmp_path / f"class{ord(letter)}", {f"c{letter}": 5, "dog": 5}), cache=cache)


def test_a_place_is_kept_for_the_user_alone_and_found_by_content(flat, cache):
    splits = load(flat, cache=cache)

    assert place_of(cache, splits.fingerprint) == os.path.realpath(flat)
    (file,) = (cache / "places").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [entry.what for entry in entries(cache) if entry.place.name == "places"] == [
        "places of data sets, for harness rerun"
    ]
    moved = flat.rename(flat.with_name("moved"))
    assert load(moved, cache=cache).fingerprint == splits.fingerprint
    assert place_of(cache, splits.fingerprint) == os.path.realpath(moved)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"dataset": 3}', b'{"dataset": " "}'])
def test_a_damaged_place_is_none(cache, content):
    note_place(cache, "0a", "/somewhere")
    (file,) = (cache / "places").iterdir()
    assert json.loads(file.read_text()) == {"dataset": "/somewhere"}
    file.write_bytes(content)

    assert place_of(cache, "0a") is None


def test_nothing_is_kept_without_a_cache(flat, cache, monkeypatch):
    monkeypatch.setenv("HARNESS_NO_CACHE", "1")
    fingerprint = load(flat, cache=cache).fingerprint
    monkeypatch.delenv("HARNESS_NO_CACHE")

    assert place_of(cache, fingerprint) is None and not (cache / "places").exists()


def test_the_commands_of_the_page_are_understood():
    """The block of docs/usage.md on these sources."""
    page = (ROOT / "docs/usage.md").read_text(encoding="utf-8")
    block = page.split("### Parquet files, tar shards")[1].split("### ")[0]
    lines = [shlex.split(line, comments=True) for line in block.splitlines() if line.startswith("    harness ")]

    given = [parser().parse_args(words[1:]) for words in lines]

    assert [each.dataset for each in given] == ["train.parquet", "shards-{000..003}.tar", "hf:ylecun/mnist@train"]
    assert [each.name for each in given] == [None, "pets", None]
