"""A folder that appears whole or not at all, and the removal of what killed runs left beside one.

It is filled under another name beside its place and renamed at the end, so that neither an interruption nor a second
run leaves half a folder, or one with files of two runs. What a killed run left is known by its lock file, which says
that it is one of this program and which a living process holds. Whatever else lies there stays: without locks that is
everything.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from harness.errors import HarnessError
from harness.system.files import LOCK_MARK, NO_LOCKS, HeldLock, lock_file

log = logging.getLogger("harness")


@contextmanager
def new_folder(out: Path, failed: str = "nothing was released") -> Iterator[Path]:
    """A folder to fill that becomes `out` when the block ends, or is removed when the block raises.

    out  must be missing or empty, in a folder that exists; one that is there keeps its owner and mode. Raises
         HarnessError where another run is writing it, which without locks shows at the end

    failed  what to say where it cannot be written

    What killed runs left beside it is removed.
    """
    remove_abandoned(out.parent)
    partial, lock_path = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.lock")
    if not _is_marked(lock_path) and os.path.lexists(partial) and not _is_marked(lock_path):
        raise _not_ours(partial)
    try:
        with contextlib.ExitStack() as stack:
            try:
                lock = stack.enter_context(lock_file(lock_path, private=True))
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                lock = HeldLock()
                partial = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.partial")  # shared with no other run
            remove_leftovers(out, lock)
            if os.path.lexists(partial):
                raise _not_ours(partial)
            lock.keep = True
            try:
                _make_private(partial)
            except OSError:
                lock.keep = False
                raise
            try:
                if out.exists():
                    _make_replaceable(out, partial)
                yield partial
                _give_permissions(out, partial)
                with contextlib.suppress(FileNotFoundError):
                    out.rmdir()  # Windows renames onto nothing that is there
                partial.rename(out)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
                lock.keep = os.path.lexists(partial)
                if lock.keep:
                    log.warning("%s cannot be removed now; remove it, or the next run beside it does", partial)
    except filelock.Timeout:
        raise HarnessError(f"another run is writing {out}; wait for it, or name another --out") from None
    except OSError as error:
        reason = error.strerror or error
        raise HarnessError(f"cannot write {error.filename or out}: {reason}; {failed}, name another --out") from None


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    folder.chmod(0o700)  # whatever the umask


def _make_replaceable(out: Path, partial: Path) -> None:
    """Replace a folder that is there by an empty one: what cannot be replaced is refused before the work."""
    if os.name == "nt":
        return
    _give_permissions(out, partial)
    try:
        partial.rename(out)
    except OSError as error:
        reason = f"{error.strerror}{' (a mount point?)' if error.errno == errno.EBUSY else ''}"
        raise HarnessError(f"output folder {out} cannot be replaced: {reason}; name a new folder in it") from None
    _make_private(partial)


def _give_permissions(out: Path, partial: Path) -> None:
    """Those of the folder that it replaces, or else for everybody to read."""
    try:
        wanted = out.stat()
    except FileNotFoundError:
        partial.chmod(0o755)
        return
    if hasattr(os, "chown"):
        for owner in ((-1, wanted.st_gid), (wanted.st_uid, -1)):
            with contextlib.suppress(OSError):  # it is not one's own to give
                os.chown(partial, *owner)
    partial.chmod(stat.S_IMODE(wanted.st_mode))


def _not_ours(partial: Path) -> HarnessError:
    return HarnessError(
        f"{partial} is there and was not left by a killed run of yours; remove or rename it, or name another --out"
    )


def remove_abandoned(folder: Path) -> None:
    """Remove the partial folders and files of killed runs, with their lock files; those of other programs stay."""
    with contextlib.suppress(OSError):
        for name in [entry for entry in os.listdir(folder) if re.fullmatch(r"\..+\.lock", entry, re.DOTALL)]:
            with contextlib.suppress(OSError):  # filelock.Timeout is one: its run lives
                if _is_marked(folder / name):
                    with lock_file(folder / name, private=True) as lock:
                        remove_leftovers(folder / name.removesuffix(".lock").removeprefix("."), lock)


def remove_leftovers(place: Path, lock: HeldLock) -> None:
    """Remove `.NAME.partial`, a folder, and the files `.NAME.*.partial` of `write_private`, if a killed run left them.

    lock  of the file or folder `place`, which is held; it stays until all is removed. Raises OSError.
    """
    if not lock.was_left:
        return
    lock.keep = True
    partial = place.with_name(f".{place.name}.partial")
    if partial.is_dir() and not partial.is_symlink():
        shutil.rmtree(partial)
    written = re.compile(re.escape(f".{place.name}.") + r"[0-9a-f]{8}\.partial")
    for leftover in [place.with_name(name) for name in os.listdir(place.parent) if written.fullmatch(name)]:
        if leftover.is_file() and not leftover.is_symlink():
            leftover.unlink(missing_ok=True)
    lock.keep = False


def _is_marked(path: Path) -> bool:
    """Whether it is a lock file of this user's runs."""
    try:
        found = path.lstat()
        is_own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
        sound = is_own and stat.S_ISREG(found.st_mode) and found.st_size == len(LOCK_MARK)
        return sound and path.read_bytes() == LOCK_MARK
    except OSError:
        return False
