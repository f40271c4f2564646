"""The folder of records that a check compares a new run with, and its renewal, which is atomic.

A baseline that `--update` has made holds suite.json: the names of the records that are the suite's. Only such a folder
is renewed, or one whose records are all of work that the suite asks for, or an empty one.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.leaderboard.selection import work_of
from harness.records import DamageError, RunResult, RunSpec, paths, read_all
from harness.records import read as read_record
from harness.system.documents import read_json

MARK = "suite.json"
_SUFFIXES = (".json", ".npz")
_AT_THIS_FOLDER, _EXCHANGE = -100, 2  # Linux: AT_FDCWD, RENAME_EXCHANGE


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
    if _own(folder) is not None:
        return
    there = sound(folder)
    fix = "name a folder that harness check --update made, or a new one"
    if not there and any(folder.iterdir()):
        raise HarnessError(f"{folder} is no baseline: it holds other files and no records; {fix}")
    if suite is None:
        return
    works = {_work(spec) for spec in suite}
    others = [record for record in there if _work(record.spec) not in works]
    if others:
        names = " ".join(others[0].spec.names)
        raise HarnessError(
            f"{folder} is no baseline: of its {len(there)} records {len(others)} are of work that the suite does not "
            f"ask for, such as {names} ({others[0].spec.key}); {fix}"
        )


def renew(folder: Path, run: Callable[[Path], Iterable[RunResult]]) -> list[RunResult]:
    """Replace the baseline by the records that `run` makes in a copy of it, where it reuses those that are current.

    A record's name is the hash of everything that can change its outcome, so an existing one need not be made again.
    Removed are earlier records of the suite: those that suite.json names, and those of the same work. Other records and
    files stay. A run that fails or is stopped leaves the baseline as it was.
    """
    folder = Path(os.path.realpath(folder))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            fresh = Path(scratch) / "fresh"
            shutil.copytree(folder, fresh, symlinks=True) if folder.is_dir() else fresh.mkdir()
            before, own = sound(fresh), _own(fresh) or []
            records = list(run(fresh))
            check_renewable(folder, [record.spec for record in records])
            keys, works = {record.spec.key for record in records}, {_work(record.spec) for record in records}
            superseded = [record.spec.key for record in before if record.spec.key in own or _work(record.spec) in works]
            for key in {*superseded, *own} - keys:
                for suffix in _SUFFIXES:
                    (fresh / key).with_suffix(suffix).unlink(missing_ok=True)
            (fresh / MARK).write_text(json.dumps({"records": sorted(keys)}, indent=1) + "\n")
            _replace(folder, fresh, Path(scratch) / "stale")
    except OSError as error:
        raise HarnessError(f"baseline {folder}: {error.strerror or error}; name a folder that can be written") from None
    return records


def _own(folder: Path) -> list[str] | None:
    """The names of the suite's records; None: the folder does not say."""
    if not (folder / MARK).is_file():
        return None
    said = read_json(folder / MARK)
    names = said.get("records", []) if isinstance(said, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isalnum() for name in names):
        raise HarnessError(f"{folder / MARK}: expected {{'records': [names]}}; restore it, or name another baseline")
    return names


def _work(spec: RunSpec) -> str:
    return work_of(RunResult(spec, "ok"))


def _replace(folder: Path, fresh: Path, stale: Path) -> None:
    """Put the fresh folder in the place of the other, in one step where the system has one."""
    if not folder.is_dir():
        fresh.rename(folder)
    elif not _exchange(folder, fresh):
        folder.rename(stale)
        try:
            fresh.rename(folder)
        except BaseException:
            stale.rename(folder)
            raise


def _exchange(one: Path, other: Path) -> bool:
    """Whether the two folders have changed places; False where the system cannot do it."""
    exchange = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    if exchange is None:
        return False
    return bool(exchange(_AT_THIS_FOLDER, os.fsencode(one), _AT_THIS_FOLDER, os.fsencode(other), _EXCHANGE) == 0)


def copy_records(records: Iterable[RunResult], source: Path, target: Path) -> None:
    """Copy the files of these records from one folder to another."""
    for record in records:
        for file in (source / f"{record.spec.key}{suffix}" for suffix in _SUFFIXES):
            if file.is_file():
                shutil.copy(file, target)
