"""Attack by attack: its scores on one defense over seeds, and its gain over the release as is and over smoothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from harness.leaderboard.attack_runs import AttackRuns, pooled, pooled_hits
from harness.records import RunResult
from harness.scores import ATTACKED, SCORES, hit_rates, judged, judged_variants, ranking
from harness.statistics import paired, paired_p
from harness.types import Array

SMOOTH = "smooth"
EXTERNAL = "external"
"""The trait, and the first part of the name, of an outside submission."""
RELEASES = "releases"
Pair: TypeAlias = tuple[Array, Array, Array]
"""This attack's figures and those it is compared with, (M,) each, and the original of each."""
_ROUNDING = 1e-4  # of one distance, measured in batches of other sizes


@dataclass(frozen=True)
class AttackResult:
    """One attack with its settings on one defense. Differences are paired over originals and pooled over seeds.

    releases, smoothed  what it is compared with: the releases as they are, and after `smooth`, by seed
    holm                (what it is compared with, score) -> p-value after Holm's correction for the comparisons of
                        the board, and their number; filled by the board
    Its figures are of the seeds on which it worked, and computed when they are first asked for: every interval is a
    bootstrap.
    """

    group: AttackRuns
    releases: Mapping[int, RunResult]
    smoothed: Mapping[int, RunResult]
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
        """Whether a multi-release attack returned the release as is, as it must of one release."""
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
        return {name: pooled(runs, array, False) for name, array in after.items() if self.group.has(array)}

    @cached_property
    def hit_rates(self) -> dict[str, Any]:
        """Each hit rate with its chance."""
        return {name: pooled_hits(self.group.ok_runs.values(), name) for name in hit_rates() if self.group.has(name)}

    @cached_property
    def gain_over_release(self) -> dict[str, Any]:
        """How much closer than the release it comes, by each judged distance, and how many more it re-identifies."""
        return {name: self._compared("look", name, pair) for name, pair in self._pairs["look"].items()}

    @cached_property
    def gain_over_smoothing(self) -> dict[str, Any]:
        """The same beyond `smooth`; empty of smooth itself, and where that was not run."""
        return {name: self._compared("smooth", name, pair) for name, pair in self._pairs["smooth"].items()}

    def p_values(self) -> dict[tuple[str, str], float]:
        """Of every such comparison, not corrected."""
        return {
            (side, name): paired_p(*pair[:2], units=pair[2])
            for side, pairs in self._pairs.items()
            for name, pair in pairs.items()
        }

    def _compared(self, side: str, name: str, pair: Pair) -> dict[str, Any]:
        mine, theirs, units = pair
        p, comparisons = self.holm.get((side, name), (None, None))
        return {**paired(mine, theirs, units=units), "holm": p, "comparisons": comparisons}

    @cached_property
    def _pairs(self) -> dict[str, dict[str, Pair]]:
        smoothed = {} if self.name == SMOOTH else _pairs(self.group.ok_runs, self.smoothed, ATTACKED)
        return {"look": _pairs(self.group.ok_runs, self.releases, ""), "smooth": smoothed}


def attack_results(releases: Sequence[RunResult], groups: Sequence[AttackRuns]) -> list[AttackResult]:
    """The result of every attack, in the order given."""
    by_seed = {release.inputs["seed"]: release for release in releases}
    first = ATTACKED + ranking()
    smooths = [group for group in groups if group.name == SMOOTH and group.has(first)]
    smoothed = min(smooths, key=lambda group: group.mean(first)).ok_runs if smooths else {}
    return [AttackResult(group, by_seed, smoothed) for group in groups]


def strongest_first(results: Sequence[AttackResult]) -> list[AttackResult]:
    """Those that see most before the others, then the controls, then those that did not work."""

    def rank(result: AttackResult) -> tuple[bool, bool, float, str]:
        group, first = result.group, ATTACKED + ranking()
        return not group.ok_runs, group.control, group.mean(first) if group.has(first) else math.inf, group.name

    return sorted(results, key=rank)


def _pairs(ours: Mapping[int, RunResult], theirs: Mapping[int, RunResult], prefix: str) -> dict[str, Pair]:
    """Our figures and theirs on the same releases, by score; ours less theirs is positive where ours reveal more."""
    compared = [(name, ATTACKED + name, prefix + name, -1) for name in judged()]
    compared += [(name, name, name, 1) for name in hit_rates(leading=True) if SCORES[name].of_release]
    pairs = {}
    for name, mine, other, sign in compared:
        seeds = [s for s in ours if s in theirs and mine in ours[s].arrays and other in theirs[s].arrays]
        both = [(ours[seed].numbers(mine), theirs[seed].numbers(other)) for seed in seeds]
        both = [(one, two) for one, two in both if np.array_equal(one[1], two[1])]  # of the same originals
        if both:
            a, b = (np.concatenate([side[at][0] for side in both]) for at in (0, 1))
            pairs[name] = (sign * a, sign * b, np.concatenate([one[1] for one, _ in both]))
    return pairs
