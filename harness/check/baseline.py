"""The folder of records that a check compares a new run with, and its renewal, which is atomic."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.errors import HarnessError
from harness.records import Records, RunResult, read_all

_SUFFIXES = (".json", ".npz")


def read(folder: Path) -> list[RunResult]:
    """Its records. Raises HarnessError where there are none, or a damaged one: nothing is compared without it."""
    records = read_all(folder) if folder.is_dir() else []
    if not records:
        raise HarnessError(f"baseline {folder} holds no records; make it with: harness check {folder} --update")
    return records


def renew(folder: Path, run: Callable[[Path], Iterable[RunResult]]) -> list[RunResult]:
    """Replace the baseline by the records that `run` makes in a copy of it, where it reuses those that are current.

    A record's name is the hash of everything that can change its outcome, so an existing one need not be made again.
    A run that fails or is stopped leaves the baseline as it was. Other files in the folder stay.
    """
    folder = Path(os.path.abspath(folder))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            fresh = Path(scratch) / "fresh"
            shutil.copytree(folder, fresh) if folder.is_dir() else fresh.mkdir()
            before = {record.spec.key for record in Records(fresh).all()}
            records = list(run(fresh))
            for key in before - {record.spec.key for record in records}:
                for suffix in _SUFFIXES:
                    (fresh / key).with_suffix(suffix).unlink(missing_ok=True)
            if folder.is_dir():
                folder.rename(Path(scratch) / "stale")
            fresh.rename(folder)
    except OSError as error:
        raise HarnessError(f"baseline {folder}: {error.strerror or error}; name a folder that can be written") from None
    return records


def copy_records(records: Iterable[RunResult], source: Path, target: Path) -> None:
    """Copy the files of these records from one folder to another."""
    for record in records:
        for file in (source / f"{record.spec.key}{suffix}" for suffix in _SUFFIXES):
            if file.is_file():
                shutil.copy(file, target)
