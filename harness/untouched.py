"""Records read where nothing may be moved or written: to verify tables, and to repeat a cell.

`Records` sets a damaged file aside under another name. Here it is left as it is, and named.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError
from harness.records import DamageError, RunResult, paths, read


def read_all(folder: Path) -> list[RunResult]:
    """Every record of a folder, in the order of their names; a damaged one is an error."""
    return [_read(path) for path in paths(folder)]


def read_one(given: str, folder: Path) -> RunResult:
    """One record: the path of its JSON file, or its key in `folder`, of which a beginning is enough."""
    path = Path(given)
    if path.suffix != ".json":
        found = sorted(folder.glob(f"{given}*.json")) if given.isalnum() else []
        if len(found) != 1:
            said = f"{len(found)} records begin so" if found else "there is none"
            raise HarnessError(f"record {given}: {said} in {folder}; give its file, or its key with --records")
        (path,) = found
    if not path.is_file():
        raise HarnessError(f"record {path}: there is no such file; give a record's JSON file, or its key")
    return _read(path)


def _read(path: Path) -> RunResult:
    try:
        return read(path)
    except DamageError as fault:
        raise HarnessError(
            f"record {path} is damaged, or of another format ({fault}); "
            "restore it, or remove it and run that cell again"
        ) from None
