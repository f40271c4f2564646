"""A ledger that is gone, or an older copy of it, is refused while its secrets stand where it can look."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.publish.ledger_secrets import entered_secrets
from harness.publish.places import LEDGER
from harness.publish.secret_file import read_release_secret, write_secret
from harness.system.files import open_regular
from tests.helpers.paths import ROOT
from tests.publish.conftest import refused, runs


@pytest.fixture
def older(ledger):
    """older(): the ledger as it is now; older.put_back()."""

    class Older:
        def __call__(self):
            self.data = ledger.read_bytes()

        def put_back(self):
            ledger.write_bytes(self.data)

    return Older()


def test_an_older_copy_is_refused_and_the_secret_that_it_does_not_know_is_named(release, older, ledger, tmp_path):
    release("a", "--at-most", "2")
    older()
    release("b")
    older.put_back()

    answer = release("c")

    refused(answer, "does not know", "b.npz", "put back its copy from after the last release")
    assert len(answer[2].splitlines()) == 1 and ledger.read_bytes() == older.data
    assert not (tmp_path / "c").exists() and not (tmp_path / "secrets/c.npz").exists()


def test_no_message_says_what_would_count_too_few(release, older, ledger):
    release("a")
    older()
    release("b")
    for damage in (older.put_back, ledger.unlink, lambda: ledger.write_text("{")):
        damage()
        said = release("c")[2]
        assert "restore" not in said and "backup" not in said and "move" not in said


@pytest.mark.parametrize("name", ["key.bin", "key", ".key", "k.NPZ", "ü ä.txt"])
@pytest.mark.parametrize("fault", ["missing", "older"])
def test_a_secret_is_known_by_its_content(release, older, ledger, tmp_path, name, fault):
    release("a")
    older()
    release("b", secret=tmp_path / "secrets" / name)
    (tmp_path / "secrets/a.npz").unlink()
    older.put_back() if fault == "older" else ledger.unlink()

    refused(release("c"), "is missing" if fault == "missing" else "does not know")


def test_a_secret_that_was_renamed_or_copied_is_one_that_the_ledger_knows(release, ledger, tmp_path):
    release("a")
    secrets = tmp_path / "secrets"
    shutil.copy(secrets / "a.npz", secrets / "copy")
    (secrets / "a.npz").rename(secrets / "first.npz")
    (secrets / "link").symlink_to("first.npz")

    assert release("b")[1]["released_before"] == 1


def test_it_looks_where_it_lies_and_where_its_runs_put_their_secrets(release, tmp_path):
    """Secrets in three folders, and the ledger in a fourth: the unknown one is in none of this run's folders."""
    for name in ("books", "first", "second"):
        (tmp_path / name).mkdir()
    book = tmp_path / "books/ledger.json"
    release("a", "--ledger", str(book), secret=tmp_path / "first/a")
    before = book.read_bytes()
    release("b", "--ledger", str(book), secret=tmp_path / "first/b")
    book.write_bytes(before)

    refused(release("c", "--ledger", str(book), secret=tmp_path / "second/c"), "does not know", "first/b")
    (tmp_path / "first/b").rename(tmp_path / "books/b")
    refused(release("c", "--ledger", str(book), secret=tmp_path / "second/c"), "does not know", "books/b")


def test_a_ledger_of_another_name_moves_with_its_secrets(release, tmp_path):
    release("a", "--ledger", str(tmp_path / "secrets/book"))
    (tmp_path / "secrets/book").unlink()
    (tmp_path / "secrets").rename(tmp_path / "moved")

    refused(release("b", "--ledger", str(tmp_path / "moved/book"), secret=tmp_path / "moved/b.npz"), "is missing")


def test_a_ledger_that_was_moved_away_from_its_secrets_knows_them(release, ledger, tmp_path):
    release("a")
    ledger.rename(tmp_path / "book")
    assert release("b", "--ledger", str(tmp_path / "book"))[1]["released_before"] == 1
    before = (tmp_path / "book").read_bytes()
    release("c", "--ledger", str(tmp_path / "book"))
    (tmp_path / "book").write_bytes(before)
    (tmp_path / "book").rename(tmp_path / "again")

    refused(release("d", "--ledger", str(tmp_path / "again")), "does not know", "c.npz")


def test_a_link_to_an_older_copy_is_an_older_copy(release, older, ledger, tmp_path):
    release("a")
    shutil.copy(ledger, tmp_path / "copy")
    release("b")
    ledger.unlink()
    ledger.symlink_to(tmp_path / "copy")

    refused(release("c"), "does not know", "b.npz")
    (tmp_path / "copy").unlink()
    refused(release("c"), "is missing")


def test_a_ledger_without_runs_and_with_a_right_checksum_is_an_older_copy(release, ledger):
    from harness.publish.ledger import _checksum

    release("a")
    held = json.loads(ledger.read_text())
    held["content"] = {"runs": [], "sets": {}}
    held["sha256"] = _checksum(held["content"])
    ledger.write_text(json.dumps(held))

    refused(release("b"), "does not know", "a.npz")


def test_a_ledger_of_an_earlier_version_is_read_and_gets_an_id(release, ledger):
    from harness.publish.ledger import _checksum

    release("a")
    held = json.loads(ledger.read_text())
    del held["content"]["id"]
    held["sha256"] = _checksum(held["content"])
    ledger.write_text(json.dumps(held))

    assert release("b")[1]["released_before"] == 1 and json.loads(ledger.read_text())["content"]["id"]


def test_secrets_of_another_ledger_in_the_same_folder_are_none_of_its_business(release, tmp_path):
    release("a", "--ledger", str(tmp_path / "one"))

    assert release("b", "--ledger", str(tmp_path / "two"))[1]["released_before"] == 0
    assert release("c", "--ledger", str(tmp_path / "one"))[1]["released_before"] == 1


def test_a_secret_of_an_earlier_version_is_known_by_its_file_name(release, older, tmp_path):
    def without_run(file):
        with np.load(file) as held:
            arrays = dict(held)
        about = json.loads(str(arrays["about"]))
        del about["run"], about["book"]
        with file.open("wb") as opened, zipfile.ZipFile(opened, "w") as archive:
            for name, array in {**arrays, "about": np.array(json.dumps(about))}.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asarray(array))

    release("a")
    without_run(tmp_path / "secrets/a.npz")
    assert read_release_secret(tmp_path / "secrets/a.npz").about.run == ""
    older()
    assert release("b")[1]["released_before"] == 1
    without_run(tmp_path / "secrets/b.npz")
    older.put_back()

    refused(release("c"), "does not know", "b.npz")


KILLED = """
import os, signal, sys
from harness.publish.ledger import Entry
from harness.cli import main
Entry.confirm = lambda self: os.kill(os.getpid(), signal.SIGKILL)
main(sys.argv[1:])
"""


def test_the_secret_of_a_killed_run_stands_in_nobodys_way(release, ledger, pictures, tmp_path):
    words = ["obfuscate", "--defense", "mix", "--dataset", str(pictures), "--out", str(tmp_path / "killed")]
    words += ["--secret", str(tmp_path / "secrets/killed.npz"), "--at-most", "1"]
    command = [sys.executable, "-c", KILLED, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "secrets/killed.npz").exists()

    assert release("a")[1]["released_before"] == 0
    assert release("b")[1]["released_before"] == 1
    assert [run["state"] for run in runs(ledger)] == ["killed", "released", "released"]


def test_a_copy_of_the_ledger_from_the_middle_of_a_run_counts_the_release_that_came_of_it(
    release, ledger, tmp_path, monkeypatch
):
    from harness.publish.ledger import Entry

    confirm, copies = Entry.confirm, []
    with monkeypatch.context() as patch:
        patch.setattr(Entry, "confirm", lambda self: copies.append(ledger.read_bytes()) or confirm(self))
        release("a")
    ledger.write_bytes(copies[0])
    assert [run["state"] for run in runs(ledger)] == ["begun"]

    assert release("b")[1]["released_before"] == 1


def test_a_run_that_fails_late_leaves_neither_entry_nor_secret_at_any_moment(release, ledger, tmp_path, monkeypatch):
    """The secret is removed before the entry: another run never sees one that the ledger does not know."""
    from harness.publish import ledger as module

    seen = []
    take_out = module.Entry.take_out

    def fail(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.Entry, "confirm", fail)
    monkeypatch.setattr(
        module.Entry, "take_out", lambda self: seen.append(os.listdir(tmp_path / "secrets")) or take_out(self)
    )

    refused(release("a"), "No space left")
    assert seen and all(not name.startswith("a.npz") for name in seen[0]) and not ledger.exists()


def test_other_files_are_no_secrets_and_are_not_waited_for(tmp_path):
    np.savez(tmp_path / "a", about=np.array(json.dumps({"ledger": 7})))
    np.savez(tmp_path / "n", about=np.array(json.dumps({"ledger": "a\0b" + "x" * 9000})))
    np.savez(tmp_path / "b", about=np.array(json.dumps([LEDGER])))
    (tmp_path / "c.zip").write_bytes(b"PK\3\4" + b"\0" * 100)
    (tmp_path / "folder.npz").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")

    assert list(entered_secrets(tmp_path / LEDGER, "", [tmp_path, tmp_path / "gone", tmp_path / ("x" * 300)])) == []


def test_a_secret_that_would_take_gigabytes_is_refused(release, tmp_path):
    """A file of kilobytes, compressed: what names its files, or what it says about itself, is not made into objects."""
    release("a")
    with np.load(tmp_path / "secrets/a.npz") as file:
        held = dict(file)
    rows = 8_000_001
    zeros = {"epoch": np.zeros(rows, np.int8), "dominant": np.zeros(rows, np.int8), "file": np.zeros(rows, "S2")}
    zeros |= {"sources": np.zeros((rows, 1), "S1"), "weights": np.zeros((rows, 1), np.float16)}
    cases = (
        (zeros, "file has 8,000,001 rows; 8,000,000 at most are read"),
        ({"about": np.array(" " * (2**22 + 1))}, "about has room for 4,194,305 letters; 4,194,304 at most are read"),
        ({"about": np.array("[" + "[]," * 1_100_000 + "1]")}, "values; at most 2,000,000 are read"),
        ({"about": np.array(b"\xff")}, "about is not UTF-8"),
    )
    for number, (changes, said) in enumerate(cases):
        write_secret(tmp_path / f"{number}.npz", {**held, **changes})
        with pytest.raises(HarnessError) as caught:
            read_release_secret(tmp_path / f"{number}.npz")
        assert said in str(caught.value) and "\n" not in str(caught.value)


# ---- what cannot be read now


@pytest.fixture
def unread(monkeypatch):
    """unread(file, number) lets this file be opened no more."""
    opened, files = open_regular, {}

    def refused(path):
        if path in files:
            raise OSError(files[path], os.strerror(files[path]), str(path))
        return opened(path)

    monkeypatch.setattr("harness.publish.ledger_secrets.open_regular", refused)
    return files.__setitem__


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EMFILE, errno.EIO, errno.ESTALE, errno.ENOMEM])
@pytest.mark.parametrize("fault", ["missing", "older"])
@pytest.mark.parametrize("name", ["b.npz", "key"])
def test_a_secret_that_cannot_be_read_now_is_no_reason_to_begin_anew(
    release, older, ledger, tmp_path, unread, number, fault, name
):
    release("a", "--at-most", "2")
    older()
    release("b", secret=tmp_path / "secrets" / name)
    older.put_back() if fault == "older" else ledger.unlink()
    for file in ("a.npz", name):
        unread(tmp_path / "secrets" / file, number)

    answer = release("c", "--at-most", "1")

    refused(answer, "cannot be read", os.strerror(number), "make it readable")
    assert len(answer[2].splitlines()) == 1 and not (tmp_path / "c").exists()


def test_a_secret_that_is_damaged_while_memory_is_short_is_not_passed_over(release, ledger, monkeypatch):
    release("a")
    ledger.unlink()

    def short(*_, **__):
        raise MemoryError

    monkeypatch.setattr("harness.system.arrays._array", short)

    refused(release("b"), "cannot be read", os.strerror(errno.ENOMEM))


def test_a_secret_that_the_ledger_knows_need_not_be_read(release, tmp_path, unread):
    release("a")
    unread(tmp_path / "secrets/a.npz", errno.EACCES)

    assert release("b")[1]["released_before"] == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives a file to another user")
def test_what_another_user_keeps_to_himself_is_said_and_refused_only_where_it_may_be_the_missing_secret(
    release, ledger, tmp_path, unread, caplog
):
    for name in ("theirs.npz", "notes.txt"):
        (tmp_path / "secrets").joinpath(name).write_bytes(b"x")
        os.chown(tmp_path / "secrets" / name, 65534, 65534)
        unread(tmp_path / "secrets" / name, errno.EACCES)

    refused(release("a"), "theirs.npz cannot be read", "is missing", "keep it elsewhere if it is none")
    (tmp_path / "secrets/theirs.npz").rename(tmp_path / "theirs.npz")
    assert release("a")[0] == 0
    (tmp_path / "theirs.npz").rename(tmp_path / "secrets/theirs.npz")
    caplog.clear()
    assert release("b")[1]["released_before"] == 1
    assert [line for line in caplog.messages if "2 files cannot be read" in line and "theirs.npz" in line]


def test_a_folder_of_secrets_that_cannot_be_listed_is_refused(release, ledger, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    release("a", "--ledger", str(tmp_path / "other/book"))
    listed = os.listdir

    def refusing(path="."):
        if str(path) == str(tmp_path / "secrets"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))
        return listed(path)

    monkeypatch.setattr(os, "listdir", refusing)

    refused(release("b", "--ledger", str(tmp_path / "other/book")), "secrets cannot be read", "Too many open files")
