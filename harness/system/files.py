"""Files that appear whole or not at all, a lock between processes, and the user's cache folder.

`write_atomically` writes under a temporary name beside the place and renames at the end, so that no interruption leaves
half a file (folders: `harness.system.new_folder`). A lock file says that it is one: another program's file where one
goes is neither written to nor removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import filelock
import platformdirs

from harness.errors import HarnessError
from harness.system.private import keeps_nothing, passing_folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY_SUFFIX = ".tmp"
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""What `lock_file` raises as an OSError's errno on a file system without locks, such as Lustre without `-o flock`."""

LOCK_MARK = b"lock of the obfuscation harness\n"
"""What a lock file says: the next run finds those of killed runs by it."""

_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}


def cache_folder() -> Path:
    """Where something may be cached: the user's cache folder, or with --no-cache one that ends with this process."""
    return passing_folder() if keeps_nothing() else user_cache_folder()


def user_cache_folder() -> Path:
    """Where decoded data sets, downloads and paid answers are cached; it need not exist yet.

    $XDG_CACHE_HOME/obfuscation-harness or ~/.cache/obfuscation-harness on Linux, and the place that the system
    intends for caches on Windows and macOS. HarnessError where there is no home, as for a container's user without a
    passwd entry.
    """
    try:
        folder = platformdirs.user_cache_path("obfuscation-harness", appauthor=False)
    except RuntimeError:
        folder = Path("~")
    if not folder.is_absolute():  # "~" that stands for nothing
        raise HarnessError("cache folder: this user has no home folder; set XDG_CACHE_HOME to a folder for the cache")
    return folder


def check_writable(*files: Path | None) -> None:
    """Raise HarnessError for a file that could not be written (None is skipped), before minutes of work."""
    for file in filter(None, files):
        if file.is_dir() or not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
            raise HarnessError(f"{file}: cannot be written; name a file in a folder that is there")


def open_regular(path: Path) -> BufferedReader:
    """A regular file, opened for reading; OSError for anything else (EINVAL says what it is), which is not waited for.

    A pipe would block until somebody writes to it, and a device may act on being opened.
    """
    _check_regular(path, path.stat().st_mode)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_regular(path, os.fstat(descriptor).st_mode)  # it may have been replaced in between
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def kind_of(mode: int) -> str:
    """What a file of this `st_mode` is, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "no regular file")


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"it is {kind_of(mode)}, and only regular files are read", str(path))


def write_atomically(
    path: Path, write: Callable[[Any], object], *, durable: bool = False, private: bool = False
) -> None:
    """Replace `path` by what `write(binary file)` writes; raises OSError and then changes nothing.

    private  of mode 0600 whatever the umask
    durable  on the disk before it has its name, and its name before this returns: a power cut leaves it whole
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            if private:
                _make_private(file.fileno())
            write(file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # the reason is the error that is raised, not that its file stays
            temporary.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in the folder are on the disk, where the system can say so."""
    if os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system that syncs no folders (some FUSE and network ones)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text_atomically(file: Path, text: str) -> None:
    """Replace `file` by the text; a pipe or a device is written to directly. Raises HarnessError."""
    try:
        if file.exists() and not file.is_file():
            file.write_text(text)
        else:
            write_atomically(file, lambda opened: opened.write(text.encode(errors="replace")))
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror or error}; name a file that can be written") from None


def write_private(file: Path, write: Callable[[BinaryIO], object], *, replace: bool = False) -> None:
    """Create a file of mode 0600, flushed to the disk; raises FileExistsError where there is one, unless to `replace`.

    Where the process is killed, a `.NAME.*.partial` stays beside it.
    """
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as stream:
            _make_private(stream.fileno())
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            os.replace(temporary, file)
        else:
            _rename_to_new(temporary, file)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync_folder(file.parent)


def _rename_to_new(temporary: Path, file: Path) -> None:
    try:
        os.link(temporary, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without links (a memory stick): a check before the rename has to do
        if file.exists():
            raise FileExistsError(errno.EEXIST, "it is there already", str(file)) from None
        temporary.rename(file)


@dataclass
class HeldLock:
    """A lock that this process holds.

    was_left  a killed run left its file
    keep      at the end the file stays, so that the next run finds what could not be removed
    """

    was_left: bool = False
    keep: bool = False


@contextmanager
def lock_file(path: Path, on_wait: Callable[[], object] | None = None, *, private: bool = False) -> Iterator[HeldLock]:
    """Hold a lock that ends with the process; its file is removed at the end, unless another program made it.

    on_wait  called before waiting for another holder; None: do not wait but raise filelock.Timeout
    private  of mode 0600 whatever the umask

    Raises OSError: with an errno of NO_LOCKS where the file system has no locks, with EINVAL where a link, or a file
    with other content, has the name of the lock file.
    """
    with _alone_in_process(path, on_wait):
        while True:
            with _lock(path, on_wait, private) as (locked, was_left, is_own):
                if _identity(path) != locked:  # the last holder removed the file that is locked now
                    continue
                held = HeldLock(was_left)
                try:
                    yield held
                finally:
                    with contextlib.suppress(OSError):  # Windows: an open file; a folder that is gone
                        if not held.keep and is_own():
                            path.unlink(missing_ok=True)
                return


@contextmanager
def _alone_in_process(path: Path, on_wait: Callable[[], object] | None) -> Iterator[None]:
    """Hold the path against the other threads of this process, before the file is opened.

    Where the system's lock belongs to a process instead of an open file (Solaris, some network file systems), a second
    lock of the same process is granted, and closing either file ends both.
    """
    place = os.path.abspath(path)
    with _guard:
        lock, users = _locks.get(place, (threading.Lock(), 0))
        _locks[place] = lock, users + 1
    try:
        if not lock.acquire(blocking=False):
            if on_wait is None:
                raise filelock.Timeout(str(path))
            on_wait()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    finally:
        with _guard:
            lock, users = _locks.pop(place, (lock, 1))
            if users > 1:
                _locks[place] = lock, users - 1


_guard = threading.Lock()
_locks: dict[str, tuple[threading.Lock, int]] = {}
"""Paths that threads of this process hold or wait for, and how many."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_locks.clear)  # the locks are the parent's


_Locked: TypeAlias = tuple[tuple[int, int], bool, Callable[[], bool]]
"""Device and inode of the locked file, whether it was left by a killed run, and whether it may be removed."""


@contextmanager
def _lock_on_posix(path: Path, on_wait: Callable[[], object] | None, private: bool) -> Iterator[_Locked]:
    """The system's lock on the file, created unless it is there.

    An empty file that was there is locked, and stays: another program may count on it.
    """
    descriptor, is_new = _open_or_create(path, 0o600 if private else 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                if is_new:
                    path.unlink(missing_ok=True)
                raise
            if on_wait is None:
                if is_new:  # another process was faster to lock it, and removes it if it is marked
                    os.write(descriptor, LOCK_MARK)
                raise filelock.Timeout(str(path)) from None
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        was_left = not is_new and _is_marked(descriptor)
        if is_new:  # only once it is locked: the next run never takes it for abandoned
            try:
                if private:
                    _make_private(descriptor)
                os.pwrite(descriptor, LOCK_MARK, 0)
            except OSError:
                path.unlink(missing_ok=True)
                raise
        opened = os.fstat(descriptor)
        yield (opened.st_dev, opened.st_ino), was_left, lambda: is_new or _is_marked(descriptor)
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing does not end it where a forked process holds it open
        os.close(descriptor)


def _make_private(descriptor: int) -> None:
    """Mode 0600, whatever the umask took away."""
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o600)


_AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def _open_or_create(path: Path, mode: int) -> tuple[int, bool]:
    """A descriptor of the file, and whether it was created now."""
    while True:
        with contextlib.suppress(FileExistsError):
            return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode), True
        with contextlib.suppress(FileNotFoundError):  # removed since
            _check_lock_file(path, path.lstat())
            descriptor = os.open(path, os.O_RDWR | _AS_IT_IS)
            try:
                _check_lock_file(path, os.fstat(descriptor), os.pread(descriptor, len(LOCK_MARK) + 1, 0))
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor, False


def _check_lock_file(path: Path, found: os.stat_result, content: bytes = b"") -> None:
    """Raise OSError for a file that is none of a lock: not a regular one, or with content that is not the mark."""
    if not stat.S_ISREG(found.st_mode):
        what = kind_of(found.st_mode)
    elif not LOCK_MARK.startswith(content):
        what = "another program's"
    else:
        return
    raise OSError(errno.EINVAL, f"{path.name} is {what} and no lock file of the harness, move it away", str(path))


def _is_marked(descriptor: int) -> bool:
    return os.pread(descriptor, len(LOCK_MARK) + 1, 0) == LOCK_MARK


@contextmanager
def _lock_on_windows(path: Path, on_wait: Callable[[], object] | None, _: bool) -> Iterator[_Locked]:
    with contextlib.suppress(FileNotFoundError, PermissionError):  # PermissionError: it is locked
        _check_lock_file(path, path.lstat(), path.read_bytes()[: len(LOCK_MARK) + 1] if path.is_file() else b"")
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if on_wait is None:
            raise
        on_wait()
        lock.acquire()
    try:
        yield _identity(path) or (0, 0), False, lambda: True
    finally:
        lock.release()


_lock = _lock_on_windows if fcntl is None else _lock_on_posix


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at this path, None where there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
