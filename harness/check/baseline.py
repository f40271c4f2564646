"""The folder of records that a check holds a new run against, and its renewal: whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.errors import HarnessError
from harness.records import Records, RunResult

_SUFFIXES = (".json", ".npz")


def read(folder: Path) -> list[RunResult]:
    """Its records; a folder without any is refused."""
    found = list(Records(folder).all()) if folder.is_dir() else []
    if not found:
        raise HarnessError(f"baseline {folder} holds no records; make it with: harness check {folder} --update")
    return found


def renew(folder: Path, run: Callable[[Path], Iterable[RunResult]]) -> list[RunResult]:
    """Replace the baseline by what `run` makes in a folder of its own, where it finds the records that still hold.

    A record's name is the hash of everything that can change its outcome, so one that is found need not be made anew.
    A run that fails or is stopped leaves the baseline as it was. Files that are no records stay.
    """
    folder = Path(os.path.abspath(folder))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
            fresh = Path(place) / "fresh"
            shutil.copytree(folder, fresh) if folder.is_dir() else fresh.mkdir()
            before = {record.spec.key for record in Records(fresh).all()}
            made = list(run(fresh))
            for key in before - {record.spec.key for record in made}:
                for suffix in _SUFFIXES:
                    (fresh / key).with_suffix(suffix).unlink(missing_ok=True)
            if folder.is_dir():
                folder.rename(Path(place) / "stale")
            fresh.rename(folder)
    except OSError as error:
        raise HarnessError(f"baseline {folder}: {error.strerror or error}; name a folder that can be written") from None
    return made


def bring(records: Iterable[RunResult], here: Path, there: Path) -> None:
    """Copy the files of these records from one folder to the other."""
    for record in records:
        for file in (here / f"{record.spec.key}{suffix}" for suffix in _SUFFIXES):
            if file.is_file():
                shutil.copy(file, there)
