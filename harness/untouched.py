"""Records read where nothing may be moved or written: to verify tables, and to repeat a cell.

`Records` sets a damaged file aside under another name. Here it is left as it is, and named.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

from harness.errors import HarnessError
from harness.records import KEY_LENGTH, Records, RunResult

log = logging.getLogger("harness")


def read_all(folder: Path) -> list[RunResult]:
    """Every record of a folder, in the order of their names; a damaged one is an error."""
    return _read(folder, sorted(folder.glob("[0-9a-f]" * KEY_LENGTH + ".json")))


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
    (record,) = _read(path.parent, [path])
    return record


def _read(folder: Path, paths: Iterable[Path]) -> list[RunResult]:
    """Through links in a folder of their own: what is set aside there is a link."""
    read = []
    with tempfile.TemporaryDirectory() as scratch:
        elsewhere = Records(Path(scratch))
        for path in paths:
            for file in (path, path.with_suffix(".npz")):
                if file.exists():
                    (elsewhere.folder / file.name).symlink_to(file.resolve())
        silent, log.disabled = log.disabled, True
        try:
            read = list(elsewhere.all())
        finally:
            log.disabled = silent
    missing = sorted({path.stem for path in paths} - {record.spec.key for record in read})
    if missing:
        raise HarnessError(
            f"record {folder / missing[0]}.json is damaged, of another format, or lacks its numbers (.npz beside it); "
            "restore it, or remove it and run that cell again"
        )
    return read
