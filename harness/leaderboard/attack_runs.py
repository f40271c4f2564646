"""The records of one attack over seeds, and scores pooled over them."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.records import RunResult
from harness.statistics import per_unit, summarise
from harness.types import Array

_WORST_FIRST = ("failed", "skipped", "inapplicable", "ok")
log = logging.getLogger("harness")


@dataclass(frozen=True)
class AttackRuns:
    """The records of one attack with its settings, one for each seed.

    ok_runs  those that worked, on the same originals as the release of that seed
    """

    entry: Mapping[str, Any]
    records: Mapping[int, RunResult]
    ok_runs: Mapping[int, RunResult]

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
    def worst_failure(self) -> RunResult | None:
        """The record that says why the attack is not ok on every seed."""
        worst = min(self.records.values(), key=lambda record: _WORST_FIRST.index(record.status))
        return None if worst.status == "ok" else worst

    @property
    def releases(self) -> int | None:
        """R, where the attack depends on it."""
        return next((record.spec.releases for record in self.records.values()), None)

    def has(self, array: str) -> bool:
        return any(array in record.arrays for record in self.ok_runs.values())

    def mean(self, array: str) -> float:
        """Over originals, without an interval."""
        values, units = _joined(self.ok_runs.values(), array)
        return float(per_unit(values, units).mean())


def grouped(releases: Sequence[RunResult], attacks: Iterable[RunResult]) -> list[AttackRuns]:
    """Attacks by name and settings. Of several versions of one on a seed, the highest that worked counts."""
    groups: dict[str, dict[int, RunResult]] = defaultdict(dict)
    for record in attacks:
        entry, seed = record.inputs["attack"], record.inputs["seed"]
        records = groups[json.dumps([entry["name"], entry["params"]], sort_keys=True)]
        if seed not in records or _worth(records[seed]) <= _worth(record):
            records[seed] = record
    originals = {release.inputs["seed"]: release.arrays["units"] for release in releases}
    runs = []
    for _, records in sorted(groups.items()):  # in the order of names, which settles ties
        ok_runs = {
            seed: record
            for seed, record in records.items()
            if record.status == "ok" and _same_originals(record, originals.get(seed))
        }
        latest = max(records.values(), key=_worth)
        runs.append(AttackRuns(latest.inputs["attack"], dict(sorted(records.items())), dict(sorted(ok_runs.items()))))
    return runs


def _worth(record: RunResult) -> tuple[bool, int, str]:
    return record.status == "ok", record.inputs["attack"].get("version", 0), record.spec.key


def _same_originals(record: RunResult, units: Array | None) -> bool:
    """Whether an attack's scores are of the originals of its release, in their order."""
    if units is None:
        return False
    if np.array_equal(record.arrays["units"], units):
        return True
    log.warning("attack record %s is on other originals than its release: left out", record.spec.key)
    return False


def pooled(records: Iterable[RunResult], name: str, proportion: bool | None = None) -> dict[str, Any]:
    """A score over seeds: an original's figure is the mean over all its releases."""
    values, units = _joined(records, name)
    return summarise(values, units=units, proportion=proportion)


def _joined(records: Iterable[RunResult], name: str) -> tuple[Array, Array]:
    numbers = [record.numbers(name) for record in records if name in record.arrays]
    values, units = (np.concatenate(parts) for parts in zip(*numbers, strict=True))
    return values, units


def pooled_hits(records: Iterable[RunResult], name: str) -> dict[str, Any]:
    """A hit rate over seeds with its chance, and the success beyond chance; both None where a record holds no chance.

    corrected  (mean - chance) / (1 - chance): 0 at chance, 1 where every image is a hit
    """
    measured = [record for record in records if name in record.arrays]
    chances = [record.scores.get(name, {}).get("chance") for record in measured]
    score = pooled(measured, name)
    if any(chance is None for chance in chances):
        return {**score, "chance": None, "corrected": None}
    chance = float(np.mean(chances))
    return {**score, "chance": chance, "corrected": (score["mean"] - chance) / (1 - chance) if chance < 1 else 0.0}


def mean_reduction(runs: AttackRuns, releases: Sequence[RunResult], metric: str) -> float:
    """By how much the attack alone lowers the mean over originals; by 0 on a seed where it was not run."""
    after, before, units = [], [], []
    for release in releases:
        attack = runs.ok_runs.get(release.inputs["seed"])
        after.append((attack.arrays if attack else {}).get(f"attacked_{metric}", release.arrays[metric]))
        before.append(release.arrays[metric])
        units.append(release.arrays["units"])
    return float(per_unit(np.concatenate(before) - np.concatenate(after), np.concatenate(units)).mean())
