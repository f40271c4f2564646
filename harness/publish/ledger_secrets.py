"""Which secrets say that they were entered in a ledger: found by their content, whatever they are called now.

A secret names its ledger by its file name where both lay in one folder, so that both can be moved together, and else by
its path; and it holds the ledger's id and the number of its run. What was moved to a folder that the ledger does not
know is not found.
"""

from __future__ import annotations

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


def name_in_secret(ledger: Path, secret: Path) -> str:
    """How a secret says which ledger it was entered in."""
    return one_line(ledger.name if ledger.parent == secret.parent else str(ledger))


def entered_secrets(ledger: Path, book: str, folders: Iterable[Path]) -> Iterator[EnteredSecret]:
    """The secrets in these folders that name the ledger, sorted. Folders that are gone are skipped.

    ledger, folders  real paths
    book             the ledger's id; "" where it is not known
    """
    for folder in sorted(set(folders)):
        try:
            names = sorted(os.listdir(folder))
        except (OSError, ValueError):  # ValueError: no path, of a ledger that was written by hand
            continue
        for name in names:
            said = _about(folder / name)
            if said and ((book and said.book == book) or _names(said.ledger, folder / name, ledger)):
                yield EnteredSecret(folder / name, said.run)


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
    """The ledger and the run that a secret names; None of any other file."""
    with suppress(HarnessError, OSError, ValueError, KeyError, TypeError, RecursionError):
        with open_regular(file) as opened:
            if opened.read(len(_ARCHIVE)) != _ARCHIVE:
                return None
        (document,) = texts(read_npz(file, {"about": Expected("text", 0)}, most=_MOST)["about"], str(file))
        about = json.loads(document)
        return _About(*(str(about.get(name, "")) for name in ("ledger", "book", "run"))) if "ledger" in about else None
    return None
