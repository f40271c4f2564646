"""Cached folders of files with a checked index.

A folder is written under a temporary name and renamed, so an interrupted run or two runs at once leave no incomplete
one. Its `index` holds a checksum, the facts about the folder and the length of every other file. A folder that
disagrees with its index is reported in a warning, renamed to `*.corrupt` and made again.

Only the user can read them (mode 0700, files 0600). A process that uses a folder holds a shared lock on it until it
ends, so that `harness cache --clear` leaves it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from harness.errors import HarnessError
from harness.system.private import private_folder, tighten

try:
    import fcntl
except ImportError:  # Windows, where the files of a folder that is in use cannot be removed
    fcntl = None  # type: ignore[assignment]

Facts: TypeAlias = dict[str, Any]

INDEX = "index"
ABANDONED_AFTER = 3600.0  # seconds without a write after which a temporary folder counts as a killed run's
UNLOCKED_AFTER = 60.0  # the same where nothing holds its lock
log = logging.getLogger("harness")
_held: dict[str, int] = {}
"""Descriptors of the folders that this process uses: their locks end with it."""


def cached(
    folder: Path,
    write: Callable[[Path], Facts],
    is_valid: Callable[[Facts], bool],
    is_current: Callable[[Facts], bool] = lambda _: True,
) -> Facts:
    """The facts about `folder`, which `write` fills first where it is missing, damaged or no longer current.

    write       fills the folder that it is given and returns the facts: anything that JSON takes
    is_valid    whether the facts agree with the files
    is_current  whether they agree with what the files were made from
    """
    facts = _read(folder, is_valid) if hold(folder) else None
    if facts is not None and not is_current(facts):
        shutil.rmtree(folder, ignore_errors=True)
        facts = None
    if facts is None:
        return _make(folder, write)
    with contextlib.suppress(OSError):
        os.utime(folder / INDEX)  # when it was used last
    return facts


def hold(folder: Path) -> bool:
    """Lock a folder against being cleared, for as long as this process lives; waits while it is being cleared.

    False: there is no such folder to hold. Without locks (Windows, some file systems): whether there is one.
    """
    release(folder)
    while fcntl is not None:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            break
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), folder.stat()):  # else it was cleared while this one waited
                _held[str(folder)] = descriptor
                return True
        os.close(descriptor)
    return folder.is_dir()


def release(folder: Path) -> None:
    """End this process's lock on a folder."""
    descriptor = _held.pop(str(folder), None)
    if descriptor is not None:
        os.close(descriptor)


def facts_in(folder: Path) -> Facts:
    """The facts in a folder's index. Raises OSError, ValueError."""
    checksum, _, text = (folder / INDEX).read_text().partition("\n")
    if checksum != _checksum(text):
        raise ValueError("does not match its checksum")
    facts, lengths = json.loads(text)
    if lengths != _lengths(folder):
        raise ValueError("a file is missing or has the wrong length")
    if not isinstance(facts, dict):
        raise ValueError("holds no facts")
    return facts


def _read(folder: Path, is_valid: Callable[[Facts], bool]) -> Facts | None:
    if not folder.is_dir():
        return None
    try:
        facts = facts_in(folder)
        private_folder(folder)
        if is_valid(facts):
            return facts
        reason = "the images do not match their hashes"
    except FileNotFoundError as error:
        if not folder.is_dir():  # removed since
            return None
        reason = f"its {INDEX}: {error}"
    except HarnessError:  # of the folder above: it is another user's
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"its {INDEX}: {error}"
    damaged = folder.with_name(folder.name + ".corrupt")
    log.warning("cache %s is damaged (%s): set aside as %s and made again", folder, reason, damaged.name)
    try:
        shutil.rmtree(damaged, ignore_errors=True)
        folder.rename(damaged)
    except OSError as error:
        raise unwritable(folder, error) from error
    return None


def _make(folder: Path, write: Callable[[Path], Facts]) -> Facts:
    temporary = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        private_folder(folder.parent)
        while not temporary.is_dir():  # it may be cleared before it is held
            temporary.mkdir(mode=0o700)
            hold(temporary)
        _remove_abandoned(folder.parent)
        facts = write(temporary)
        text = json.dumps([facts, _lengths(temporary)])
        (temporary / INDEX).write_text(f"{_checksum(text)}\n{text}")
        tighten(temporary)
        _rename(temporary, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        release(temporary)
        shutil.rmtree(temporary, ignore_errors=True)
    return facts


def _rename(temporary: Path, folder: Path) -> None:
    """Give it its name, unless another run was faster and wrote the same; `folder` is held from here on."""
    while True:
        try:
            temporary.rename(folder)
            if str(temporary) in _held:  # the lock is on the folder, not on its name
                _held[str(folder)] = _held.pop(str(temporary))
            return
        except OSError as error:
            if hold(folder):
                return
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # else the other's was cleared since
                raise


def _remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders of killed runs: a live one holds its own, and writes into it all the time."""
    for leftover in parent.glob("*.tmp"):
        try:
            newest = max(path.stat().st_mtime for path in (leftover, *leftover.iterdir()))
        except OSError:
            continue
        if str(leftover) in _held:
            continue
        with held_by_nobody(leftover) as free:
            patience = {True: UNLOCKED_AFTER, None: ABANDONED_AFTER, False: float("inf")}[free]
            if time.time() - newest > patience:
                shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def held_by_nobody(folder: Path) -> Iterator[bool | None]:
    """Inside the block nobody else holds the folder (True); another process does (False), or there is no telling."""
    descriptor = None
    free: bool | None = None
    try:
        if fcntl is not None:
            try:
                descriptor = os.open(folder, os.O_RDONLY)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free = True
            except BlockingIOError:
                free = False
            except OSError:
                free = None
        yield free
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lengths(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != INDEX}


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def unwritable(folder: Path, error: OSError) -> HarnessError:
    """What to raise where the cache cannot be written."""
    reason = error.strerror or str(error)
    return HarnessError(
        f"cannot write the cache {folder}: {reason}; free some space, set XDG_CACHE_HOME elsewhere, or keep nothing "
        "with --no-cache"
    )
