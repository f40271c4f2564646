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
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct, to_builtins

from harness.errors import HarnessError
from harness.records import provenance
from harness.registry import ALL, Entry, Registry, parse_settings
from harness.run.bench import Bench
from harness.run.cross import Cross
from harness.run.engine import check_plugins, crossed
from harness.run.options import RunOptions, check_training
from harness.system.documents import read_yaml
from harness.system.numbers import MOST
from harness.system.schema import decode, shown

MOST_VALUES = 10_000
"""Values of one list or range, entries of one table after their knobs' values are combined."""
MOST_CROSSES = 1_000
"""Combinations of data sets, sizes, epochs, ... of one file."""
_RANGE = ("from", "to", "step")
_Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=4096)]
_Number: TypeAlias = Annotated[float, Meta(ge=-1e15, le=1e15)]
_Whole: TypeAlias = Annotated[int, Meta(ge=-(10**15), le=10**15)]
_Seed: TypeAlias = Annotated[int, Meta(ge=0, le=MOST["seed"])]


class Wholes(Struct, forbid_unknown_fields=True, rename={"start": "from"}):
    """{from: 5, to: 25, step: 5}"""

    start: _Whole
    to: _Whole
    step: _Whole


class Numbers(Struct, forbid_unknown_fields=True, rename={"start": "from"}):
    """{from: 0.1, to: 0.5, step: 0.1}"""

    start: _Number
    to: _Number
    step: _Number


_TEXTS = "text, or a list of texts"
_WHOLES = "a whole number, a list of them, or a range such as {from: 5, to: 25, step: 5}"
_NUMBERS = "a number, a list of them, or a range such as {from: 0.1, to: 0.5, step: 0.1}"
_Several = Meta(min_length=1, max_length=MOST_VALUES)
_Texts: TypeAlias = Annotated[_Text | Annotated[list[_Text | None], _Several] | None, Meta(description=_TEXTS)]
_Wholes: TypeAlias = Annotated[
    _Whole | Annotated[list[_Whole | None], _Several] | Wholes | None, Meta(description=_WHOLES)
]
_Numbers: TypeAlias = Annotated[
    _Number | Annotated[list[_Number | None], _Several] | Numbers | None, Meta(description=_NUMBERS)
]
_Knobs: TypeAlias = Annotated[dict[_Text, Any], Meta(max_length=1000)]
_OwnKnobs: TypeAlias = Annotated[_Knobs | None, Meta(description="its knobs as a table")]
_Named: TypeAlias = Annotated[dict[_Text, _OwnKnobs], Meta(min_length=1, max_length=1000)]
_Entries: TypeAlias = _Text | _Named | Annotated[list[_Text | _Named], Meta(min_length=1, max_length=1000)]


class Table(Struct, forbid_unknown_fields=True, kw_only=True):
    """One table of a sweep file. In the first group a list is a choice: every combination is run."""

    dataset: _Texts = None
    size: _Wholes = None
    limit: _Wholes = None
    public_share: _Numbers = None
    epochs: _Wholes = None
    releases: _Wholes = None
    model: _Texts = None
    recipe: _Texts = None
    checkpoint: _Texts = None

    seeds: Annotated[
        _Whole | Annotated[list[_Seed], Meta(min_length=1, max_length=MOST["seeds"])] | None,
        Meta(description="how many, or a list of different whole numbers from 0"),
    ] = None
    targets: _Whole | None = None
    utility: bool | None = None
    device: _Text | None = None
    name: _Text | None = None
    threads: _Whole | None = None

    defenses: _Entries
    attacks: _Entries
    mixing: _Knobs | None = None


CHOICES = ("dataset", "size", "limit", "public_share", "epochs", "releases", "model", "recipe", "checkpoint")
SINGLE = ("seeds", "targets", "utility", "device", "threads", "name")


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
    benches: dict[RunOptions, Bench] = {}
    for table in read(file):
        try:
            found += _crosses_of(table, registry, records, report, progress, benches, options)
        except HarnessError as error:
            raise HarnessError(f"{file}: {error}") from None
    try:
        check_plugins(found)
    except HarnessError as error:
        raise HarnessError(f"{file}: {error}") from None
    return found


def read(file: Path) -> list[Table]:
    """The tables of a sweep file, each field of its type."""
    content = read_yaml(file, "sweep file")
    if not isinstance(content, list | dict) or not content:
        raise HarnessError(f"{file}: holds no table; write defenses and attacks, and what else `harness run` takes")
    if isinstance(content, dict):
        return [decode(content, Table, str(file))]
    if len(content) > MOST_CROSSES:
        raise HarnessError(f"{file}: {len(content)} tables; {MOST_CROSSES:,} at most are read, split the file")
    return [decode(table, Table, f"{file}: table {place}") for place, table in enumerate(content, 1)]


def _crosses_of(
    table: Table,
    registry: Registry,
    records: Path,
    report: Callable[[str], None],
    progress: Any,
    benches: dict[RunOptions, Bench],
    options: Mapping[str, Any],
) -> list[Cross]:
    """benches  by what they load, of the tables before; those of this one are added"""
    defenses = _entries("defenses", table.defenses, registry, table.mixing or {})
    attacks = _entries("attacks", table.attacks, registry, {})
    for attack in attacks:
        if attack.params != registry.get("attacks", attack.name).params:
            check_training(attack.params)
    found: list[Cross] = []
    for chosen in _run_options(table, records, options):
        chosen.check()
        same_data = benches.get(chosen.data_options())
        found.append(crossed(chosen, registry, defenses, attacks, report, progress, same_data))
        benches.setdefault(chosen.data_options(), found[-1].bench)
    return found


def _run_options(table: Table, records: Path, options: Mapping[str, Any]) -> Iterator[RunOptions]:
    fixed = {name: getattr(table, name) for name in SINGLE}
    if isinstance(fixed["seeds"], list):
        if len(set(fixed["seeds"])) < len(fixed["seeds"]):
            raise HarnessError(f"seeds {shown(fixed['seeds'])}: write how many, or a list of different whole numbers")
        fixed["seeds"] = tuple(fixed["seeds"])
    choices = {
        name: _values(name, to_builtins(value)) for name in CHOICES if (value := getattr(table, name)) is not None
    }
    if fixed["name"] is not None and len(choices.get("dataset", [])) > 1:
        raise HarnessError(
            f"name {shown(fixed['name'])} is for one data set, and dataset lists several; use a table each"
        )
    _refuse_more(math.prod(map(len, choices.values())), MOST_CROSSES, "combinations of " + ", ".join(choices))
    for chosen in itertools.product(*choices.values()):
        of_file = fixed | dict(zip(choices, chosen, strict=True))
        if of_file.get("checkpoint") is not None:
            of_file["checkpoint"] = Path(of_file["checkpoint"])
        values = (*of_file.items(), *options.items())
        yield replace(RunOptions(records=records), **{name: value for name, value in values if value is not None})


def _refuse_more(count: int, most: int, what: str) -> None:
    if count > most:
        raise HarnessError(f"{count:,} {what}; {most:,} at most are run, name fewer")


def _entries(section: str, given: Any, registry: Registry, mixing: Mapping[str, Any]) -> list[Entry]:
    """Every entry of a list of names and of {name: knobs}, once for each combination of its knobs' values."""
    found: dict[str, Entry] = {}
    for item in given if isinstance(given, list) else [given]:
        named = item if isinstance(item, dict) else {item: None}
        for name, knobs in named.items():
            every = registry.section(section).values() if name == ALL else [registry.get(section, name)]
            for setting in (setting for entry in every for setting in _settings(entry, knobs or {}, mixing)):
                found.setdefault(repr(setting), setting)
                _refuse_more(len(found), MOST_VALUES, f"{section} with their knobs")
    return list(found.values())


def _settings(entry: Entry, knobs: Mapping[str, Any], mixing: Mapping[str, Any]) -> Iterator[Entry]:
    mixes = entry.mixing is not None and entry.mixing["weights"] != [1.0]
    settings = {**(mixing if mixes else {}), **knobs}
    every = {knob: _knob_values(entry, knob, value) for knob, value in settings.items()}
    _refuse_more(math.prod(map(len, every.values())), MOST_VALUES, f"combinations of knobs of {entry.name}")
    for chosen in itertools.product(*every.values()):
        yield entry.with_settings(dict(zip(every, chosen, strict=True)))


def _knob_values(entry: Entry, knob: str, value: Any) -> list[Any]:
    """The values of one knob. Text is parsed as after -D; a flat list for a knob that is itself a list is one value."""
    if knob not in entry.knobs:
        entry.with_settings({knob: None})  # raises, and lists the knobs
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
        _refuse_more(len(value), MOST_VALUES, f"values of {name}")
        return value
    if isinstance(value, dict) and set(value) & set(_RANGE):
        return _range(name, value)
    return [value]


def _range(name: str, given: Mapping[str, Any]) -> list[Any]:
    valid = set(given) == set(_RANGE) and all(
        isinstance(each, (int, float)) and not isinstance(each, bool) and abs(each) <= 1e15 for each in given.values()
    )
    if not valid or given["step"] <= 0 or given["to"] < given["from"]:
        raise HarnessError(f"{name}: range {shown(given)}; write {{from: 5, to: 25, step: 5}}, upwards")
    steps = (given["to"] - given["from"]) / given["step"] + 1e-9
    if not steps < MOST_VALUES:
        raise HarnessError(f"{name}: range {shown(given)} has over {MOST_VALUES:,} values; use a larger step")
    return [round(given["from"] + number * given["step"], 12) for number in range(int(steps) + 1)]
