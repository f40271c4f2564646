"""The folder of records that a check compares a new run with, and its renewal, which is atomic.

A baseline that `--update` has made holds suite.json: the names of the records that are the suite's. Only such a folder
is renewed, or one whose records are all of work that the suite asks for, or an empty one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from harness.check.renewal import copied
from harness.errors import HarnessError
from harness.leaderboard.selection import work_of
from harness.records import KEY_LENGTH, DamageError, RunResult, RunSpec, paths, read_all
from harness.records import read as read_record
from harness.system.documents import read_json
from harness.system.files import write_atomically
from harness.system.schema import decode

MARK = "suite.json"
FORMAT: Literal["obfuscation-harness baseline 1"] = "obfuscation-harness baseline 1"
_SUFFIXES = (".json", ".npz")
_FIX = "name a folder that harness check --update made, or a new one"
_Key = Annotated[str, Meta(pattern=f"^[0-9a-f]{{{KEY_LENGTH}}}$", description=f"{KEY_LENGTH} hexadecimal digits")]


class Suite(Struct, forbid_unknown_fields=True, frozen=True):
    """suite.json. format: None in a file of an earlier version, which counts where a record that it names is there."""

    records: Annotated[list[_Key], Meta(max_length=100_000)]
    format: Literal["obfuscation-harness baseline 1"] | None = None


def read(folder: Path) -> list[RunResult]:
    """Its records. Raises HarnessError where there are none, or a damaged one: nothing is compared without it."""
    records = read_all(folder) if folder.is_dir() else []
    if not records:
        raise HarnessError(f"baseline {folder} holds no records; make it with: harness check {folder} --update")
    return records


def sound(folder: Path) -> list[RunResult]:
    """The records of a folder that can be read; nothing is said of the others, and nothing moved."""
    found = []
    for path in paths(folder):
        try:
            found.append(read_record(path))
        except DamageError:
            continue
    return found


def check_renewable(folder: Path, suite: Sequence[RunSpec] | None = None) -> None:
    """Refuse a folder that is no baseline, before anything is run.

    suite  the work that the suite asks for; None: it is not known yet
    """
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            raise HarnessError(f"baseline {folder}: is no folder; name one, or one that is not there yet")
        return
    if _suite_of(folder) is not None:
        return
    there = sound(folder)
    if not there and any(folder.iterdir()):
        raise HarnessError(f"{folder} is no baseline: it holds other files and no records; {_FIX}")
    if suite is not None:
        _check_asked_for(folder, there, suite)


def _check_asked_for(folder: Path, there: Sequence[RunResult], suite: Sequence[RunSpec]) -> None:
    works = {_work(spec) for spec in suite}
    others = [record for record in there if _work(record.spec) not in works]
    if others:
        names = " ".join(others[0].spec.names)
        raise HarnessError(
            f"{folder} is no baseline: of its {len(there)} records {len(others)} are of work that the suite does not "
            f"ask for, such as {names} ({others[0].spec.key}); {_FIX}"
        )


def renew(folder: Path, run: Callable[[Path], Iterable[RunResult]]) -> list[RunResult]:
    """Replace the baseline by the records that `run` makes in a copy of it, where it reuses those that are current.

    A record's name is the hash of everything that can change its outcome, so an existing one need not be made again.
    Removed are earlier records of the suite: those that suite.json names, and those of the same work. Other records and
    files stay, and so does what others write there meanwhile (see `harness.check.renewal`). A run that fails or is
    stopped leaves the baseline as it was. Raises HarnessError.
    """
    folder = Path(os.path.realpath(folder))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with copied(folder) as copy:
            before, listed = sound(copy.path), _suite_of(copy.path)
            records = list(run(copy.path))
            if listed is None:
                _check_asked_for(folder, before, [record.spec for record in records])
            if MARK in copy.changed():
                raise HarnessError(f"{folder / MARK} was changed while this ran; nothing was renewed, run it again")
            keys, works = {record.spec.key for record in records}, {_work(record.spec) for record in records}
            own = set(listed.records) if listed else set()
            superseded = {each.spec.key for each in before if each.spec.key in own or _work(each.spec) in works}
            if listed and listed.format:
                superseded |= own  # also those that are damaged
            for key in superseded - keys:
                for suffix in _SUFFIXES:
                    (copy.path / f"{key}{suffix}").unlink(missing_ok=True)
            text = json.dumps({"format": FORMAT, "records": sorted(keys)}, indent=1) + "\n"
            write_atomically(copy.path / MARK, lambda file: file.write(text.encode()), durable=True)
            copy.put_in_place({MARK, *(f"{key}{suffix}" for key in keys for suffix in _SUFFIXES)})
    except OSError as error:
        raise HarnessError(f"baseline {folder}: {error.strerror or error}; name a folder that can be written") from None
    return records


def _suite_of(folder: Path) -> Suite | None:
    """What suite.json says; None where there is none. HarnessError where another program wrote it."""
    if not os.path.lexists(folder / MARK):
        return None
    try:
        suite = decode(read_json(folder / MARK, "suite of a baseline"), Suite, str(folder / MARK))
    except HarnessError as error:
        raise HarnessError(f"{folder} is no baseline: {str(error).partition('; ')[0]}; {_FIX}") from None
    if suite.format or any(record.spec.key in suite.records for record in sound(folder)):
        return suite
    raise HarnessError(
        f"{folder} is no baseline: {folder / MARK} has no format, and no record that it names is here; {_FIX}"
    )


def _work(spec: RunSpec) -> str:
    return work_of(RunResult(spec, "ok"))


def copy_records(records: Iterable[RunResult], source: Path, target: Path) -> None:
    """Copy the files of these records from one folder to another."""
    for record in records:
        for file in (source / f"{record.spec.key}{suffix}" for suffix in _SUFFIXES):
            if file.is_file():
                (target / file.name).unlink(missing_ok=True)  # it may be the file of another folder, under two names
                shutil.copy(file, target)
