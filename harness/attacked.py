"""Attack by attack: what each left of one defense, over seeds, and how much that is beyond looking and smoothing."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.records import RunResult
from harness.statistics import paired, per_unit, summarise
from harness.types import Array

DISTANCES = ("dssim", "dhaar", "any_dssim", "any_dhaar")
"""To the dominant original, and to whichever source is nearest; an attack's is called attacked_..."""
READINGS = ("reid_rank1", "reid_rank5", "top1", "any_source", "released", "attribute")
"""Shares of releases of which an attack told something, each read beside its chance."""
SMOOTH = "smooth"
RELEASES = "releases"
_WORST_FIRST = ("failed", "skipped", "inapplicable", "ok")
log = logging.getLogger("harness")


@dataclass(frozen=True)
class Attacked:
    """One attack with its settings on one defense.

    status       the worst over seeds; the figures are of the seeds where it is ok
    left         per distance: the mean that the attack leaves
    read         per reading: the share, with its chance
    from_look    how much closer than the release it comes (dssim, dhaar), how many more it re-identifies (reid_rank1);
    from_smooth  the same beyond `smooth`. Differences are paired over originals and pooled over seeds
    is_look      after one epoch nothing but the release came back, as of a multi-release attack it must
    """

    name: str
    params: Mapping[str, Any]
    control: bool
    granted: tuple[str, ...]
    status: str
    reason: str | None
    seeds: frozenset[int]
    epochs: int | None
    is_look: bool = False
    left: dict[str, Any] = field(default_factory=dict)
    read: dict[str, Any] = field(default_factory=dict)
    from_look: dict[str, Any] = field(default_factory=dict)
    from_smooth: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """The records of one attack with its settings, one for each seed; `sound` are those that a row can be read with."""

    entry: Mapping[str, Any]
    records: Mapping[int, RunResult]
    sound: Mapping[int, RunResult]

    @property
    def name(self) -> str:
        return str(self.entry["name"])

    @property
    def control(self) -> bool:
        return "control" in self.entry.get("traits", [])

    @property
    def granted(self) -> tuple[str, ...]:
        return tuple(self.entry.get("granted", []))

    @property
    def faulty(self) -> RunResult | None:
        """The record that says why the attack is not ok on every seed."""
        worst = min(self.records.values(), key=lambda record: _WORST_FIRST.index(record.status))
        return None if worst.status == "ok" else worst


def grouped(releases: Sequence[RunResult], attacks: Iterable[RunResult]) -> list[Group]:
    """Attacks by name and settings; of several versions of one on a seed the last that worked counts."""
    groups: dict[str, dict[int, RunResult]] = defaultdict(dict)
    for record in attacks:
        entry, seed = record.inputs["attack"], record.inputs["seed"]
        records = groups[json.dumps([entry["name"], entry["params"]], sort_keys=True)]
        if seed not in records or _worth(records[seed]) <= _worth(record):
            records[seed] = record
    whose = {release.inputs["seed"]: release.arrays["units"] for release in releases}
    made = []
    for records in groups.values():
        sound = {
            seed: record
            for seed, record in records.items()
            if record.status == "ok" and _joins(record, whose.get(seed))
        }
        latest = max(records.values(), key=_worth)
        made.append(Group(latest.inputs["attack"], dict(sorted(records.items())), dict(sorted(sound.items()))))
    return made


def _worth(record: RunResult) -> tuple[bool, int, str]:
    return record.status == "ok", record.inputs["attack"].get("version", 0), record.finished


def _joins(record: RunResult, units: Array | None) -> bool:
    """Whether an attack's figures are of the originals of its release, in their order."""
    if units is None:
        return False
    if np.array_equal(record.arrays["units"], units):
        return True
    log.warning("attack record %s is on other originals than its release: left out", record.spec.key)
    return False


def attack_by_attack(releases: Sequence[RunResult], groups: Sequence[Group]) -> list[Attacked]:
    """What every attack got, strongest first, then the controls, then what did not work."""
    look = {release.inputs["seed"]: release for release in releases}
    smooth = _strongest([group for group in groups if group.name == SMOOTH])
    found = [_attacked(group, look, smooth) for group in groups]

    def order(each: Attacked) -> tuple[bool, bool, float, str]:
        least = each.left["dssim"]["mean"] if "dssim" in each.left else 10.0
        return not each.seeds, each.control, least, each.name

    return sorted(found, key=order)


def _strongest(groups: Sequence[Group]) -> Group | None:
    """Of several settings the one that leaves the least dSSIM."""
    having = [group for group in groups if all("attacked_dssim" in record.arrays for record in group.sound.values())]
    having = [group for group in having if group.sound]
    return min(having, key=lambda group: _pool(group.sound, "attacked_dssim")["mean"], default=None)


def _attacked(group: Group, look: Mapping[int, RunResult], smooth: Group | None) -> Attacked:
    fault, sound = group.faulty, group.sound
    arrays = {name for record in sound.values() for name in record.arrays}
    epochs = next((record.inputs.get("epochs") for record in group.records.values()), None)
    from_look = _differences(sound, look, "")
    unmoved = [
        from_look[name]["low"] == 0 == from_look[name]["high"] for name in ("dssim", "dhaar") if name in from_look
    ]
    return Attacked(
        group.name,
        group.entry["params"],
        group.control,
        group.granted,
        fault.status if fault else "ok",
        fault.reason if fault else None,
        frozenset(sound),
        epochs,
        RELEASES in group.granted and epochs == 1 and bool(unmoved) and all(unmoved),
        {name: _pool(sound, f"attacked_{name}") for name in DISTANCES if f"attacked_{name}" in arrays},
        {name: reading(sound.values(), name) for name in READINGS if name in arrays},
        from_look,
        _differences(sound, smooth.sound, "attacked_") if smooth and group.name != SMOOTH else {},
    )


def _differences(ours: Mapping[int, RunResult], theirs: Mapping[int, RunResult], prefix: str) -> dict[str, Any]:
    """How much closer we come than they do, and how many more we re-identify; a positive number is more seen."""
    found = {}
    for name, mine, other, sign in (
        ("dssim", "attacked_dssim", f"{prefix}dssim", -1),
        ("dhaar", "attacked_dhaar", f"{prefix}dhaar", -1),
        ("reid_rank1", "reid_rank1", "reid_rank1", 1),
    ):
        seeds = [s for s in ours if s in theirs and mine in ours[s].arrays and other in theirs[s].arrays]
        if seeds:
            units = np.concatenate([ours[seed].arrays["units"] for seed in seeds])
            a, b = (np.concatenate([side[s].arrays[n] for s in seeds]) for side, n in ((ours, mine), (theirs, other)))
            found[name] = paired(sign * a, sign * b, units=units)
    return found


def _pool(records: Mapping[int, RunResult], name: str) -> dict[str, Any]:
    return pooled(records.values(), name, proportion=False)


def pooled(records: Iterable[RunResult], name: str, proportion: bool | None = None) -> dict[str, Any]:
    """Over seeds: an original's figure is the mean over all its releases."""
    having = [record for record in records if name in record.arrays]
    values, units = (np.concatenate([record.arrays[part] for record in having]) for part in (name, "units"))
    return summarise(values, units=units, proportion=proportion)


def reading(records: Iterable[RunResult], name: str) -> dict[str, Any]:
    """A share of hits with its chance, the mean over seeds, and the success beyond it; both None where none is said."""
    having = [record for record in records if name in record.arrays]
    chances = [record.scores.get(name, {}).get("chance") for record in having]
    score = pooled(having, name)
    if any(chance is None for chance in chances):
        return {**score, "chance": None, "corrected": None}
    chance = float(np.mean(chances))
    return {**score, "chance": chance, "corrected": (score["mean"] - chance) / (1 - chance) if chance < 1 else 0.0}


def fall(group: Group, releases: Sequence[RunResult], metric: str) -> float:
    """By how much the attack alone lowers the mean over originals, looking where it was not run."""
    seen, looked, units = [], [], []
    for release in releases:
        attack = group.sound.get(release.inputs["seed"])
        seen.append((attack.arrays if attack else {}).get(f"attacked_{metric}", release.arrays[metric]))
        looked.append(release.arrays[metric])
        units.append(release.arrays["units"])
    return float(per_unit(np.concatenate(looked) - np.concatenate(seen), np.concatenate(units)).mean())
