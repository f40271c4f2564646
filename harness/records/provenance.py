"""What made a record: entries as they ran, data, code, versions. Nothing that names a machine, a module or a file.

What goes into a record's identity is decided here: `resolved` for plugins, `described` for images, `code` for all that
runs, as one hash of definitions (`records.definitions`). `store.RunSpec.key` hashes the whole.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from harness.errors import HarnessError
from harness.records import definitions
from harness.records.store import RunResult
from harness.registry import Entry, Registry
from harness.registry.entry import SECTIONS
from harness.registry.own_networks import find_network
from harness.types import Splits

ROOTS = {
    "obfuscation": (("harness.release", "obfuscate"),),
    "release": (("harness.run.work", "measure_release"),),
    "utility": (("harness.run.work", "train_utility"),),
    "attack": (("harness.run.work", "run_attack"),),
}
"""The functions that make a figure, by kind of record; `obfuscation` makes the release that all kinds start from."""
LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "piq",
    "scikit-image",
    "scikit-learn",
)
EXTERNAL = "external:"
"""How the name of an outside submission begins: no plugin made it, it is only scored."""
_SCORED = ("harness.run.scoring", "score")
_PLUGINS = (
    ("defenses", "defense"),
    ("metrics", "distortion"),
    ("attacks", "attack"),
    ("metrics", "metrics"),
    ("evaluators", "judges"),
    ("evaluators", "utility"),
)
"""Where a record's inputs name plugins: the section of the registry, and the input."""


def resolved(entry: Entry) -> dict[str, Any]:
    """An entry as it runs: its citation and the place of its code change no figure."""
    kept: dict[str, Any] = {"name": entry.name, "version": entry.version, "params": entry.params}
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
    """One hash over the definitions that these plugins and this kind of record depend on (`records.definitions`).

    Read once in a run: what is edited while it runs is not what it runs.
    """
    roots = sorted({*ROOTS[kind], *map(_root, entries)})
    asked = (kind, *(f"{module}:{name}" for module, name in roots))
    if asked not in _read:
        _read[asked] = definitions.code_hash(roots)[:24]
    return _read[asked]


_read: dict[tuple[str, ...], str] = {}


def _root(entry: Entry) -> tuple[str, str]:
    return _SCORED if entry.name.startswith(EXTERNAL) else (entry.module, entry.function)


def forget() -> None:
    """A new run begins: read the code again."""
    _read.clear()
    definitions.forget()


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Of the libraries that can move a figure; without the build's local part (+cpu, +cu132)."""
    return {name: importlib.metadata.version(name).split("+")[0] for name in LIBRARIES}


@dataclass(frozen=True)
class CodeAtHand:
    """Tells whether records were made by the code that is installed, with the plugins of a registry."""

    registry: Registry

    def __post_init__(self) -> None:
        forget()  # the code as it is now

    def made_release(self, record: RunResult) -> bool | None:
        """Whether the record starts from a release of this code; None where its defense is not in the registry."""
        if "published" in record.inputs["defense"]:
            return True  # handed over as it is: its hash stands for it
        expected = self.release_code(record)
        return None if expected is None else expected == record.inputs.get("release")

    def made(self, record: RunResult) -> bool | None:
        """Whether this code would make the record's figures; None where one of its plugins is not in the registry."""
        expected = self.code(record)
        return None if expected is None else expected == record.inputs.get("code")

    def release_code(self, record: RunResult) -> str | None:
        """The hash that the code at hand would state for the record's release; None where its defense is unknown."""
        return self._code(record, "obfuscation", (("defenses", "defense"), ("metrics", "distortion")))

    def code(self, record: RunResult) -> str | None:
        """The same for all that makes its figures."""
        return self._code(record, record.spec.kind, _PLUGINS)

    def _code(self, record: RunResult, kind: str, parts: Iterable[tuple[str, str]]) -> str | None:
        entries = []
        for section, part in parts:
            held = record.inputs.get(part) or []
            for named in [held] if isinstance(held, Mapping) else held:
                entry = self._entry(section, named)
                if entry is None:
                    return None
                if entry.version != named.get("version"):
                    return ""  # no code at all: what is called so now is something else
                entries.append(entry)
        if kind == "utility":
            try:
                network = find_network(record.inputs["utility"]["params"]["model"], None, self.registry.files)
            except HarnessError:  # its function is not at hand
                return None
            entries += [network.entry] if network is not None and network.entry is not None else []
        return code(kind, entries)

    def _entry(self, section: str, named: Mapping[str, Any]) -> Entry | None:
        if named["name"].startswith(EXTERNAL):
            return Entry(named["name"], section, "", named.get("version", 1))
        found = self._sections[section].get(named["name"])
        return found or self._sections["metrics"].get(named["name"])  # which reconstructions are judged by as well

    @cached_property
    def _sections(self) -> dict[str, dict[str, Entry]]:
        return {section: self.registry.section(section) for section in SECTIONS}
