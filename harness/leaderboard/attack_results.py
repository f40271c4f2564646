"""Attack by attack: its scores on one defense over seeds, and its gain over the release as is and over smoothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from harness.leaderboard.attack_runs import AttackRuns, joined, pooled, pooled_hits
from harness.leaderboard.per_original import ORIGINALS, units_of
from harness.leaderboard.training import Kind, Variances, compared, p_of
from harness.mixing import source_count
from harness.records import RunResult
from harness.scores import ATTACKED, FIRST, SCORES, hit_rates, judged, judged_variants, ranking
from harness.statistics import per_unit
from harness.training_variance import Sample
from harness.types import Array

SMOOTH = "smooth"
EXTERNAL = "external"
"""The trait, and the first part of the name, of an outside submission."""
RELEASES = "releases"
_ROUNDING = 1e-4  # of one distance, measured in batches of other sizes


@dataclass(frozen=True)
class AttackResult:
    """One attack with its settings on one defense. Differences are paired over originals and pooled over seeds.

    Both sides of a difference have one guess: the attack's first candidate, the release, and `smooth`, which makes one.
    Where a record of several guesses does not say which was the first, there is no difference.

    releases, smoothed  what it is compared with: the releases as they are, and after `smooth`, by seed
    variances           of a training, by kind of figure; filled by the board
    holm                (what it is compared with, score) -> p-value after Holm's correction for the comparisons of
                        the board, and their number; filled by the board
    Its figures are of the seeds on which it worked, and computed when they are first asked for: every interval is a
    bootstrap.
    """

    group: AttackRuns
    releases: Mapping[int, RunResult]
    smoothed: Mapping[int, RunResult]
    variances: Variances = field(default_factory=dict, compare=False, repr=False)
    holm: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict, compare=False, repr=False)

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
        return self.group.worst_failure.status if self.group.worst_failure else "ok"

    @property
    def reason(self) -> str | None:
        return self.group.worst_failure.reason if self.group.worst_failure else None

    @property
    def external(self) -> bool:
        """Whether it is an outside submission."""
        return EXTERNAL in self.group.entry.get("traits", [])

    @property
    def records(self) -> list[str]:
        """The names of the records that its figures come from."""
        return [record.spec.key for record in self.group.ok_runs.values()]

    @property
    def equals_release(self) -> bool:
        """Whether a multi-release attack returned the release as is, as it must after one epoch."""
        if RELEASES not in self.group.granted or self.group.releases != 1 or not self.group.has(ATTACKED + ranking()):
            return False
        return all(
            np.allclose(record.arrays[ATTACKED + name], self.releases[seed].arrays[name], atol=_ROUNDING)
            for seed, record in self.group.ok_runs.items()
            for name in judged()
        )

    @cached_property
    def distances(self) -> dict[str, Any]:
        """The mean distance after this attack, for each judged distance and variant."""
        after = {name: ATTACKED + name for name in judged_variants()}
        runs = self.group.ok_runs.values()
        return {
            name: pooled(runs, array, False, self.group.kind(array), self.variances)
            for name, array in after.items()
            if self.group.has(array)
        }

    @cached_property
    def hit_rates(self) -> dict[str, Any]:
        """Each hit rate with its chance."""
        runs = self.group.ok_runs.values()
        names = [name for name in hit_rates() if self.group.has(name)]
        return {name: pooled_hits(runs, name, self.group.kind(name), self.variances) for name in names}

    @cached_property
    def gain_over_release(self) -> dict[str, Any]:
        """How much closer than the release it comes, by each judged distance, and how many more it re-identifies."""
        return {name: self._compared("look", name) for name in self.differences["look"]}

    @cached_property
    def gain_over_smoothing(self) -> dict[str, Any]:
        """The same beyond `smooth`; empty of smooth itself, and where that was not run."""
        return {name: self._compared("smooth", name) for name in self.differences["smooth"]}

    def p_values(self) -> dict[tuple[str, str], float]:
        """Of every such comparison, not corrected."""
        return {
            (side, name): p_of(sample, self._kind(side, name), self.variances)
            for side, samples in self.differences.items()
            for name, sample in samples.items()
        }

    def samples(self) -> list[tuple[Kind, Sample]]:
        """Every figure that a training enters, with its kind."""
        runs = self.group.ok_runs.values()
        arrays = (*(ATTACKED + name for name in judged_variants()), *hit_rates())
        alone = [(self.group.kind(array), joined(runs, array)) for array in arrays if self.group.has(array)]
        differences = [
            (self._kind(side, name), sample)
            for side, samples in self.differences.items()
            for name, sample in samples.items()
        ]
        return [(kind, sample) for kind, sample in (*alone, *differences) if kind is not None]

    def _kind(self, side: str, name: str) -> Kind | None:
        kind = self.group.kind(name)
        return None if kind is None else (*kind, side)

    def _compared(self, side: str, name: str) -> dict[str, Any]:
        p, comparisons = self.holm.get((side, name), (None, None))
        found = compared(self.differences[side][name], self._kind(side, name), self.variances)
        return {**found, "holm": p, "comparisons": comparisons}

    @cached_property
    def differences(self) -> dict[str, dict[str, Sample]]:
        """What the attack reveals more than the release and than `smooth`, by score: positive where it is more."""
        smoothed = {} if self.name == SMOOTH else _differences(self.group.ok_runs, self.smoothed)
        return {"look": _differences(self.group.ok_runs, self.releases), "smooth": smoothed}


def attack_results(
    releases: Sequence[RunResult], groups: Sequence[AttackRuns], variances: Variances
) -> list[AttackResult]:
    """The result of every attack, in the order given."""
    by_seed = {release.inputs["seed"]: release for release in releases}
    first = ATTACKED + ranking()
    smooths = [group for group in groups if group.name == SMOOTH and group.has(first)]
    smoothed = min(smooths, key=lambda group: group.mean(first)).ok_runs if smooths else {}
    return [AttackResult(group, by_seed, smoothed, variances) for group in groups]


def strongest_first(results: Sequence[AttackResult]) -> list[AttackResult]:
    """Those that see most before the others, then the controls, then those that did not work."""

    def rank(result: AttackResult) -> tuple[bool, bool, float, str]:
        group, first = result.group, ATTACKED + ranking()
        return not group.ok_runs, group.control, group.mean(first) if group.has(first) else math.inf, group.name

    return sorted(results, key=rank)


def _differences(ours: Mapping[int, RunResult], theirs: Mapping[int, RunResult]) -> dict[str, Sample]:
    """Theirs less ours of a distance and ours less theirs of a hit rate, per original and seed, by score."""
    compared = [(name, -1) for name in judged()]
    compared += [(name, 1) for name in hit_rates(leading=True) if SCORES[name].of_release]
    found = {}
    for name, sign in compared:
        parts = {seed: _difference(ours[seed], theirs[seed], name) for seed in ours if seed in theirs}
        known = {seed: part for seed, part in parts.items() if part is not None}
        if known:
            values, units = (np.concatenate([part[at] for part in known.values()]) for at in (0, 1))
            seeds = np.concatenate([np.full(len(units), seed) for seed, (_, units) in known.items()])
            found[name] = Sample(sign * values, units, seeds)
    return found


def _difference(mine: RunResult, other: RunResult, name: str) -> tuple[Array, Array] | None:
    """Mine less the other's figure for each original that both have, and the originals."""
    arrays = [one_guess(record, name) for record in (mine, other)]
    if arrays[0] is None or arrays[1] is None:
        return None
    units = [units_of(record, array) for record, array in zip((mine, other), arrays, strict=True)]  # type: ignore[arg-type]
    figures = [per_unit(r.arrays[a], u) for r, a, u in zip((mine, other), arrays, units, strict=True)]  # type: ignore[index]
    names = [np.unique(each) for each in units]
    both = np.intersect1d(names[0], names[1])
    a, b = (figure[np.isin(each, both)] for figure, each in zip(figures, names, strict=True))
    return (a - b, both) if len(both) else None


def one_guess(record: RunResult, name: str) -> str | None:
    """The array of a record's figure with one guess for each original; None where it has several or none.

    Re-identification pools everything that was answered into one ranking for each original; in older records, where
    hits are of rows, several candidates were several guesses.
    """
    released = record.spec.kind == "release"
    array = name if released or not SCORES[name].judged else FIRST + name
    if array in record.arrays and (released or SCORES[name].judged or ORIGINALS in record.arrays):
        return array
    single = record.facts.get("guesses", source_count(record.inputs["defense"]["mixing"])) == 1
    older = name if not SCORES[name].judged else ATTACKED + name
    return older if single and older in record.arrays else None
