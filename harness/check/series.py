"""Match the records of a baseline with those of a new run: the same piece of work, whatever code wrote them.

A series is one piece of work (release, utility, attack) on one defense, over its seeds. Records that differ in code,
versions, threads or precision belong to the same series.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.leaderboard.format import settings
from harness.records import RunResult
from harness.scores import INDEXES

_WORST_FIRST = ("failed", "skipped", "inapplicable", "ok")
PLANTED_FAULT = "planted_fault"
"""The trait of a defense that must fail: only its verdict is compared."""
_COMPARABLE = {
    "dataset": "images",
    "device": "device",
    "targets": "choice of targets",
    "epochs": "epochs",
    "releases": "number of releases",
}


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
    def planted(self) -> bool:
        """Whether the defense is a planted fault, which the verdict must catch."""
        return PLANTED_FAULT in self.defense.get("traits", [])

    @property
    def attack(self) -> Mapping[str, Any] | None:
        return self.inputs.get("attack")

    @property
    def entries(self) -> list[Mapping[str, Any]]:
        """Of the defense and of what measures it: the registry entries whose versions explain a gain in privacy."""
        return [self.defense, *self.inputs.get("metrics", []), *self.inputs.get("judges", [])]

    def attacks(self, release: Series) -> bool:
        """Whether it is an attack on this release; one that is not granted all R releases says nothing of R."""
        if self.kind != "attack" or self.defense != release.defense:
            return False
        alike = all(
            _scope(self.inputs, part) == _scope(release.inputs, part) for part in ("dataset", "device", "targets")
        )
        return alike and _scope(self.inputs, "releases") in (None, _scope(release.inputs, "releases"))

    @property
    def names(self) -> tuple[str, ...]:
        return (self.kind, self.defense["name"], self.attack["name"] if self.attack else "")

    @property
    def settings(self) -> dict[str, Any]:
        """Every knob by its name as -D and -A take it."""
        own = {**self.defense["params"], **(self.defense.get("mixing") or {})}
        entry = self.attack or self.inputs.get("utility") or {}
        return own | {f"{self.names[2] or self.kind}.{name}": value for name, value in entry.get("params", {}).items()}

    @property
    def ok_records(self) -> dict[int, RunResult]:
        """By seed, those with status ok."""
        return {seed: record for seed, record in self.records.items() if record.status == "ok"}

    @property
    def worst_record(self) -> RunResult:
        """The record that says why the series is not ok on every seed."""
        return min(self.records.values(), key=lambda record: _WORST_FIRST.index(record.status))

    @property
    def arrays(self) -> set[str]:
        """The arrays that every ok record has, without those that say which images they are of."""
        measured = [set(record.arrays) - set(INDEXES) for record in self.ok_records.values()]
        return set.intersection(*measured) if measured else set()


@dataclass(frozen=True)
class Match:
    """A series in the baseline, in the new run, or in both.

    name              with the settings where two series have the same name
    before            the baseline's, None where it has none
    after             the new run's, None where it has none
    changed_settings  such as "sigma 20 -> 10"
    """

    name: str
    before: Series | None
    after: Series | None
    changed_settings: tuple[str, ...] = ()

    @property
    def planted(self) -> bool:
        return any(side.planted for side in (self.before, self.after) if side)

    @property
    def not_comparable(self) -> str | None:
        """What differs between the two, so that their figures cannot be compared; None where nothing does."""
        if self.before is None or self.after is None:
            return None
        old, new = self.before.inputs, self.after.inputs
        differ = [part for part in _COMPARABLE if _scope(old, part) != _scope(new, part)]
        if self.before.kind == "release" and None in (_scope(old, "releases"), _scope(new, "releases")):
            differ = [part for part in differ if part != "releases"]  # older records, which measured release 0
        other = [_COMPARABLE[part] for part in differ]
        return f"{', '.join(f'other {name}' for name in other)} than the baseline's" if other else None


def match_series(before: Iterable[RunResult], after: Iterable[RunResult]) -> list[Match]:
    """Every series of both sides, matched by settings, then by name where each side has one unmatched series of it."""
    old, new = series_of(before), series_of(after)
    same = [key for key in old if key in new]
    pairs: list[tuple[Series | None, Series | None]] = [(old.pop(key), new.pop(key)) for key in same]
    unmatched: dict[tuple[str, ...], tuple[list[Series], list[Series]]] = defaultdict(lambda: ([], []))
    for side, rest in enumerate((old, new)):
        for series in rest.values():
            unmatched[series.names][side].append(series)
    for only_old, only_new in unmatched.values():
        if len(only_old) == len(only_new) == 1:
            pairs.append((only_old[0], only_new[0]))
        else:
            pairs += [*((series, None) for series in only_old), *((None, series) for series in only_new)]
    return _named(pairs)


def series_of(records: Iterable[RunResult]) -> dict[str, Series]:
    """By everything that the run asked for, except the seed."""
    found: dict[str, dict[int, RunResult]] = defaultdict(dict)
    for record in records:
        seeds, seed = found[_series_key(record)], record.inputs["seed"]
        if seed not in seeds or _preference(seeds[seed]) <= _preference(record):
            seeds[seed] = record
    return {key: Series(dict(sorted(seeds.items()))) for key, seeds in found.items()}


def _series_key(record: RunResult) -> str:
    series = Series({0: record})
    scope = [_scope(record.inputs, part) for part in _COMPARABLE]
    return json.dumps([series.names, series.settings, scope], sort_keys=True)


def raised(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What to say of a registry entry whose version was raised; nothing of another."""
    if not old or not new or new["version"] <= old["version"]:
        return ()
    return (f"version of {new['name']} raised, {old['version']} -> {new['version']}",)


def _scope(inputs: Mapping[str, Any], part: str) -> Any:
    if part == "dataset":
        return inputs["dataset"]["fingerprint"]
    if part == "epochs":  # of older attack records they are the releases
        return inputs.get("epochs") if "utility" in inputs else None
    return inputs.get("releases", inputs.get("epochs")) if part == "releases" else inputs.get(part)


def _preference(record: RunResult) -> tuple[bool, str]:
    """The greater of two records counts: a success before a failure, then the later name; the clock decides nothing."""
    return record.status == "ok", record.spec.key


def _named(pairs: Sequence[tuple[Series | None, Series | None]]) -> list[Match]:
    shown = [after or before for before, after in pairs]
    names = [_short_name(series) for series in shown if series]
    matches = []
    for (before, after), series, name in zip(pairs, shown, names, strict=True):
        full = f"{name} ({settings(series.settings)})" if series and names.count(name) > 1 else name
        matches.append(Match(full, before, after, _changed_settings(before, after)))
    return matches


def _short_name(series: Series) -> str:
    kind, defense, attack = series.names
    return f"{defense} x {attack}" if attack else f"{defense} {kind}"


def _changed_settings(before: Series | None, after: Series | None) -> tuple[str, ...]:
    if before is None or after is None:
        return ()
    old, new = before.settings, after.settings
    return tuple(
        f"{name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    )
