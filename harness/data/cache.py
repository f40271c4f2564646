"""Folders in the user's cache that are there whole or not at all.

A folder is written under a temporary name and renamed, so that neither an interrupted run nor two runs at once
leave half a one. Its `index` carries a checksum, the facts about it and the length of every other file; a folder
that disagrees with its index is named in a warning, set aside as `*.corrupt` and made again.
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
ABANDONED_AFTER = 3600.0  # seconds without a write until a killed run's temporary folder is swept away
log = logging.getLogger("harness")


def cached(folder: Path, write: Callable[[Path], Facts], sound: Callable[[Facts], bool]) -> Facts:
    """The facts about `folder`, which `write` fills when it is not there or not `sound`."""
    facts = _reopen(folder, sound)
    return _keep(folder, write) if facts is None else facts


def _reopen(folder: Path, sound: Callable[[Facts], bool]) -> Facts | None:
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
        elif not sound(facts):
            reason = "the images do not match their hashes"
        else:
            return facts
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"its {INDEX}: {error}"
    aside = folder.with_name(folder.name + ".corrupt")
    log.warning("cache %s is damaged (%s): set aside as %s and made again", folder, reason, aside.name)
    try:
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return None


def _keep(folder: Path, write: Callable[[Path], Facts]) -> Facts:
    temporary = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        _sweep(folder.parent)
        facts = write(temporary)
        text = json.dumps([facts, _lengths(temporary)])
        (temporary / INDEX).write_text(f"{_checksum(text)}\n{text}")
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was faster, and wrote the same
                raise
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return facts


def _sweep(parent: Path) -> None:
    """Remove what a killed run left behind; one at work writes all the time and is left alone."""
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
