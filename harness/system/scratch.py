"""Scratch folders that end with their run: of a killed run, the next one removes them.

A folder holds a lock file of each process that uses it, and stays while one of them lives. Where files cannot be
locked, a folder belongs to one process, which its name says.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from harness.errors import HarnessError
from harness.system.files import NO_LOCKS, lock_file
from harness.system.text import one_line

PREFIX = "obfuscation-harness."
_RUN, _UNLOCKED = f"{PREFIX}run.", f"{PREFIX}unlocked."
_JOINING, _MEMBER = "joining", ".member"
_INSIDE = "epochs"
_OWNER = re.compile(rf"{re.escape(_UNLOCKED)}([0-9a-f]{{8}})\.([0-9]{{1,9}})\.[0-9a-f]{{8}}")
"""The name of a folder without locks: machine, process, random."""
_RECENT = 3600.0  # seconds in which a folder without locks is left alone, although its process is not seen


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for this process and those that it starts, removed at the end of the block. Raises HarnessError."""
    with contextlib.ExitStack() as held:
        folder = join_folder(new_name(), held)
        try:
            yield folder
        finally:
            leave(folder, held)


def new_name() -> str:
    return uuid.uuid4().hex[:12]


def leave(folder: Path, held: contextlib.ExitStack) -> None:
    """Remove a folder that `join_folder` gave, for all its processes."""
    held.close()
    shutil.rmtree(folder.parent, ignore_errors=True)


def join_folder(run: str, held: contextlib.ExitStack, root: Path | None = None) -> Path:
    """The folder of a run on this machine, with a lock file of this process in it that `held` keeps locked.

    Joining and removing exclude each other by one more lock, so a folder is not removed while a process joins it.
    Without locks each process gets a folder of its own. HarnessError where no folder can be made.

    root  where it is; None: in TMPDIR, or where Python keeps temporary files without one
    """
    try:
        root = root or temporary_folder()
        remove_abandoned(root)
        while True:
            try:
                return _join(root / f"{_RUN}{run}", held)
            except FileNotFoundError:
                if not root.is_dir():
                    raise
    except OSError as error:
        reason = error.strerror or error
        raise HarnessError(f"no scratch folder: {reason}; set TMPDIR to a folder that can be written") from None


def temporary_folder() -> Path:
    """Where temporary files go: the folder that TMPDIR, TEMP or TMP names, or where Python keeps them without one.

    HarnessError where that cannot be: Python takes another folder then, on another disk perhaps, and says nothing.
    """
    try:
        found = tempfile.gettempdir()
    except OSError as error:
        raise HarnessError(f"no scratch folder: {error.strerror}; set TMPDIR to a folder that can be written") from None
    name, wanted = _named()
    if name and os.path.realpath(wanted) != os.path.realpath(found):
        try:
            with tempfile.TemporaryFile(dir=wanted) as file:  # the program may have set `tempfile.tempdir` itself
                file.write(b"it")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise HarnessError(
                f"no scratch folder: nothing can be written to {name} {one_line(wanted)} ({reason}); name another"
            ) from None
    return Path(found)


def stay_in_named_folder() -> None:
    """In a process that works for one that has checked it: a folder that has become full since is not replaced."""
    name, wanted = _named()
    if name:
        tempfile.tempdir = os.path.abspath(wanted)


def _named() -> tuple[str, str]:
    """The first variable that names a folder for temporary files, and the folder; empty where there is none."""
    return next(((name, os.environ[name]) for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)), ("", ""))


def _join(folder: Path, held: contextlib.ExitStack) -> Path:
    """FileNotFoundError where another process removed the folder before it was locked."""
    make_private(folder)
    try:
        with lock_file(folder / _JOINING, on_wait=lambda: None, private=True):
            held.enter_context(lock_file(folder / f"{uuid.uuid4().hex}{_MEMBER}", private=True))
            make_private(folder / _INSIDE)
            return folder / _INSIDE
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    with contextlib.suppress(OSError):
        folder.rmdir()  # another process may have locked it: no folder for one that cannot
    own = folder.parent / f"{_UNLOCKED}{_host()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    make_private(own)
    make_private(own / _INSIDE)
    return own / _INSIDE


def make_private(folder: Path) -> None:
    """Make a folder of mode 0700, whatever the umask, unless it is there."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        folder.chmod(0o700)


def remove_abandoned(root: Path) -> None:
    """Remove the user's folders none of whose processes lives, leaving those that another process looks at now.

    Whatever else has such a name stays: files, links, folders that hold something else.
    """
    for folder in root.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # of another user, or just removed
            if folder.is_symlink() or (hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()):
                continue
            if not folder.is_dir() or not all(map(_is_own, os.listdir(folder))):
                continue
            if folder.name.startswith(_RUN):
                _remove_unless_locked(folder)
            elif not _may_live(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_own(name: str) -> bool:
    """Whether a scratch folder holds something of this name."""
    return name in (_JOINING, _INSIDE) or name.endswith(_MEMBER)


def _remove_unless_locked(folder: Path) -> None:
    """Raises OSError (Timeout is one) where a lock is held or there are no locks."""
    with contextlib.ExitStack() as locks:
        locks.enter_context(lock_file(folder / _JOINING))
        for member in folder.glob(f"*{_MEMBER}"):
            locks.enter_context(lock_file(member))
        shutil.rmtree(folder, ignore_errors=True)


def _may_live(folder: Path) -> bool:
    """Whether the process that the folder's name says lives, or is of another machine, or may be."""
    named = _OWNER.fullmatch(folder.name)
    if named is None or named[1] != _host() or time.time() - folder.stat().st_mtime < _RECENT:
        return True
    try:
        os.kill(int(named[2]), 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
