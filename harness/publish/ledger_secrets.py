"""Which secrets say that they were entered in a ledger: found by their content, whatever they are called now.

A secret names its ledger by its file name where both lay in one folder, so that both can be moved together, and else by
its path; and it holds the ledger's id and the number of its run. What was moved to a folder that the ledger does not
know is not found. A file or folder that cannot be read now may be one, and is said.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.system.arrays import Expected, read_npz, texts
from harness.system.files import open_regular
from harness.system.text import one_line

_ARCHIVE = b"PK\3\4"
_MOST = 2**20  # bytes of what a secret says about itself


@dataclass(frozen=True)
class EnteredSecret:
    """run: the number of its run in the ledger; "" of a secret of an earlier version."""

    file: Path
    run: str


@dataclass(frozen=True)
class Unread:
    """What cannot be read, and may be a secret or hold one.

    is_anothers  it belongs to another user, who keeps it to himself
    """

    file: Path
    reason: str
    is_anothers: bool


def name_in_secret(ledger: Path, secret: Path) -> str:
    """How a secret says which ledger it was entered in."""
    return one_line(ledger.name if ledger.parent == secret.parent else str(ledger))


def entered_secrets(ledger: Path, book: str, folders: Iterable[Path]) -> Iterator[EnteredSecret | Unread]:
    """The secrets in these folders that name the ledger, sorted, and what cannot be read. Folders that are gone are
    skipped.

    ledger, folders  real paths
    book             the ledger's id; "" where it is not known
    """
    for folder in sorted(set(folders)):
        try:
            names = sorted(os.listdir(folder))
        except ValueError:  # no path, of a ledger that was written by hand
            continue
        except OSError as error:
            if error.errno not in _GONE:
                yield _unread(folder, error)
            continue
        for name in names:
            try:
                said = _about(folder / name)
            except OSError as error:
                yield _unread(folder / name, error)
                continue
            if said and ((book and said.book == book) or _names(said.ledger, folder / name, ledger)):
                yield EnteredSecret(folder / name, said.run)


_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""No such file or folder: removed since, or a link that leads nowhere."""


def _unread(file: Path, error: OSError) -> Unread:
    denied = error.errno in (errno.EACCES, errno.EPERM)
    is_anothers = False
    with suppress(OSError):
        is_anothers = denied and hasattr(os, "geteuid") and file.lstat().st_uid != os.geteuid()
    return Unread(file, error.strerror or str(error), is_anothers)


def _names(said: str, secret: Path, ledger: Path) -> bool:
    """Whether a secret names this ledger: as it is written now, or by a path that leads there."""
    if not said:  # it was entered in none
        return False
    if said in (name_in_secret(ledger, secret), one_line(str(ledger))):
        return True
    with suppress(OSError, ValueError):  # no path: a NUL, a name that is too long
        return os.path.realpath(secret.parent / said) == str(ledger)
    return False


@dataclass(frozen=True)
class _About:
    ledger: str
    book: str
    run: str


def _about(file: Path) -> _About | None:
    """The ledger and the run that a secret names; None of any other file. OSError where it cannot be read now."""
    try:
        with open_regular(file) as opened:
            if opened.read(len(_ARCHIVE)) != _ARCHIVE:
                return None
        (document,) = texts(read_npz(file, {"about": Expected("text", 0)}, most=_MOST)["about"], str(file))
        about = json.loads(document)
        return _About(*(str(about.get(name, "")) for name in ("ledger", "book", "run"))) if "ledger" in about else None
    except OSError as error:
        if error.errno in (*_GONE, errno.EINVAL):  # EINVAL: no regular file
            return None
        raise
    except HarnessError as fault:
        cause = fault.__context__
        if isinstance(cause, MemoryError):
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from None
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno not in _GONE:
            raise cause from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return None
