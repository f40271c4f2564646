"""The records of one attack over seeds, and scores pooled over them."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harness.leaderboard.per_original import ORIGINALS, UNITS
from harness.leaderboard.training import Kind, Variances, summarised
from harness.records import RunResult
from harness.statistics import per_unit
from harness.training_variance import Sample

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

    @cached_property
    def trained(self) -> bool:
        """Whether a network was trained for it, by what its records say: another seed trains another."""
        return "learned" in self.entry.get("traits", []) or any(_has_steps(r.facts) for r in self.records.values())

    def kind(self, array: str) -> Kind | None:
        """Which figures of a board its score belongs with: those of the same attack; None where nothing is trained."""
        return (self.name, json.dumps(self.entry["params"], sort_keys=True), array) if self.trained else None

    def has(self, array: str) -> bool:
        return any(array in record.arrays for record in self.ok_runs.values())

    def mean(self, array: str) -> float:
        """Over originals, without an interval."""
        values, units, _ = joined(self.ok_runs.values(), array)
        return float(per_unit(values, units).mean())


def _has_steps(facts: Any) -> bool:
    return isinstance(facts, Mapping) and ("steps" in facts or any(map(_has_steps, facts.values())))


def grouped(releases: Sequence[RunResult], attacks: Iterable[RunResult]) -> list[AttackRuns]:
    """Attacks by name and settings. Of several versions of one on a seed, the highest that worked counts."""
    groups: dict[str, dict[int, RunResult]] = defaultdict(dict)
    for record in attacks:
        entry, seed = record.inputs["attack"], record.inputs["seed"]
        records = groups[json.dumps([entry["name"], entry["params"]], sort_keys=True)]
        if seed not in records or _worth(records[seed]) <= _worth(record):
            records[seed] = record
    by_seed = {release.inputs["seed"]: release for release in releases}
    runs = []
    for _, records in sorted(groups.items()):  # in the order of names, which settles ties
        ok_runs = {
            seed: record
            for seed, record in records.items()
            if record.status == "ok" and _same_originals(record, by_seed.get(seed))
        }
        latest = max(records.values(), key=_worth)
        runs.append(AttackRuns(latest.inputs["attack"], dict(sorted(records.items())), dict(sorted(ok_runs.items()))))
    return runs


def _worth(record: RunResult) -> tuple[bool, int, str]:
    return record.status == "ok", record.inputs["attack"].get("version", 0), record.spec.key


def _same_originals(record: RunResult, release: RunResult | None) -> bool:
    """Whether an attack's scores are of the originals of its release: of the same rows, or where it says which
    original each number is of, of none that the release does not have."""
    if release is None:
        return False
    index = ORIGINALS if ORIGINALS in record.arrays and ORIGINALS in release.arrays else UNITS
    mine, theirs = record.arrays[index], release.arrays[index]
    if np.array_equal(mine, theirs) or (index == ORIGINALS and np.isin(mine, theirs).all()):
        return True
    log.warning("attack record %s is on other originals than its release: left out", record.spec.key)
    return False


def joined(records: Iterable[RunResult], name: str) -> Sample:
    """A score of every seed: its numbers, the original and the seed of each."""
    numbers = [(record.inputs["seed"], *record.numbers(name)) for record in records if name in record.arrays]
    seeds = [np.full(len(units), seed) for seed, _, units in numbers]
    values, units = ([each[at] for each in numbers] for at in (1, 2))
    return Sample(*(np.concatenate(parts) for parts in (values, units, seeds)))


def pooled(
    records: Iterable[RunResult],
    name: str,
    proportion: bool | None = None,
    kind: Kind | None = None,
    variances: Variances | None = None,
) -> dict[str, Any]:
    """A score over seeds: an original's figure is the mean over all its releases.

    kind, variances  of a figure that was trained: its interval holds the training
    """
    return summarised(joined(records, name), proportion, kind, variances or {})


def pooled_hits(
    records: Iterable[RunResult], name: str, kind: Kind | None = None, variances: Variances | None = None
) -> dict[str, Any]:
    """A hit rate over seeds with its chance, and the success beyond chance; both None where a record holds no chance.

    corrected  (mean - chance) / (1 - chance): 0 at chance, 1 where every image is a hit
    """
    measured = [record for record in records if name in record.arrays]
    chances = [record.scores.get(name, {}).get("chance") for record in measured]
    score = pooled(measured, name, kind=kind, variances=variances)
    if any(chance is None for chance in chances):
        return {**score, "chance": None, "corrected": None}
    chance = float(np.mean(chances))
    return {**score, "chance": chance, "corrected": (score["mean"] - chance) / (1 - chance) if chance < 1 else 0.0}
