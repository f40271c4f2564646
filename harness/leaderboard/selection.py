"""Which records a row is made of: those of the code at hand. What is shown of other code, or left out, is said.

The wall clock decides nothing: a clock that is ahead, or one new record after an edit, changes no row silently.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.records import RunResult

_NOT_THE_WORK = ("code", "release", "versions", "threads")
"""Inputs that say who did a piece of work, not which work it is."""


class Code(Protocol):
    """Whether the code at hand made a record (`harness.records.provenance.CodeAtHand`); None: unknown."""

    def made_release(self, record: RunResult) -> bool | None: ...

    def made(self, record: RunResult) -> bool | None: ...


class UnknownCode:
    """For records without a registry beside them: nothing is known to be of the code at hand."""

    def made_release(self, record: RunResult) -> bool | None:
        return None

    def made(self, record: RunResult) -> bool | None:
        return None


@dataclass(frozen=True)
class Selection:
    """The records of one defense that its row shows, and what the row has to say about the others."""

    records: Sequence[RunResult]
    notes: Sequence[str] = ()


def select(records: Iterable[RunResult], code: Code) -> Selection:
    """One record of each piece of work of a defense, all on releases of one code.

    First a finished release of the code at hand, else the one with the most finished records. Of several records of
    one piece of work: one that is ok before one that is not, then the code at hand, then the highest version of the
    attack, then the order of their names.
    """
    by_release: dict[tuple[Any, Any], list[RunResult]] = defaultdict(list)
    for record in records:
        by_release[record.inputs.get("release"), record.inputs["defense"].get("version")].append(record)
    if not by_release:
        return Selection(())
    at_hand = {release: min(map(code.made_release, some), key=_order) for release, some in by_release.items()}

    def preference(release: tuple[Any, Any]) -> tuple[Any, ...]:
        some = by_release[release]
        return _has_no_release(some), *_order(at_hand[release]), -_finished(some), -(release[1] or 0), str(release)

    chosen = min(by_release, key=preference)
    notes = []
    if at_hand[chosen] is False:
        lacks = "finished release" if any(each is True for each in at_hand.values()) else "record"
        notes.append(f"recorded by other code (release {_short(chosen)}) than the code at hand, which has no {lacks}")
    unfinished = [
        release
        for release, some in by_release.items()
        if release != chosen and at_hand[release] is True and _has_no_release(some)
    ]
    if unfinished:
        number = sum(len(by_release[release]) for release in unfinished)
        notes.append(f"{_count(number)} of the code at hand left out: without a finished release")
    if others := [release for release in by_release if release != chosen and release not in unfinished]:
        number = sum(len(by_release[release]) for release in others)
        codes = ", ".join(sorted(_short(release, other_than=chosen) for release in others))
        notes.append(f"{_count(number)} left out: on releases of other code ({codes})")
    kept, left_out = _one_each(by_release[chosen], code)
    stale = Counter(_name(record) for record in kept if at_hand[chosen] is not False and code.made(record) is False)
    if stale:
        number = sum(stale.values())
        notes.append(f"{_count(number)} shown of other code than the code at hand: {', '.join(sorted(stale))}")
    unknown = Counter(_name(record) for record in kept if at_hand[chosen] is not False and code.made(record) is None)
    if unknown and not isinstance(code, UnknownCode):
        names = ", ".join(sorted(unknown))
        notes.append(f"{_count(sum(unknown.values()))} shown of plugins that are not in the registry: {names}")
    notes += [f"{_count(number)} left out: {why}" for why, number in sorted(left_out.items())]
    return Selection(kept, notes)


def _one_each(records: Iterable[RunResult], code: Code) -> tuple[list[RunResult], Counter[str]]:
    """One record of each piece of work, and how many others there are, by reason."""
    alike: dict[str, list[RunResult]] = defaultdict(list)
    for record in records:
        alike[work_of(record)].append(record)
    kept, left_out = [], Counter[str]()
    for some in alike.values():
        first, *others = sorted(some, key=lambda r: (r.status != "ok", *_order(code.made(r)), -_version(r), r.spec.key))
        kept.append(first)
        for other in others:
            same = _made_by(other) == _made_by(first)
            left_out["the same work with other library versions or threads" if same else "made by other code"] += 1
    return kept, left_out


def work_of(record: RunResult) -> str:
    """What was done, whoever did it: the inputs without code and versions."""
    work = {name: _unversioned(value) for name, value in record.inputs.items() if name not in _NOT_THE_WORK}
    return json.dumps([record.spec.kind, work], sort_keys=True)


def _made_by(record: RunResult) -> dict[str, Any]:
    """The inputs without library versions and threads: two records that differ in no other are of one code."""
    kept = {name: value for name, value in record.inputs.items() if name not in ("versions", "threads")}
    return {name: _without(value, ("use",)) for name, value in kept.items()}


def defense_of(record: RunResult) -> str:
    """The defense with its settings: records of one row."""
    return json.dumps(_unversioned(record.inputs["defense"]), sort_keys=True)


def measured_on(record: RunResult) -> str:
    """Of a release record: the targets and the metrics, which boards do not mix."""
    return json.dumps([record.inputs["targets"], _unversioned(record.inputs.get("metrics"))], sort_keys=True)


def measured_by(record: RunResult) -> dict[str, str]:
    """By name the metrics and evaluators that the figures of a release or an attack come from, with their settings."""
    entries = [*(record.inputs.get("metrics") or ()), *(record.inputs.get("judges") or ())]
    return {each["name"]: json.dumps(_unversioned(each), sort_keys=True) for each in entries}


def alike(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether no metric or evaluator of one name has other settings."""
    return all(other.get(name, entry) == entry for name, entry in one.items())


def _unversioned(value: Any) -> Any:
    """An entry without what says which code it was: its version, and in older records the place of its function."""
    return _without(value, ("version", "use"))


def _without(value: Any, fields: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_without(each, fields) for each in value]
    if isinstance(value, Mapping) and {"name", "params"} <= set(value):
        return {name: each for name, each in value.items() if name not in fields}
    return value


def _order(at_hand: bool | None) -> tuple[bool, bool]:
    """True before None before False."""
    return (at_hand is not True, at_hand is False)


def _has_no_release(records: Iterable[RunResult]) -> bool:
    return not any(record.spec.kind == "release" and record.status == "ok" for record in records)


def _finished(records: Iterable[RunResult]) -> int:
    return sum(record.status == "ok" for record in records)


def _version(record: RunResult) -> int:
    return int((record.inputs.get("attack") or {}).get("version", 0))


def _name(record: RunResult) -> str:
    entry = record.inputs.get("attack")
    return str(entry["name"]) if entry else record.spec.kind


def _short(release: tuple[Any, Any], other_than: tuple[Any, Any] | None = None) -> str:
    """The code of a release; with the version where the code is that of `other_than`."""
    code, version = release
    same = other_than is not None and code == other_than[0]
    return f"{str(code)[:8]} of version {version}" if same else str(code)[:8]


def _count(number: int) -> str:
    return f"{number} record{'' if number == 1 else 's'}"
