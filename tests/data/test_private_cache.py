"""Decoded pictures in the user's cache: once, for the user alone to read, and not at all where that is asked."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.data.load import load
from harness.system import private
from harness.system.private import keep_nothing, private_folder
from tests.helpers.folders import parts, sizes

OTHERS = stat.S_IRWXG | stat.S_IRWXO
pytestmark = pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")


def readable_by_others(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.rglob("*")) if path.lstat().st_mode & OTHERS and not path.is_symlink()]


@pytest.fixture(params=[0o022, 0o000, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_folders_and_files_are_the_users_alone_whatever_the_umask(flat, cache, umask):
    load(flat, cache=cache)

    assert not readable_by_others(cache)
    assert {path.stat().st_mode & 0o777 for path in cache.rglob("*") if path.is_file()} == {0o600}


def test_what_is_missing_above_the_cache_folder_is_made_private_too(flat, tmp_path, umask):
    load(flat, cache=tmp_path / "home/.cache/harness")

    assert not readable_by_others(tmp_path / "home")


def test_a_cache_of_an_older_version_is_tightened_with_all_that_is_in_it(flat, cache, tmp_path):
    load(flat, cache=cache)
    old = cache / "decoded/old/images.bin"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"pixels")
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    (cache / "link").symlink_to(outside)
    for path in (cache, *cache.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o666)
    outside.chmod(0o644)

    load(flat, cache=cache)

    assert not readable_by_others(cache)
    assert outside.stat().st_mode & 0o777 == 0o644


def test_an_entry_that_was_opened_to_others_is_closed_when_it_is_used(flat, cache):
    load(flat, cache=cache)
    (entry,) = (cache / "roles").iterdir()
    entry.chmod(0o755)
    for file in entry.iterdir():
        file.chmod(0o644)

    load(flat, cache=cache)

    assert not readable_by_others(cache)


def test_another_users_folder_that_others_can_read_is_refused(tmp_path, monkeypatch):
    (tmp_path / "shared").mkdir(mode=0o755)
    monkeypatch.setattr(private.os, "geteuid", lambda: 54321)

    with pytest.raises(private.HarnessError, match="another user's and others can read it; set XDG_CACHE_HOME"):
        private_folder(tmp_path / "shared")


def test_a_file_system_without_permissions_is_said_once(tmp_path, monkeypatch, caplog):
    (tmp_path / "stick").mkdir(mode=0o755)
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    monkeypatch.setattr(private, "_said", set())

    for _ in range(2):
        private_folder(tmp_path / "stick")

    assert caplog.text.count("others can read") == 1 and "--no-cache" in caplog.text


def test_every_picture_stands_in_the_cache_once(flat, cache):
    splits = load(flat, cache=cache)

    kept = b"".join(path.read_bytes() for path in cache.rglob("*") if path.is_file())
    for part in parts(splits):
        for image in np.array(part.images):
            assert kept.count(image.tobytes()) == 1


# Nothing kept


def test_with_no_cache_nothing_is_written_and_the_images_are_the_same(flat, cache, tmp_path, monkeypatch):
    expected = load(flat, cache=cache)
    nowhere = tmp_path / "nowhere"

    with keep_nothing(True):
        found = load(flat, cache=nowhere)

    assert not nowhere.exists() and sizes(found) == sizes(expected)
    assert found.fingerprint == expected.fingerprint and found.notes == expected.notes
    for one, other in zip(parts(found), parts(expected), strict=True):
        assert np.array_equal(one.images, other.images) and one.names == other.names
        assert isinstance(one.images, np.memmap) and one.images.filename is None


def test_no_cache_reads_nothing_that_is_kept_either(flat, cache):
    load(flat, cache=cache)
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}

    with keep_nothing(True):
        load(flat, cache=cache)

    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


def test_the_wish_ends_with_the_block_and_reaches_processes(monkeypatch):
    monkeypatch.delenv("HARNESS_NO_CACHE", raising=False)

    with keep_nothing(True):
        assert private.keeps_nothing() and os.environ["HARNESS_NO_CACHE"] == "1"
    assert not private.keeps_nothing() and "HARNESS_NO_CACHE" not in os.environ
    for word, wanted in (("0", False), ("no", False), ("", False), ("1", True), ("yes", True)):
        monkeypatch.setenv("HARNESS_NO_CACHE", word)
        assert private.keeps_nothing() == wanted


def test_a_command_with_no_cache_leaves_no_file(flat, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = ["preview", "--defense", "mix", "--dataset", str(flat), "--out", str(tmp_path / "sheet.png")]

    assert main([*command, "--no-cache"]) == 0
    assert not (tmp_path / "home").exists()
    assert main(command) == 0
    assert (tmp_path / "home").exists()


@pytest.mark.parametrize("command", ["run", "sweep", "tune", "preview", "rerun", "check", "external"])
def test_every_command_that_loads_a_data_set_has_the_option(command, capsys):
    words = [command, "score", "--help"] if command == "external" else [command, "--help"]
    with pytest.raises(SystemExit):
        main(words)

    assert "--no-cache" in capsys.readouterr().out
