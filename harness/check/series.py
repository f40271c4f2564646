"""Which records of a baseline and of a new run are the same piece of work, whatever code wrote them.

A series is one piece of work (release, utility, attack) on one defense, over its seeds. Code, versions, threads and
precision do not tell series apart: they are what a check looks through.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.leaderboard.format import settings
from harness.records import RunResult

_WORST_FIRST = ("failed", "skipped", "inapplicable", "ok")
_COMPARABLE = {"dataset": "images", "device": "device", "targets": "choice of targets", "epochs": "epochs"}


@dataclass(frozen=True)
class Series:
    """One piece of work; `records` holds the newest of every seed, in the order of seeds."""

    records: Mapping[int, RunResult]

    @property
    def inputs(self) -> Mapping[str, Any]:
        return next(iter(self.records.values())).inputs

    @property
    def kind(self) -> str:
        return next(iter(self.records.values())).spec.kind

    @property
    def defense(self) -> Mapping[str, Any]:
        entry: Mapping[str, Any] = self.inputs["defense"]
        return entry

    @property
    def attack(self) -> Mapping[str, Any] | None:
        return self.inputs.get("attack")

    @property
    def names(self) -> tuple[str, ...]:
        return (self.kind, self.defense["name"], self.attack["name"] if self.attack else "")

    @property
    def settings(self) -> dict[str, Any]:
        """Every knob by its name as -D and -A take it."""
        mine = {**self.defense["params"], **(self.defense.get("mixing") or {})}
        entry = self.attack or self.inputs.get("utility") or {}
        return mine | {f"{self.names[2] or self.kind}.{name}": value for name, value in entry.get("params", {}).items()}

    @property
    def sound(self) -> dict[int, RunResult]:
        return {seed: record for seed, record in self.records.items() if record.status == "ok"}

    @property
    def worst(self) -> RunResult:
        """The record that says why the series is not ok on every seed."""
        return min(self.records.values(), key=lambda record: _WORST_FIRST.index(record.status))

    @property
    def arrays(self) -> set[str]:
        """What has been measured on every sound seed."""
        measured = [set(record.arrays) - {"units"} for record in self.sound.values()]
        return set.intersection(*measured) if measured else set()


@dataclass(frozen=True)
class Match:
    """A series in the baseline, in the new run, or in both.

    name    how it is called, with the settings where two series have the same name
    before  the baseline's, None where it has none
    after   the new run's, None where that is missing
    moved   the settings that changed: "sigma 20 -> 10"
    """

    name: str
    before: Series | None
    after: Series | None
    moved: tuple[str, ...] = ()

    @property
    def incomparable(self) -> str | None:
        """What of the two is not the same, so that their figures cannot be held together."""
        if self.before is None or self.after is None:
            return None
        old, new = self.before.inputs, self.after.inputs
        other = [said for part, said in _COMPARABLE.items() if _scope(old, part) != _scope(new, part)]
        return f"{', '.join(f'other {said}' for said in other)} than the baseline's" if other else None


def matched(before: Iterable[RunResult], after: Iterable[RunResult]) -> list[Match]:
    """Every series of both sides, first by its settings, then by its name where only one is left on either side."""
    old, new = series_of(before), series_of(after)
    same = [key for key in old if key in new]
    pairs: list[tuple[Series | None, Series | None]] = [(old.pop(key), new.pop(key)) for key in same]
    left: dict[tuple[str, ...], tuple[list[Series], list[Series]]] = defaultdict(lambda: ([], []))
    for side, rest in enumerate((old, new)):
        for series in rest.values():
            left[series.names][side].append(series)
    for gone, come in left.values():
        if len(gone) == len(come) == 1:
            pairs.append((gone[0], come[0]))
        else:
            pairs += [*((series, None) for series in gone), *((None, series) for series in come)]
    return _named(pairs)


def series_of(records: Iterable[RunResult]) -> dict[str, Series]:
    """By everything that says what was asked for, but the seed."""
    found: dict[str, dict[int, RunResult]] = defaultdict(dict)
    for record in records:
        seeds, seed = found[_asked(record)], record.inputs["seed"]
        if seed not in seeds or _worth(seeds[seed]) <= _worth(record):
            seeds[seed] = record
    return {key: Series(dict(sorted(seeds.items()))) for key, seeds in found.items()}


def _asked(record: RunResult) -> str:
    series = Series({0: record})
    scope = [_scope(record.inputs, part) for part in _COMPARABLE]
    return json.dumps([series.names, series.settings, scope], sort_keys=True)


def _scope(inputs: Mapping[str, Any], part: str) -> Any:
    return inputs["dataset"]["fingerprint"] if part == "dataset" else inputs.get(part)


def _worth(record: RunResult) -> tuple[bool, str]:
    """A failure never hides a success; of two successes the newer counts."""
    return record.status == "ok", record.finished


def _named(pairs: Sequence[tuple[Series | None, Series | None]]) -> list[Match]:
    shown = [after or before for before, after in pairs]
    names = [_short(series) for series in shown if series]
    found = []
    for (before, after), series, name in zip(pairs, shown, names, strict=True):
        told = f"{name} ({settings(series.settings)})" if series and names.count(name) > 1 else name
        found.append(Match(told, before, after, _moved(before, after)))
    return found


def _short(series: Series) -> str:
    kind, defense, attack = series.names
    return f"{defense} x {attack}" if attack else f"{defense} {kind}"


def _moved(before: Series | None, after: Series | None) -> tuple[str, ...]:
    if before is None or after is None:
        return ()
    old, new = before.settings, after.settings
    return tuple(
        f"{name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    )
