"""Which secrets say that they were entered in a ledger: found by their content, whatever they are called now.

A secret names its ledger by its file name where both lay in one folder, so that both can be moved together, and else by
its path; and it holds the number of its run. What was moved to a folder that the ledger does not know is not found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.system.arrays import Expected, read_npz
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


def entered_secrets(ledger: Path, folders: Iterable[Path]) -> Iterator[EnteredSecret]:
    """The secrets in these folders that name the ledger, sorted. Folders that are gone are skipped.

    ledger, folders  real paths
    """
    for folder in sorted(set(folders)):
        try:
            names = sorted(os.listdir(folder))
        except (OSError, ValueError):  # ValueError: no path, of a ledger that was written by hand
            continue
        for name in names:
            said = _about(folder / name)
            if said and said[0] in (name_in_secret(ledger, folder / name), one_line(str(ledger))):
                yield EnteredSecret(folder / name, said[1])


def _about(file: Path) -> tuple[str, str] | None:
    """The ledger and the run that a secret names; None of any other file."""
    with suppress(HarnessError, OSError, ValueError, KeyError, TypeError, RecursionError):
        with open_regular(file) as opened:
            if opened.read(len(_ARCHIVE)) != _ARCHIVE:
                return None
        about = json.loads(str(read_npz(file, {"about": Expected("text", 0)}, most=_MOST)["about"]))
        return str(about["ledger"]), str(about.get("run", ""))
    return None
