"""A file that is there whole or not at all: written under another name beside its place, and renamed.

The two files that a check may leave: refused before the work where they cannot be written, and written whole.

A folder and a file beside it that appear whole or not at all, and never over anything that is there.

The folder is filled under a temporary name beside its place, locked while its run lives, and renamed at the end.
What a killed run left is removed by the next one, so no folder ever holds files of two runs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import HarnessError

TEMPORARY_SUFFIX = ".tmp"


def write_atomically(path: Path, write: Callable[[Any], object]) -> None:
    """Put what `write` writes into a binary file in the place of `path`; raises OSError, and leaves nothing then."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            write(file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(*files: Path | None) -> None:
    """Refuse a file whose folder is not there, before minutes of work."""
    for file in filter(None, files):
        if file.is_dir() or not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
            raise HarnessError(f"{file}: cannot be written; name a file in a folder that is there")


def write_text_atomically(file: Path, text: str) -> None:
    """Write it whole or not at all; a pipe or a device is written to as it is."""
    try:
        if file.exists() and not file.is_file():
            file.write_text(text)
        else:
            write_atomically(file, lambda opened: opened.write(text.encode(errors="replace")))
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror or error}; name a file that can be written") from None


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` when the block ends well and is removed when it does not.

    out  must be missing or empty, in a folder that exists
    """
    partial = out.with_name(f".{out.name}.partial")
    try:
        partial.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(partial, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(out, error) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _busy(out) from None
        if not _is(lock, partial):  # swept away by another run between the two lines above
            raise _busy(out)
        try:
            _empty(partial)  # what a killed run left
            yield partial
            partial.chmod(0o755)
            partial.rename(out)
        except OSError as error:
            raise _unwritable(out, error) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    finally:
        os.close(lock)


def write_private(file: Path, write: Callable[[BinaryIO], object]) -> None:
    """A new file of mode 0600, on the disk when this returns; raises FileExistsError over one that is there."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.partial")
    temporary.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        _give_name(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _give_name(temporary: Path, file: Path) -> None:
    try:
        os.link(temporary, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without links (a memory stick): looking first is as good as it gets
        if file.exists():
            raise FileExistsError(errno.EEXIST, "it is there already", str(file)) from None
        temporary.rename(file)


def _is(opened: int, path: Path) -> bool:
    """Whether the path still leads to what was opened."""
    try:
        there = path.stat()
    except OSError:
        return False
    held = os.fstat(opened)
    return (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)


def _busy(out: Path) -> HarnessError:
    return HarnessError(f"another run is writing {out}; wait for it, or name another --out")


def _empty(folder: Path) -> None:
    for leftover in list(folder.iterdir()):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _unwritable(out: Path, error: OSError) -> HarnessError:
    reason = error.strerror or error
    return HarnessError(f"cannot write {error.filename or out}: {reason}; nothing was released, name another --out")
