"""`harness cache` lists what is kept, and removes it but for what a running process uses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.data import cache as data_cache
from harness.data.cache_entries import clear, entries
from harness.data.load import load
from tests.helpers.folders import tree


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Path:
    """A cache with decoded pictures, a download, a paid answer, and what a killed run left."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home/obfuscation-harness"
    load(tree(tmp_path / "pets", {"cat": 6, "dog": 6}))
    for name in ("downloads/cifar10/cifar.tar.gz", "vision/labels/00/0.json", "roles/x.tmp/private.bin"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(bytes(1000))
    for path in list(data_cache._held):
        data_cache.release(Path(path))
    return folder


def listed(capsys, *more: str) -> dict:
    assert main(["cache", "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


def test_it_says_what_is_kept_of_which_folder_how_large_and_how_old(kept, tmp_path, capsys):
    (entry,) = [each for each in kept.joinpath("roles").iterdir() if each.suffix != ".tmp"]
    os.utime(entry / "index", (0, 0))
    os.utime(entry, (0, 0))

    found = {each["what"]: each for each in listed(capsys)["entries"]}

    images = found["images of pets"]
    assert images["kind"] == "images" and images["source"] == str(tmp_path / "pets") and not images["in_use"]
    assert images["bytes"] > 12 * 3 * 16 * 16 and images["age"] > 10**9
    assert found["download cifar10"]["bytes"] == 1000 and found["paid answers of labels"]["kind"] == "answers"
    assert "unfinished images" in found

    assert main(["cache"]) == 0
    text = capsys.readouterr().out
    assert f"images of pets, of {tmp_path / 'pets'}, 0.0 MB, used" in text and "days ago" in text
    assert "harness cache --clear" in text


def test_clear_empties_it(kept, capsys):
    assert len(listed(capsys, "--clear")["removed"]) == 5

    assert listed(capsys)["entries"] == []
    assert not [path for path in kept.rglob("*") if path.is_file()]
    assert main(["cache"]) == 0
    assert "nothing is kept" in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "left"), [("images", 2), ("downloads", 4), ("answers", 4)])
def test_clear_removes_one_kind(kept, capsys, kind, left):
    removed = listed(capsys, "--clear", kind)["removed"]

    assert {each["kind"] for each in removed} == {kind}
    assert len(listed(capsys)["entries"]) == left


def test_an_unknown_kind_is_one_line(kept, capsys):
    assert main(["cache", "--clear", "pictures"]) == 2
    assert "pictures" in capsys.readouterr().err and len(listed(capsys)["entries"]) == 5


def test_a_folder_that_is_not_there_holds_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))

    assert listed(capsys)["entries"] == listed(capsys, "--clear")["removed"] == []
    assert not (tmp_path / "none").exists()


HOLDER = """
import sys
from harness.data.cache_entries import clear, entries
from harness.data.load import load
splits = load(sys.argv[1])
print("loaded", flush=True)
sys.stdin.readline()
print(int(splits.private.images.sum()), flush=True)
load(sys.argv[1])
"""


@pytest.mark.skipif(data_cache.fcntl is None, reason="on Windows open files cannot be removed")
def test_what_another_run_uses_stays_and_goes_when_it_has_ended(kept, tmp_path, capsys):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "pets")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "loaded\n"
        found = listed(capsys, "--clear")
        assert [each["what"] for each in found["in_use"]] == ["images of pets"] and len(found["removed"]) == 4
        assert [each["in_use"] for each in listed(capsys)["entries"]] == [True]
        other.communicate("go on\n", timeout=60)
        assert other.returncode == 0
    finally:
        other.kill()
        other.communicate()

    assert len(listed(capsys, "--clear")["removed"]) == 2, "the images, and the place that was noted once more"


def test_a_link_in_the_cache_is_removed_and_not_followed(kept, tmp_path, capsys):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_bytes(b"1")
    (kept / "downloads/link").symlink_to(outside)
    (kept / "elsewhere").symlink_to(outside)

    listed(capsys, "--clear")

    assert (outside / "mine").exists() and listed(capsys)["entries"] == []


def test_names_of_other_people_do_not_reach_the_terminal(kept, tmp_path, capsys):
    load(tree(tmp_path / "a\x1b[31m\nb", {"cat": 6, "dog": 6}), name="odd")

    assert main(["cache"]) == 0

    text = capsys.readouterr().out
    assert "\x1b" not in text and "a\\x1b[31m\\nb" in text


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_listing_takes_away_what_others_may_do(kept, capsys):
    for path in (kept, *kept.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)

    listed(capsys)

    assert not [path for path in (kept, *kept.rglob("*")) if path.stat().st_mode & 0o077]


def test_a_file_in_its_place_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "obfuscation-harness").write_text("mine")

    assert main(["cache", "--clear"]) == 0
    assert (tmp_path / "obfuscation-harness").read_text() == "mine"
    command = ["preview", "--defense", "mix", "--dataset", str(tree(tmp_path / "pets", {"cat": 6, "dog": 6}))]
    assert main([*command, "--out", str(tmp_path / "sheet.png")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


LOADER = """
import sys, time
from pathlib import Path
from harness.data import cache
from harness.data.cache_entries import clear, entries
from harness.data.load import load
found, end = set(), time.monotonic() + 4
while time.monotonic() < end:
    splits = load(sys.argv[1])
    found.add((splits.fingerprint, int(splits.private.images.sum())))
    for place in list(cache._held):
        cache.release(Path(place))
print(len(found))
"""


@pytest.mark.skipif(data_cache.fcntl is None, reason="on Windows open files cannot be removed")
def test_runs_that_begin_while_the_cache_is_cleared_get_their_images(kept, tmp_path):
    command = [sys.executable, "-c", LOADER, str(tmp_path / "pets")]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    while any(run.poll() is None for run in runs):
        clear(entries(kept))

    assert [run.communicate() for run in runs] == [("1\n", "")] * 2
