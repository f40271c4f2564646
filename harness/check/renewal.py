"""A folder is replaced by a changed copy of itself, in one step, and what others write there meanwhile stays.

The copy shares its files with the folder (hard links; a copy where there are none), so that a file that somebody edits
in place is the same in both. What was added, replaced or removed since is taken over just before the two change
places; then the former folder is looked at again, and what came into it in that moment is moved. Lost is only what a
program writes by the former folder's descriptor after that.

One run renews a folder at a time (a lock beside it). What a killed one left is removed by the next; one that was killed
between the two renames that stand for the exchange where the system has none left the folder there, which gets its
name again.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import shutil
import stat
import uuid
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import filelock

from harness.errors import HarnessError
from harness.system.files import NO_LOCKS, TEMPORARY_SUFFIX, HeldLock, lock_file

log = logging.getLogger("harness")
_FRESH, _STALE = "fresh", "stale"
_AT_THIS_FOLDER, _EXCHANGE = -100, 2  # Linux: AT_FDCWD, RENAME_EXCHANGE
_FOLDER = (0, 0, 0)
_OTHERS_WORK = re.compile(rf"\.[0-9a-f]{{24}}\.claim|\..*{re.escape(TEMPORARY_SUFFIX)}", re.DOTALL)
"""Names in a folder of records that say that another run works there now: no matter of the copy."""
State = dict[str, tuple[int, int, int]]
"""By path in a folder: inode, size and time of a file or link, _FOLDER of a folder."""


@dataclass
class Copy:
    """A copy of `folder`, at `path`, to be changed and then put in its place.

    folder  need not be there
    """

    folder: Path
    path: Path
    _seen: State

    def changed(self) -> set[str]:
        """Paths in the folder that others added, replaced, edited or removed since the copy was made."""
        now = _state(self.folder)
        return {path for path in {*now, *self._seen} if now.get(path) != self._seen.get(path)}

    def put_in_place(self, own: Collection[str]) -> None:
        """Replace the folder, with what others changed in it meanwhile.

        Raises OSError, HarnessError and then changes nothing.

        own  names of files of which the copy's count
        """
        if self.folder.is_symlink():
            raise HarnessError(f"{self.folder} became a link while this ran; nothing was renewed, run it again")
        for path in sorted(self.changed() - {*own}):
            if os.path.lexists(self.folder / path):
                _share(self.folder / path, self.path / path)
            elif self._seen[path] != _FOLDER:
                (self.path / path).unlink(missing_ok=True)
        before, put = _state(self.folder), _state(self.path)
        former = _replace(self.folder, self.path)
        if former is None:
            return
        for path, stamp in _state(former).items():
            target = self.folder / path
            if path in own or before.get(path) == stamp:
                continue
            with suppress(OSError):  # it went on to change
                if stamp == _FOLDER:
                    target.mkdir(exist_ok=True)
                elif not os.path.lexists(target) or _stamp(target) == put.get(path):
                    os.replace(former / path, target)


@contextmanager
def copied(folder: Path) -> Iterator[Copy]:
    """A copy of a folder beside it, removed at the end; raises HarnessError where another run has one, and OSError.

    folder  its real path
    """
    with ExitStack() as held:
        try:
            lock = held.enter_context(lock_file(folder.with_name(f".{folder.name}.updating")))
        except filelock.Timeout:
            raise HarnessError(f"another run updates {folder}; wait for it") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            lock = HeldLock()
        if lock.was_left:
            lock.keep = True
            lock.keep = not _remove_abandoned(folder)
        scratch = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.update")
        scratch.mkdir(mode=0o700)
        try:
            scratch.chmod(0o700)
            seen = {path: stamp for path, stamp in _state(folder).items() if not _OTHERS_WORK.fullmatch(path)}
            fresh = scratch / _FRESH
            fresh.mkdir()
            for path in seen:
                _share(folder / path, fresh / path)
            for path in [path for path, stamp in reversed(seen.items()) if stamp == _FOLDER] + ["."] * folder.is_dir():
                with suppress(OSError):
                    shutil.copystat(folder / path, fresh / path)
            yield Copy(folder, fresh, seen)
        finally:
            if not _holds_the_folder(scratch):
                _remove(scratch)
            lock.keep = lock.keep or scratch.exists()


def _state(folder: Path, under: str = "") -> State:
    """What stands in a folder and below it, a folder before what it holds; nothing where it is not there."""
    found: State = {}
    try:
        entries = sorted(os.scandir(folder / under), key=lambda entry: entry.name)
    except FileNotFoundError:
        return {}
    for entry in entries:
        path = os.path.join(under, entry.name)
        with suppress(FileNotFoundError):
            found[path] = _stamp(folder / path)
            if found[path] == _FOLDER:
                found |= _state(folder, path)
    return found


def _stamp(path: Path) -> tuple[int, int, int]:
    standing = path.lstat()
    return _FOLDER if stat.S_ISDIR(standing.st_mode) else (standing.st_ino, standing.st_size, standing.st_mtime_ns)


def _share(source: Path, target: Path) -> None:
    """Give a file or link a second name, or make the folder; nothing where the source has gone. Raises OSError."""
    try:
        if _stamp(source) == _FOLDER:
            target.mkdir(exist_ok=True)
            return
        target.unlink(missing_ok=True)
        try:
            os.link(source, target, follow_symlinks=False)
        except (OSError, NotImplementedError):
            shutil.copy2(source, target, follow_symlinks=False)
    except FileNotFoundError:
        if os.path.lexists(source):
            raise


def _replace(folder: Path, fresh: Path) -> Path | None:
    """Put the fresh folder in the place of the other, in one step where the system has one; where the former is."""
    if not folder.is_dir():
        fresh.rename(folder)
        return None
    if _exchange(folder, fresh):
        return fresh
    stale = fresh.with_name(_STALE)
    folder.rename(stale)
    try:
        fresh.rename(folder)
    except BaseException:
        try:
            stale.rename(folder)
        except OSError:
            raise HarnessError(f"{folder}: another program wrote there; the former folder is now {stale}") from None
        raise
    return stale


def _exchange(one: Path, other: Path) -> bool:
    """Whether the two folders have changed places; False where the system cannot do it."""
    exchange = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    if exchange is None:
        return False
    return bool(exchange(_AT_THIS_FOLDER, os.fsencode(one), _AT_THIS_FOLDER, os.fsencode(other), _EXCHANGE) == 0)


def _holds_the_folder(scratch: Path) -> bool:
    """Whether the former folder is in it without another having taken its place."""
    return (scratch / _STALE).is_dir() and (scratch / _FRESH).is_dir()


def _remove_abandoned(folder: Path) -> bool:
    """Remove the copies of killed runs; whether all are gone. To be called by who holds the lock that one left."""
    name = re.compile(re.escape(f".{folder.name}.") + r"[0-9a-f]{8}\.update")
    copies = [Path(entry) for entry in os.scandir(folder.parent) if name.fullmatch(entry.name)]
    copies = [left for left in copies if left.is_dir() and not left.is_symlink()]
    for left in copies:
        if _holds_the_folder(left):
            if os.path.lexists(folder):
                log.warning("%s holds what was %s before a run was killed; look at it and remove it", left, folder)
                continue
            (left / _STALE).rename(folder)
        _remove(left)
    return not any(left.exists() for left in copies)


def _remove(tree: Path) -> None:
    """Remove a tree, also of folders that are read-only; its files have other names."""
    for folder, *_ in os.walk(tree):
        with suppress(OSError):
            os.chmod(folder, 0o700)
    shutil.rmtree(tree, ignore_errors=True)
