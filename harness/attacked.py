"""Attack by attack: what each left of one defense, over seeds, and how much that is beyond looking and smoothing."""

from __future__ import annotations

import json
import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
_ROUNDING = 1e-4  # of one distance, measured in batches of other sizes
_WORST_FIRST = ("failed", "skipped", "inapplicable", "ok")
log = logging.getLogger("harness")


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

    @property
    def epochs(self) -> int | None:
        """T, where the attack depends on it."""
        return next((record.inputs.get("epochs") for record in self.records.values()), None)

    def has(self, array: str) -> bool:
        return any(array in record.arrays for record in self.sound.values())

    def mean(self, array: str) -> float:
        """Over originals, without an interval."""
        values, units = _joined(self.sound.values(), array)
        return float(per_unit(values, units).mean())


@dataclass(frozen=True)
class Attacked:
    """One attack with its settings on one defense. Differences are paired over originals and pooled over seeds.

    look, smooth  the releases and the smoothed releases that it is read against, by seed
    Its figures are of the seeds on which it worked, and made when they are asked for: every interval is a bootstrap.
    """

    group: Group
    look: Mapping[int, RunResult]
    smooth: Mapping[int, RunResult]

    @property
    def name(self) -> str:
        return self.group.name

    @property
    def params(self) -> Mapping[str, Any]:
        params: Mapping[str, Any] = self.group.entry["params"]
        return params

    @property
    def status(self) -> str:
        """The worst over seeds."""
        return self.group.faulty.status if self.group.faulty else "ok"

    @property
    def reason(self) -> str | None:
        return self.group.faulty.reason if self.group.faulty else None

    @property
    def is_look(self) -> bool:
        """After one epoch nothing but the release came back, as of a multi-release attack it must."""
        if RELEASES not in self.group.granted or self.group.epochs != 1 or not self.group.has("attacked_dssim"):
            return False
        return all(
            np.allclose(record.arrays[f"attacked_{name}"], self.look[seed].arrays[name], atol=_ROUNDING)
            for seed, record in self.group.sound.items()
            for name in DISTANCES[:2]
        )

    @cached_property
    def left(self) -> dict[str, Any]:
        """Per distance, the mean that the attack leaves."""
        return {name: self._pool(f"attacked_{name}") for name in DISTANCES if self.group.has(f"attacked_{name}")}

    @cached_property
    def read(self) -> dict[str, Any]:
        """Per reading, the share with its chance."""
        return {name: reading(self.group.sound.values(), name) for name in READINGS if self.group.has(name)}

    @cached_property
    def from_look(self) -> dict[str, Any]:
        """How much closer than the release it comes (dssim, dhaar), and how many more it re-identifies (reid_rank1)."""
        return _differences(self.group.sound, self.look, "")

    @cached_property
    def from_smooth(self) -> dict[str, Any]:
        """The same beyond `smooth`; empty of smooth itself, and where that was not run."""
        return {} if self.name == SMOOTH else _differences(self.group.sound, self.smooth, "attacked_")

    def _pool(self, name: str) -> dict[str, Any]:
        return pooled(self.group.sound.values(), name, proportion=False)


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
    smooths = [group for group in groups if group.name == SMOOTH and group.has("attacked_dssim")]
    smooth = min(smooths, key=lambda group: group.mean("attacked_dssim")).sound if smooths else {}

    def order(group: Group) -> tuple[bool, bool, float, str]:
        least = group.mean("attacked_dssim") if group.has("attacked_dssim") else math.inf
        return not group.sound, group.control, least, group.name

    return [Attacked(group, look, smooth) for group in sorted(groups, key=order)]


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


def pooled(records: Iterable[RunResult], name: str, proportion: bool | None = None) -> dict[str, Any]:
    """Over seeds: an original's figure is the mean over all its releases."""
    values, units = _joined(records, name)
    return summarise(values, units=units, proportion=proportion)


def _joined(records: Iterable[RunResult], name: str) -> tuple[Array, Array]:
    having = [record for record in records if name in record.arrays]
    return tuple(np.concatenate([record.arrays[part] for record in having]) for part in (name, "units"))  # type: ignore[return-value]


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
