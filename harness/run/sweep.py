"""Sweep files: many crosses in one YAML file, as lists and ranges of everything that `harness run` takes.

    dataset: [photos, ../datasets/cifar10]
    size: 64
    epochs: 20
    releases: [1, 5, 20]                        # distinct releases, at most as many as epochs; without: as many
    seeds: 3                                    # 0, 1 and 2; a list names them
    mixing: {intra_class: [false, true]}        # of every defense that mixes
    defenses:
      - none
      - noise_mix: {sigma: {from: 10, to: 30, step: 10}}
      - mix: {weights: ["0.5,0.5", "0.75,0.25"]}
    attacks: [smooth, multi_release, {cnn: {train_epochs: 20}}]

A list is a choice: every combination is run. Several such tables in a list are run together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.records import provenance
from harness.registry import ALL, Entry, Registry, parse_settings
from harness.registry.settings import did_you_mean
from harness.run.cross import Cross
from harness.run.engine import crossed
from harness.run.options import RunOptions
from harness.system.documents import read_yaml

CHOICES = ("dataset", "size", "limit", "public_share", "epochs", "releases", "model", "recipe")
"""Keys whose list is a choice: every combination is run."""
SINGLE = ("seeds", "targets", "utility", "device", "threads")
ENTRIES = ("defenses", "attacks", "mixing")
KINDS: Mapping[str, type | tuple[type, ...]] = {
    "dataset": str,
    "model": str,
    "recipe": str,
    "device": str,
    "utility": bool,
    "public_share": (int, float),
}
_RANGE = ("from", "to", "step")
_MOST = 10_000


def crosses(
    file: Path,
    registry: Registry,
    records: Path,
    report: Callable[[str], None] = lambda _: None,
    progress: Any = None,
    **options: Any,
) -> list[Cross]:
    """The crosses of a sweep file, checked before anything runs; a data set is loaded once.

    options  fields of `RunOptions` that take the place of the file's
    """
    provenance.forget()
    found: list[Cross] = []
    for table in read(file):
        try:
            found += _crosses_of(table, registry, records, report, progress, found, options)
        except HarnessError as error:
            raise HarnessError(f"{file}: {error}") from None
    return found


def read(file: Path) -> list[dict[str, Any]]:
    """The tables of a sweep file, with their keys checked."""
    content = read_yaml(file, "sweep file")
    tables = content if isinstance(content, list) else [content]
    known = (*CHOICES, *SINGLE, *ENTRIES)
    for table in tables:
        if not isinstance(table, dict):
            raise HarnessError(f"{file}: holds no table; write defenses and attacks, and what else `harness run` takes")
        for key in table:
            if key not in known:
                raise HarnessError(f"{file}: no key {key!r}{did_you_mean(str(key), known)} (keys: {', '.join(known)})")
        for key in ("defenses", "attacks"):
            if not table.get(key):
                raise HarnessError(f"{file}: no {key}; add {key}: [NAME, ...]")
    return tables


def _crosses_of(
    table: Mapping[str, Any],
    registry: Registry,
    records: Path,
    report: Callable[[str], None],
    progress: Any,
    before: Sequence[Cross],
    options: Mapping[str, Any],
) -> list[Cross]:
    defenses = _entries("defenses", table["defenses"], registry, table.get("mixing") or {})
    attacks = _entries("attacks", table["attacks"], registry, {})
    found: list[Cross] = []
    for chosen in _run_options(table, records, options):
        chosen.check()
        same_data = (cross for cross in (*before, *found) if cross.options.data_options() == chosen.data_options())
        alike = next(same_data, None)
        found.append(crossed(chosen, registry, defenses, attacks, report, progress, alike.bench if alike else None))
    return found


def _run_options(table: Mapping[str, Any], records: Path, options: Mapping[str, Any]) -> Iterator[RunOptions]:
    fixed = {name: _checked(name, table[name]) for name in SINGLE if table.get(name) is not None}
    choices = {name: [_checked(name, v) for v in _values(name, table[name])] for name in CHOICES if name in table}
    for chosen in itertools.product(*choices.values()):
        of_file = fixed | dict(zip(choices, chosen, strict=True))
        values = (*of_file.items(), *options.items())
        yield replace(RunOptions(records=records), **{name: value for name, value in values if value is not None})


def _checked(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "seeds" and isinstance(value, list):
        if not value or len(set(map(str, value))) < len(value) or not all(_is_whole(seed) for seed in value):
            raise HarnessError(f"seeds {value!r}: write how many, or a list of different whole numbers from 0")
        return tuple(value)
    kind = KINDS.get(name, int)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        what = {str: "text", bool: "true or false", int: "a whole number"}.get(kind, "a number")  # type: ignore[arg-type]
        raise HarnessError(f"{name} {value!r} is not {what}")
    return value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _entries(section: str, given: Any, registry: Registry, mixing: Mapping[str, Any]) -> list[Entry]:
    """Every entry of a list of names and of {name: knobs}, once for each combination of its knobs' values."""
    found: dict[str, Entry] = {}
    for item in given if isinstance(given, list) else [given]:
        named = item if isinstance(item, dict) else {item: {}}
        for name, knobs in named.items():
            if not isinstance(knobs, dict | None):
                raise HarnessError(f"{section}: {name} is {knobs!r}; write its knobs as {{knob: value}}")
            every = registry.section(section).values() if name == ALL else [registry.get(section, str(name))]
            for setting in (setting for entry in every for setting in _settings(entry, knobs or {}, mixing)):
                found.setdefault(repr(setting), setting)
    return list(found.values())


def _settings(entry: Entry, knobs: Mapping[str, Any], mixing: Mapping[str, Any]) -> Iterator[Entry]:
    mixes = entry.mixing is not None and entry.mixing["weights"] != [1.0]
    settings = {**(mixing if mixes else {}), **knobs}
    every = {knob: _knob_values(entry, knob, value) for knob, value in settings.items()}
    for chosen in itertools.product(*every.values()):
        yield entry.with_settings(dict(zip(every, chosen, strict=True)))


def _knob_values(entry: Entry, knob: str, value: Any) -> list[Any]:
    """The values of one knob. Text is parsed as after -D; a flat list for a knob that is itself a list is one value."""
    default = {**entry.params, **(entry.mixing or {})}.get(knob)
    if isinstance(default, list) and isinstance(value, list) and not any(isinstance(v, list | str) for v in value):
        return [value]
    name = f"{entry.name}: {knob}"
    return [parse_settings([f"{knob}={v}"])[knob] if isinstance(v, str) else v for v in _values(name, value)]


def _values(name: str, value: Any) -> list[Any]:
    """The values of a list, of a range, or the single one."""
    if isinstance(value, list):
        if not value:
            raise HarnessError(f"{name}: an empty list; name one value or more")
        return value
    if isinstance(value, dict) and set(value) & set(_RANGE):
        return _range(name, value)
    return [value]


def _range(name: str, given: Mapping[str, Any]) -> list[Any]:
    valid = set(given) == set(_RANGE) and all(
        isinstance(each, (int, float)) and not isinstance(each, bool) for each in given.values()
    )
    if not valid or given["step"] <= 0 or given["to"] < given["from"]:
        raise HarnessError(f"{name}: range {dict(given)}; write {{from: 5, to: 25, step: 5}}, upwards")
    count = int((given["to"] - given["from"]) / given["step"] + 1e-9) + 1
    if count > _MOST:
        raise HarnessError(f"{name}: range {dict(given)} has {count} values; use a larger step")
    return [round(given["from"] + number * given["step"], 12) for number in range(count)]
