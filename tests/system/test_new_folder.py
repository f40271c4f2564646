"""Folders appear whole or not at all, of two runs one writes, and what is another program's stays."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.system.files import LOCK_MARK
from harness.system.new_folder import new_folder
from tests.helpers.no_locks import refuse_locks


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as folder:
        (folder / "image").touch()
        assert not (tmp_path / "out").exists()

    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["image"]


def test_a_failed_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError), new_folder(tmp_path / "out") as folder:
        (folder / "image").touch()
        raise ValueError

    assert names(tmp_path) == []


def test_a_second_run_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as folder:
        (folder / "image").touch()
        with pytest.raises(HarnessError, match=r"another run is writing .*out; wait for it, or name another --out"):
            new_folder(tmp_path / "out").__enter__()

    assert names(tmp_path / "out") == ["image"]


def test_a_folder_that_a_killed_run_left_is_emptied(tmp_path: Path) -> None:
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial/old").touch()
    (tmp_path / ".out.lock").write_bytes(LOCK_MARK)  # nobody holds it

    with new_folder(tmp_path / "out") as folder:
        (folder / "new").touch()

    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["new"]


def test_a_folder_that_cannot_be_made_names_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(HarnessError, match=r"cannot write .*; nothing was released, name another --out"):
        new_folder(tmp_path / "file/out").__enter__()


def test_without_locks_a_folder_is_written_and_of_two_runs_the_second_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_locks(monkeypatch, errno.ENOSYS)

    with pytest.raises(HarnessError, match=r"cannot write .*out"), new_folder(tmp_path / "out") as folder:
        (folder / "second").touch()
        with new_folder(tmp_path / "out") as other:
            (other / "first").touch()

    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["first"]


# ---- what is another program's


@pytest.mark.parametrize("kind", ["folder", "empty folder", "file", "link"])
def test_what_has_the_name_of_a_partial_folder_and_is_not_of_a_killed_run_stays(tmp_path: Path, kind: str) -> None:
    theirs = tmp_path / ".out.partial"
    if kind == "file":
        theirs.write_text("mine")
    elif kind == "link":
        (tmp_path / "kept").mkdir()
        theirs.symlink_to("kept")
    else:
        theirs.mkdir()
    if kind == "folder":
        (theirs / "thesis.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(HarnessError, match=r"\.out\.partial is there and was not left by a killed run"):
        new_folder(tmp_path / "out").__enter__()

    assert sorted(tmp_path.rglob("*")) == before


def test_another_programs_file_where_the_lock_goes_is_one_line_and_stays(tmp_path: Path) -> None:
    (tmp_path / ".out.lock").write_text("mine")

    with pytest.raises(HarnessError, match=r"\.out\.lock is another program's and no lock file .*name another --out"):
        new_folder(tmp_path / "out").__enter__()

    assert names(tmp_path) == [".out.lock"] and (tmp_path / ".out.lock").read_text() == "mine"


def test_what_cannot_be_removed_is_said_and_found_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No descriptor is left to list it with."""

    def refused(*_: object, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(shutil, "rmtree", refused)
        for _ in range(2):
            with pytest.raises((ValueError, HarnessError)), new_folder(tmp_path / "out") as folder:
                (folder / "image").touch()
                raise ValueError

    assert names(tmp_path) == [".out.lock", ".out.partial"] and "cannot be removed now" in caplog.text
    with new_folder(tmp_path / "another"):
        pass
    assert names(tmp_path) == ["another"]


# ---- a folder that is there


@pytest.mark.skipif(os.name == "nt", reason="modes")
@pytest.mark.parametrize("mode", [0o700, 0o2770, 0o755])
def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(mode)

    with new_folder(tmp_path / "out") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "image").touch()

    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == mode and names(tmp_path / "out") == ["image"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives a folder to another user")
def test_a_folder_that_is_there_keeps_its_owner(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    os.chown(tmp_path / "out", 65534, 65534)

    with new_folder(tmp_path / "out"):
        pass

    found = (tmp_path / "out").stat()
    assert (found.st_uid, found.st_gid) == (65534, 65534)


def test_a_mount_point_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()

    def busy(self: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", str(self))

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(HarnessError, match=r"out cannot be replaced: .*\(a mount point\?\); name a new folder in it"):
        new_folder(tmp_path / "out").__enter__()

    assert names(tmp_path) == ["out"]
