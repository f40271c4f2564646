"""The two files of a record, KEY.json and KEY.npz: replaced so that a reader finds the old record or the new one.

A rename replaces one file. Where there is a record already, the new document stands as `.KEY.json.next` before the
numbers are replaced, and gets its name after them: whoever finds numbers that do not match the document looks there. A
process that is killed in between leaves a record that can be read. Files are replaced under a lock, where there are
locks.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np

from harness.records.numbers import UnreadableError
from harness.system.files import lock_file, sync_folder, write_atomically

if TYPE_CHECKING:
    from harness.types import Array

_WAIT = 5.0
"""Seconds. Writing takes less, and is safe without the lock except against a writer of other numbers."""
Standing = list[tuple[int, ...] | None]


def standing(path: Path) -> Standing:
    """What changes where one of a record's two files is replaced or written to; None for one that is not there."""
    return [_standing(path), _standing(path.with_suffix(".npz"))]


def _standing(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def next_document(path: Path) -> Path:
    """Where the document of a record stands that is being replaced."""
    return path.with_name(f".{path.name}.next")


def numbers_beside(path: Path) -> Path | None:
    """The NPZ file of a record, None where there is none. UnreadableError where that cannot be seen now."""
    numbers = path.with_suffix(".npz")
    try:
        return numbers if stat.S_ISREG(numbers.stat().st_mode) else None
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not os.path.lexists(numbers):
            return None
        said = "its link leads nowhere" if isinstance(error, FileNotFoundError) else error.strerror
        raise UnreadableError(f"unreadable ({numbers.name}: {said})") from None


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a JSON file. Raises OSError."""
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()), durable=True)


def replace_record(path: Path, document: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Replace both files; without arrays there is no NPZ file. Raises OSError."""
    following, numbers = next_document(path), path.with_suffix(".npz")
    with replacing(path):
        is_new = not os.path.lexists(path)
        if not is_new:
            write_document(following, document)
        if arrays:
            write = np.savez_compressed
            write_atomically(numbers, lambda file: write(file, **arrays), durable=True)  # type: ignore[arg-type]
        else:
            numbers.unlink(missing_ok=True)  # of an earlier try
        if not is_new:
            with contextlib.suppress(FileNotFoundError):  # without locks another process has given it its name
                os.replace(following, path)
                sync_folder(path.parent)
                return
        write_document(path, document)


def set_aside(path: Path, seen: Standing) -> Path | None:
    """Give a record's JSON file another name, and return it; None where it is not as it was seen. Raises OSError."""
    aside = path.with_name(path.name + ".corrupt")
    with replacing(path):
        if standing(path) != seen:
            return None
        os.replace(path, aside)
        moved = _standing(aside)
        if moved is None or seen[0] is None or moved[:3] != seen[0][:3]:  # replaced just now, which locks prevent
            os.replace(aside, path)
            return None
    return aside


@contextmanager
def replacing(path: Path) -> Iterator[None]:
    """Wait until no other process replaces this record; not for ever, and not where files cannot be locked."""
    with contextlib.ExitStack() as lock:
        until = time.monotonic() + _WAIT
        while True:
            try:
                lock.enter_context(lock_file(path.with_name(f".{path.stem}.replace")))
            except filelock.Timeout:
                if time.monotonic() < until:
                    time.sleep(_WAIT / 100)
                    continue
            except OSError:  # if nothing can be written, writing will say so
                pass
            break
        yield
