"""Files appear whole or not at all, and a lock is held by one."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import pytest

from harness.errors import HarnessError
from harness.system.files import (
    LOCK_MARK,
    NO_LOCKS,
    cache_folder,
    check_writable,
    lock_file,
    write_atomically,
    write_private,
    write_text_atomically,
)
from tests.helpers.no_locks import refuse_locks


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail(_: object) -> None:
    raise OSError(28, "No space left on device")


# ---- files


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "board.csv").write_text("before")

    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "board.csv", fail)

    assert (tmp_path / "board.csv").read_text() == "before" and names(tmp_path) == ["board.csv"]


def test_a_durable_file_is_on_the_disk_before_its_name_and_its_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda d: order.append(stat.S_ISDIR(os.fstat(d).st_mode)) or fsync(d))
    monkeypatch.setattr(os, "replace", lambda *given: order.append("rename") or replace(*given))

    write_atomically(tmp_path / "record", lambda file: file.write(b"once"), durable=True)
    write_atomically(tmp_path / "sheet", lambda file: file.write(b"once"))

    assert order == [False, "rename", True, "rename"]


def test_the_reason_of_a_failed_write_is_not_that_its_leftover_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that turned read-only: the file cannot be removed either."""

    def denied(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", denied)

    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "board.csv", fail)


def test_a_device_is_written_to_and_not_replaced() -> None:
    write_text_atomically(Path("/dev/null"), "text")

    assert Path("/dev/null").is_char_device()


def test_a_file_in_a_missing_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    check_writable(None, tmp_path / "report.md")

    for file in (tmp_path, tmp_path / "missing/report.md"):
        with pytest.raises(HarnessError, match="cannot be written; name a file in a folder that is there"):
            check_writable(file)


def test_a_private_file_replaces_nothing_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "secret", lambda file: file.write(b"one"))
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "secret", lambda file: file.write(b"two"))

    assert (tmp_path / "secret").read_bytes() == b"one" and names(tmp_path) == ["secret"]
    assert sys.platform == "win32" or (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


# ---- locks


def test_a_lock_is_held_by_one_at_a_time_and_leaves_no_file(tmp_path: Path) -> None:
    """Four threads increment a number without atomic arithmetic; a lost update would show."""
    count = [0]

    def increment() -> None:
        for _ in range(8):
            with lock_file(tmp_path / "lock", lambda: None):
                before = count[0]
                threading.Event().wait(0.0005)
                count[0] = before + 1

    threads = [threading.Thread(target=increment) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert count == [32] and names(tmp_path) == []


def test_a_lock_ends_though_a_forked_process_has_inherited_it(tmp_path: Path) -> None:
    with lock_file(tmp_path / "lock"):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        with lock_file(tmp_path / "lock"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_second_waits_and_says_so(tmp_path: Path) -> None:
    waiting, order = threading.Event(), []

    def second() -> None:
        with lock_file(tmp_path / "lock", waiting.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with lock_file(tmp_path / "lock"):
        thread.start()
        assert waiting.wait(60)
        order.append("first")
    thread.join()

    assert order == ["first", "second"] and names(tmp_path) == []


def test_a_lock_that_is_held_is_reported_where_nobody_waits(tmp_path: Path) -> None:
    with lock_file(tmp_path / "lock"), pytest.raises(filelock.Timeout):
        lock_file(tmp_path / "lock").__enter__()


def test_a_lock_that_belongs_to_the_process_is_not_lost_to_a_second_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where `flock` is `lockf` (Solaris): a second lock in this process, or closing its file, would end the first."""
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", fcntl.lockf)
    attempt = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"

    with lock_file(tmp_path / "lock"):
        for _ in range(2):
            with pytest.raises(filelock.Timeout):
                lock_file(tmp_path / "lock").__enter__()
        other = subprocess.run([sys.executable, "-c", attempt, tmp_path / "lock"], capture_output=True, check=False)

    assert b"BlockingIOError" in other.stderr


def test_an_attempt_that_gets_no_lock_leaves_the_file_of_the_one_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is short of locks (ENOLCK) says so to the second, who must not remove the file of the first."""
    (tmp_path / "lock").touch()
    refuse_locks(monkeypatch, errno.ENOLCK)

    with pytest.raises(OSError, match="lock"):
        lock_file(tmp_path / "lock").__enter__()

    assert names(tmp_path) == ["lock"]


@pytest.mark.parametrize("kind", ["a named pipe", "a folder", "a link", "another program's"])
@pytest.mark.parametrize("private", [True, False])
def test_what_is_no_lock_file_is_refused_at_once_and_stays(tmp_path: Path, kind: str, private: bool) -> None:
    """A dangling link used to be tried again for ever."""
    path = tmp_path / "lock"
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a link":
        path.symlink_to("nowhere")
    else:
        path.write_bytes(LOCK_MARK + b"of mine")

    with pytest.raises(OSError, match=f"lock is {kind} and no lock file") as raised:
        lock_file(path, lambda: pytest.fail("it waits"), private=private).__enter__()

    assert raised.value.errno == errno.EINVAL and names(tmp_path) == ["lock"]
    assert kind != "another program's" or path.read_bytes() == LOCK_MARK + b"of mine"


@pytest.mark.parametrize("private", [True, False])
def test_an_empty_file_that_was_there_is_locked_and_stays(tmp_path: Path, private: bool) -> None:
    """Another program may lock by its existence."""
    (tmp_path / "lock").touch(0o644)

    with lock_file(tmp_path / "lock", private=private), pytest.raises(filelock.Timeout):
        lock_file(tmp_path / "lock", private=private).__enter__()

    assert (tmp_path / "lock").read_bytes() == b"" and (tmp_path / "lock").stat().st_mode & 0o777 == 0o644


def test_the_file_of_a_killed_run_is_known_and_removed(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(LOCK_MARK)

    with lock_file(tmp_path / "lock") as left:
        pass
    with lock_file(tmp_path / "lock") as new:
        pass

    assert left.was_left and not new.was_left and names(tmp_path) == []


# ---- a file system without locks


@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_lock_is_refused_where_there_are_none_and_leaves_no_file(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_locks(monkeypatch, number)

    for on_wait in (None, lambda: pytest.fail("waits for a lock that nothing holds")):
        with pytest.raises(OSError) as raised:
            lock_file(tmp_path / "lock", on_wait).__enter__()
        assert raised.value.errno == number
    assert names(tmp_path) == []


# ---- the cache, and other systems


def test_the_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert sys.platform != "linux" or cache_folder() == tmp_path / "obfuscation-harness"

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sys.platform != "linux" or cache_folder() == tmp_path / ".cache/obfuscation-harness"


@pytest.mark.parametrize("home", [None, "~"])
def test_a_user_without_a_home_is_told_what_to_set(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user without a passwd entry."""

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pytest.importorskip("pwd"), "getpwuid", nobody)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    if home:
        monkeypatch.setenv("HOME", home)

    with pytest.raises(HarnessError, match="set XDG_CACHE_HOME"):
        cache_folder()


IMPORT_ALL = """
import os, pkgutil, sys
import filelock, matplotlib.pyplot, numba, torch, torchvision, timm, sklearn, rich.console  # may need what is hidden
for name in ("posix_fallocate", "sched_getaffinity", "posix_fadvise", "getuid", "fork"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
import harness
def broken(name):
    raise
for module in pkgutil.walk_packages(harness.__path__, "harness.", onerror=broken):
    if not module.name.endswith("__main__"):
        __import__(module.name)
from harness.system.device import available_cores
assert available_cores() >= 1
"""


@pytest.mark.slow
def test_every_module_imports_where_posix_modules_are_missing() -> None:
    """As on Windows: no fcntl, no resource, no posix_fallocate, no sched_getaffinity."""
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
