"""Folders and files that only their user can read, whatever the umask; and whether anything may be kept at all.

The user's cache folder holds decoded private pictures: `private_folder` makes it, and takes away what others may do
with one that is there already. --no-cache, or HARNESS_NO_CACHE for the processes that a command starts, keeps nothing.
"""

from __future__ import annotations

import atexit
import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path

from harness.errors import HarnessError

NO_CACHE = "HARNESS_NO_CACHE"
OTHERS = stat.S_IRWXG | stat.S_IRWXO
log = logging.getLogger("harness")
_said: set[str] = set()


def keeps_nothing() -> bool:
    """Whether the user wants nothing kept: HARNESS_NO_CACHE is set, and not to 0, false, no or off."""
    return os.environ.get(NO_CACHE, "").strip().lower() not in ("", "0", "false", "no", "off")


@contextmanager
def keep_nothing(wanted: bool) -> Iterator[None]:
    """Keep nothing inside the block, in this process and in those that it starts; only if `wanted`."""
    before = os.environ.get(NO_CACHE)
    if wanted:
        os.environ[NO_CACHE] = "1"
    try:
        yield
    finally:
        os.environ.pop(NO_CACHE, None)
        if before is not None:
            os.environ[NO_CACHE] = before


def passing_folder() -> Path:
    """A scratch folder of this process, removed when it ends. Raises HarnessError."""
    return _passing_folder(os.getpid())


@lru_cache(maxsize=1)
def _passing_folder(process: int) -> Path:
    from harness.system import scratch  # which imports harness.system.files

    held = ExitStack()
    folder = scratch.join_folder(scratch.new_name(), held)
    atexit.register(scratch.leave, folder, held)
    return folder


def private_folder(folder: Path) -> None:
    """Make the folder, and what is missing above it, of mode 0700; one that is wider is made so, with all in it.

    Raises OSError where it cannot be made, HarnessError where it is another user's.
    """
    for place in reversed((folder, *folder.parents)):
        if not place.exists():
            try:
                place.mkdir(mode=0o700)
            except FileExistsError:  # by another process since
                if not place.is_dir():
                    raise
            _restrict(place, 0o700)  # an access list of the folder above may have widened it
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    found = folder.stat()
    if os.name == "nt" or not found.st_mode & OTHERS:
        return
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        raise HarnessError(
            f"cache folder {folder}: it is another user's and others can read it; set XDG_CACHE_HOME to a folder of "
            "your own, or keep nothing with --no-cache"
        )
    tighten(folder)


def tighten(tree: Path) -> None:
    """Take away what others may do with a folder and with all below it; links stay, and so do their targets."""
    _restrict(tree, 0o700)
    for folder, names, files in os.walk(tree):
        for name in names:
            _restrict(Path(folder, name), 0o700)
        for name in files:
            _restrict(Path(folder, name), 0o600)


def _restrict(path: Path, mode: int) -> None:
    if os.name == "nt":
        return
    try:
        found = path.lstat().st_mode
        if stat.S_ISLNK(found) or not found & OTHERS:
            return
        path.chmod(mode)
        if not path.stat().st_mode & OTHERS:
            return
        reason = "its file system has no permissions"
    except (FileNotFoundError, NotADirectoryError):  # removed since, or never there
        return
    except OSError as error:
        reason = error.strerror or str(error)
    top = str(path.parent)
    if top not in _said:
        _said.add(top)
        log.warning("others can read %s (%s); keep nothing with --no-cache, or set XDG_CACHE_HOME", path, reason)
