"""What a record keeps of what made it: entries resolved, data, code, versions. Nothing that names a machine."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from harness.registry import Entry, plugin_modules, source_hash
from harness.registry.source import reachable_modules
from harness.types import Splits

REACHED = {
    "release": ("harness.release", "harness.statistics", "harness.images.thumbnails"),
    "utility": ("harness.release", "harness.statistics", "harness.train", "harness.train.networks"),
    "attack": (
        "harness.statistics",
        "harness.observation",
        "harness.train",
        "harness.train.networks",
        "harness.images.thumbnails",
        "harness.train.memo",
    ),
}
"""The harness modules on the path of each kind of record, with whatever of the harness they import."""

ALONE = {
    "release": ("harness.client.client", "harness.run.work", "harness.run.scoring", "harness.client.gallery"),
    "utility": ("harness.client.client", "harness.run.work"),
    "attack": ("harness.client.client", "harness.run.work", "harness.run.scoring", "harness.client.gallery"),
}
"""And those that tie them together, without what they import (the registry, say, changes no figure)."""
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "scipy", "opencv-python-headless", "piq")


def resolved(entry: Entry) -> dict[str, Any]:
    """An entry as it runs, without its citation."""
    kept: dict[str, Any] = {"name": entry.name, "use": entry.use, "version": entry.version, "params": entry.params}
    for name in ("mixing", "traits", "granted", "kind"):
        value = getattr(entry, name)
        if value:
            kept[name] = list(value) if isinstance(value, tuple) else value
    return kept


def described(splits: Splits) -> dict[str, Any]:
    """Which images in which roles."""
    height, width = splits.size
    return {
        "name": splits.name,
        "fingerprint": splits.fingerprint,
        "height": height,
        "width": width,
        "classes": len(splits.classes),
        "private": len(splits.private),
        "public": len(splits.public),
        "test": len(splits.test),
    }


def code(kind: str, entries: Iterable[Entry]) -> str:
    """One hash over the plugins' modules and the harness modules on the path of this kind of record.

    Comments, docstrings and formatting do not count. Read once in a run:
    what is edited while it runs is not what it runs.
    """
    entries = list(entries)
    asked = (kind, *(entry.use for entry in entries))
    if asked not in _read:
        modules = {module for entry in entries for module in plugin_modules(entry)}
        _read[asked] = source_hash([*modules, *_path(kind)])[:24]
    return _read[asked]


_read: dict[tuple[str, ...], str] = {}


def forget() -> None:
    """A new run begins: read the code again."""
    _read.clear()
    _path.cache_clear()


@lru_cache(maxsize=8)
def _path(kind: str) -> tuple[str, ...]:
    return (*reachable_modules(REACHED[kind]), *ALONE[kind])


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Of the libraries that can move a figure; without the build's local part (+cpu, +cu132)."""
    return {name: importlib.metadata.version(name).split("+")[0] for name in LIBRARIES}
