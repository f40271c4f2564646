"""Attack by attack: what each left of one defense, over seeds, and how much that is beyond looking and smoothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from harness.leaderboard.attack_runs import AttackRuns, pooled, reading
from harness.records import RunResult
from harness.statistics import paired, paired_p
from harness.types import Array

DISTANCES = ("dssim", "dhaar", "any_dssim", "any_dhaar")
"""To the dominant original, and to whichever source is nearest; an attack's is called attacked_..."""
READINGS = ("reid_rank1", "reid_rank5", "top1", "any_source", "released", "attribute")
"""Shares of releases of which an attack told something, each read beside its chance."""
SMOOTH = "smooth"
EXTERNAL = "external"
"""The trait, and the first part of the name, of what came from outside."""
RELEASES = "releases"
Pair: TypeAlias = tuple[Array, Array, Array]
"""Ours and theirs, (M,) each, and the original of each."""
_ROUNDING = 1e-4  # of one distance, measured in batches of other sizes


@dataclass(frozen=True)
class AttackResult:
    """One attack with its settings on one defense. Differences are paired over originals and pooled over seeds.

    look, smooth  the releases and the smoothed releases that it is read against, by seed
    holm          (what it is compared with, distance) -> p-value corrected for the comparisons of the board, and how
                  many they are; filled by the board
    Its figures are of the seeds on which it worked, and made when they are asked for: every interval is a bootstrap.
    """

    group: AttackRuns
    look: Mapping[int, RunResult]
    smooth: Mapping[int, RunResult]
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
        """Whether somebody outside handed it in."""
        return EXTERNAL in self.group.entry.get("traits", [])

    @property
    def records(self) -> list[str]:
        """The names of the records that its figures come from."""
        return [record.spec.key for record in self.group.ok_runs.values()]

    @property
    def is_look(self) -> bool:
        """After one epoch nothing but the release came back, as of a multi-release attack it must."""
        if RELEASES not in self.group.granted or self.group.epochs != 1 or not self.group.has("attacked_dssim"):
            return False
        return all(
            np.allclose(record.arrays[f"attacked_{name}"], self.look[seed].arrays[name], atol=_ROUNDING)
            for seed, record in self.group.ok_runs.items()
            for name in DISTANCES[:2]
        )

    @cached_property
    def distances(self) -> dict[str, Any]:
        """Per distance, the mean that the attack leaves."""
        return {name: self._pool(f"attacked_{name}") for name in DISTANCES if self.group.has(f"attacked_{name}")}

    @cached_property
    def hit_rates(self) -> dict[str, Any]:
        """Per reading, the share with its chance."""
        return {name: reading(self.group.ok_runs.values(), name) for name in READINGS if self.group.has(name)}

    @cached_property
    def gain_over_release(self) -> dict[str, Any]:
        """How much closer than the release it comes (dssim, dhaar), and how many more it re-identifies (reid_rank1)."""
        return {name: self._compared("look", name, pair) for name, pair in self._pairs("look").items()}

    @cached_property
    def gain_over_smoothing(self) -> dict[str, Any]:
        """The same beyond `smooth`; empty of smooth itself, and where that was not run."""
        return {name: self._compared("smooth", name, pair) for name, pair in self._pairs("smooth").items()}

    def p_values(self) -> dict[tuple[str, str], float]:
        """Of every such comparison, not corrected."""
        sides = ("look", "smooth")
        return {
            (side, name): paired_p(*pair[:2], units=pair[2])
            for side in sides
            for name, pair in self._pairs(side).items()
        }

    def _compared(self, side: str, name: str, pair: Pair) -> dict[str, Any]:
        mine, theirs, units = pair
        p, comparisons = self.holm.get((side, name), (None, None))
        return {**paired(mine, theirs, units=units), "holm": p, "comparisons": comparisons}

    def _pairs(self, side: str) -> dict[str, Pair]:
        if side == "look":
            return _pairs(self.group.ok_runs, self.look, "")
        return {} if self.name == SMOOTH else _pairs(self.group.ok_runs, self.smooth, "attacked_")

    def _pool(self, name: str) -> dict[str, Any]:
        return pooled(self.group.ok_runs.values(), name, proportion=False)


def attack_by_attack(releases: Sequence[RunResult], groups: Sequence[AttackRuns]) -> list[AttackResult]:
    """What every attack got, strongest first, then the controls, then what did not work."""
    look = {release.inputs["seed"]: release for release in releases}
    smooths = [group for group in groups if group.name == SMOOTH and group.has("attacked_dssim")]
    smooth = min(smooths, key=lambda group: group.mean("attacked_dssim")).ok_runs if smooths else {}

    def order(group: AttackRuns) -> tuple[bool, bool, float, str]:
        least = group.mean("attacked_dssim") if group.has("attacked_dssim") else math.inf
        return not group.ok_runs, group.control, least, group.name

    return [AttackResult(group, look, smooth) for group in sorted(groups, key=order)]


def _pairs(ours: Mapping[int, RunResult], theirs: Mapping[int, RunResult], prefix: str) -> dict[str, Pair]:
    """Our figures and theirs on the same releases; ours less theirs is positive where we see or re-identify more."""
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
            found[name] = (sign * a, sign * b, units)
    return found
