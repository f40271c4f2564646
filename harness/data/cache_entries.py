"""What the user's cache folder holds, and its removal but for what a running process uses."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.cache import INDEX, facts_in, held_by_nobody
from harness.system.files import write_private
from harness.system.private import keeps_nothing, private_folder

IMAGES, DOWNLOADS, ANSWERS, OTHER = "images", "downloads", "answers", "other"
KINDS = (IMAGES, DOWNLOADS, ANSWERS)
PLACES = "places"
"""Where on this machine data sets were found: a file for each fingerprint, of mode 0600."""
_TRIES = 5
_FOLDERS = {"roles": IMAGES, "pictures": IMAGES, "decoded": IMAGES, "downloads": DOWNLOADS, "vision": ANSWERS}


@dataclass(frozen=True)
class CacheEntry:
    """Something that is kept, and removed as a whole.

    kind    images (decoded), downloads (archives and what is unpacked of them), answers (of a paid service), or other
    what    in words
    source  the folder that the images are of; None: they are of no folder, or it does not say
    used    seconds since 1970 when it was written or used last
    in_use  whether a running process holds it
    """

    kind: str
    what: str
    source: str | None
    place: Path
    bytes: int
    used: float
    in_use: bool


def entries(cache: Path) -> list[CacheEntry]:
    """Everything in the cache folder, in the order of the names; nothing where there is none. Raises OSError."""
    found = []
    for top in sorted(cache.iterdir()) if cache.is_dir() else ():
        kind = IMAGES if top.name == PLACES else _FOLDERS.get(top.name, OTHER)
        inside = top.name in _FOLDERS and top.is_dir() and not top.is_symlink()
        for place in sorted(top.iterdir()) if inside else (top,):
            with contextlib.suppress(FileNotFoundError):  # removed or finished since
                found.append(_entry(place, kind, top.name))
    return found


def _entry(place: Path, kind: str, top: str) -> CacheEntry:
    what, source = _described(place, top)
    index = place / INDEX
    used = max(place.lstat().st_mtime, index.stat().st_mtime if index.is_file() else 0.0)
    return CacheEntry(kind, what, source, place, _size(place), used, _is_held(place))


def note_place(cache: Path, fingerprint: str, place: str) -> None:
    """Keep where the images of this fingerprint were found, for the user alone; nothing where that cannot be written.

    place  what `--dataset` takes: a path that does not depend on the current folder
    """
    if multiprocessing.parent_process() is not None or place_of(cache, fingerprint) == place:
        return
    file, text = _place_file(cache, fingerprint), json.dumps({"dataset": place})
    with contextlib.suppress(OSError, UnicodeEncodeError):  # it is only a convenience
        private_folder(file.parent)
        write_private(file, lambda opened: opened.write(text.encode()), replace=True)


def place_of(cache: Path, fingerprint: str) -> str | None:
    """Where the images of this fingerprint were found last; None where that is not known or nothing is kept."""
    if keeps_nothing():
        return None
    try:
        found = json.loads(_place_file(cache, fingerprint).read_bytes())["dataset"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) and found.strip() else None


def _place_file(cache: Path, fingerprint: str) -> Path:
    """A record's fingerprint may be anything: its hash is the file's name."""
    return cache / PLACES / hashlib.sha256(fingerprint.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def clear(chosen: Sequence[CacheEntry]) -> tuple[list[CacheEntry], list[CacheEntry]]:
    """Remove these; the entries that are gone now, and those that stay because a running process uses them.

    Raises OSError.
    """
    gone: list[CacheEntry] = []
    kept: list[CacheEntry] = []
    for entry in chosen:
        with contextlib.ExitStack() as stack:
            free = [stack.enter_context(held_by_nobody(each)) for each in _lockable(entry.place)]
            (kept if False in free else gone).append(entry)
            if False not in free:
                with contextlib.suppress(FileNotFoundError):  # removed or finished since
                    _remove(entry.place)
    return gone, kept


def _remove(place: Path) -> None:
    """At once: an interruption leaves no half of it under its name."""
    if place.is_symlink() or not place.is_dir():
        place.unlink(missing_ok=True)
        return
    renamed = place.with_name(f"{place.name}.{uuid.uuid4().hex[:8]}.tmp")
    place.rename(renamed)
    for more in reversed(range(_TRIES)):
        try:
            shutil.rmtree(renamed)
            return
        except OSError as error:  # a run that had found the folder under its name has just put a file into it
            if error.errno != errno.ENOTEMPTY or not more:
                raise


def _described(place: Path, top: str) -> tuple[str, str | None]:
    """What it is in words, and the folder that it is of."""
    if top == "downloads":
        return f"download {place.name}", None
    if top == PLACES:
        return "places of data sets, for harness rerun", None
    if top == "vision":
        return f"paid answers of {place.name}", None
    if top not in _FOLDERS:
        return "nothing that this version keeps", None
    if place.suffix in (".tmp", ".corrupt"):
        return "unfinished images" if place.suffix == ".tmp" else "damaged images", None
    try:
        about: dict[str, Any] = facts_in(place)["about"]
        settings = [f"{name} {about[name]}" for name in ("size", "limit") if about[name] is not None]
        return ", ".join([f"images of {about['name']}", *settings]), about["path"]
    except (OSError, ValueError, KeyError, TypeError):
        return "images of an older version, or damaged", None


def _size(place: Path) -> int:
    """Bytes of all files."""
    if not place.is_dir() or place.is_symlink():
        return place.lstat().st_size
    total = 0
    for folder, _, files in os.walk(place):
        for name in files:
            with contextlib.suppress(OSError):  # removed since
                total += Path(folder, name).lstat().st_size
    return total


def _is_held(place: Path) -> bool:
    for each in _lockable(place):
        with held_by_nobody(each) as free:
            if free is False:
                return True
    return False


def _lockable(place: Path) -> Iterator[Path]:
    """What a process that uses the entry holds a lock on: folders with an index, unfinished ones, lock files."""
    yield place
    if place.is_dir() and not place.is_symlink():
        for folder, names, files in os.walk(place):
            for name in names:
                if name.endswith(".tmp") or Path(folder, name, INDEX).is_file():
                    yield Path(folder, name)
            yield from (Path(folder, name) for name in files if name.endswith(".lock"))
