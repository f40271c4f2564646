"""Cached folders of files with a checked index.

A folder is written under a temporary name and renamed, so an interrupted run or two runs at once leave no incomplete
one. Its `index` holds a checksum, the facts about the folder and the length of every other file. A folder that
disagrees with its index is reported in a warning, renamed to `*.corrupt` and made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from harness.errors import HarnessError

Facts: TypeAlias = dict[str, Any]

INDEX = "index"
ABANDONED_AFTER = 3600.0  # seconds without a write after which a temporary folder counts as a killed run's
log = logging.getLogger("harness")


def cached(folder: Path, write: Callable[[Path], Facts], is_valid: Callable[[Facts], bool]) -> Facts:
    """The facts about `folder`, which `write` fills first where it is missing or damaged.

    write     fills the folder that it is given and returns the facts: anything that JSON takes
    is_valid  whether the facts agree with the files
    """
    facts = _read(folder, is_valid)
    return _make(folder, write) if facts is None else facts


def _read(folder: Path, is_valid: Callable[[Facts], bool]) -> Facts | None:
    if not folder.is_dir():
        return None
    try:
        checksum, _, text = (folder / INDEX).read_text().partition("\n")
        if checksum != _checksum(text):
            raise ValueError("does not match its checksum")
        facts: Facts
        facts, lengths = json.loads(text)
        if lengths != _lengths(folder):
            reason = "a file is missing or has the wrong length"
        elif not is_valid(facts):
            reason = "the images do not match their hashes"
        else:
            return facts
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"its {INDEX}: {error}"
    damaged = folder.with_name(folder.name + ".corrupt")
    log.warning("cache %s is damaged (%s): set aside as %s and made again", folder, reason, damaged.name)
    try:
        shutil.rmtree(damaged, ignore_errors=True)
        folder.rename(damaged)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return None


def _make(folder: Path, write: Callable[[Path], Facts]) -> Facts:
    temporary = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        _remove_abandoned(folder.parent)
        facts = write(temporary)
        text = json.dumps([facts, _lengths(temporary)])
        (temporary / INDEX).write_text(f"{_checksum(text)}\n{text}")
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was faster and wrote the same
                raise
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return facts


def _remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders of killed runs: a run that is alive writes into its own all the time."""
    for leftover in parent.glob("*.tmp"):
        try:
            newest = max(path.stat().st_mtime for path in (leftover, *leftover.iterdir()))
        except OSError:
            continue
        if time.time() - newest > ABANDONED_AFTER:
            shutil.rmtree(leftover, ignore_errors=True)


def _lengths(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != INDEX}


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _unwritable(folder: Path, error: OSError) -> HarnessError:
    reason = error.strerror or str(error)
    return HarnessError(f"cannot write the cache {folder}: {reason}; free some space or set XDG_CACHE_HOME elsewhere")
