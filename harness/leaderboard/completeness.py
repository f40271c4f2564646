"""What a complete row has, and what one lacks: only the complete are judged.

Self-checks that records can answer: where one does not hold, a figure beside it is not to be trusted.

An undefended release is the original; true pairing and weights see no less than guessed ones; another image than the
right one is found by chance alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from harness.leaderboard.attack_results import EXTERNAL
from harness.leaderboard.attack_runs import AttackRuns, pooled, reading
from harness.leaderboard.format import figure, short
from harness.records import RunResult
from harness.statistics import paired

CONTROLS = ("smooth", "mean_image", "random_other", "oracle")
"""What a complete row has beside the learned and the multi-release attack. `smooth` counts as an attack as well."""
MULTI_RELEASE = "multi_release"
SEEDS = 3


def missing_requirements(
    groups: Sequence[AttackRuns], utilities: list[RunResult], references: list[RunResult], seeds: set[int]
) -> list[str]:
    """What a complete row has on every seed and this one has not."""

    def everywhere(holds: Callable[[AttackRuns], bool]) -> bool:
        return seeds <= {seed for group in groups if holds(group) for seed in group.ok_runs}

    def through_the_defense(group: AttackRuns) -> bool:
        whole = group.entry.get("kind") in ("recognition", "reconstruction")
        return whole and "learned" in group.entry.get("traits", []) and "defense" in group.granted

    failed = {g.name for g in groups if not g.control and g.worst_failure and g.worst_failure.status == "failed"}
    lacks = [] if everywhere(through_the_defense) else ["a learned attack through the defense"]
    missing = [
        name
        for name in (MULTI_RELEASE, *CONTROLS)
        if name not in failed and not everywhere(lambda group, name=name: group.name == name)  # type: ignore[misc]
    ]
    lacks += [MULTI_RELEASE] if MULTI_RELEASE in missing else []
    controls = ", ".join(name for name in missing if name in CONTROLS)
    lacks += [f"controls ({controls})"] if controls else []
    if not seeds <= {record.inputs["seed"] for record in utilities if record.status == "ok"}:
        lacks.append("utility on every seed")
    for record in references:  # against a model that learned nothing, nothing is lost
        known = record.scores.get("utility", {})
        if known.get("low") is not None and known["low"] <= known.get("chance", 0.0):
            lacks.append("an undefended model above chance")
    held: dict[str, set[int]] = defaultdict(set)
    for group in groups:
        if not (group.control or EXTERNAL in group.entry.get("traits", [])) and group.ok_runs:
            held[group.name] |= set(group.ok_runs)
    lacks += [f"{name}, which failed" for name in sorted(failed)]
    partly = [name for name, on in held.items() if not seeds <= on and name not in failed and name not in missing]
    lacks += [f"{name} on every seed" for name in partly]
    lacks += [f"{SEEDS} seeds (has {len(seeds)})"] if len(seeds) < SEEDS else []
    return lacks


_BY_CHANCE = 1e-4  # so seldom may a sound harness be warned of
_SHOWN = 5e-4  # what three decimals show; less is the rounding of float32 or of a solver


def failed_sanity_checks(
    defense: Mapping[str, Any], releases: Sequence[RunResult], groups: Sequence[AttackRuns]
) -> list[str]:
    """One line for every check that the records of a row do not pass."""
    found = [_undefended(releases)] if defense["name"] == "none" and defense["mixing"]["weights"] == [1.0] else []
    named = {group.name: group for group in groups if group.ok_runs}
    if "oracle" in named and "multi_release" in named:
        found.append(_oracle(named["oracle"], named["multi_release"]))
    if "random_other" in named:
        found.append(_random_other(named["random_other"]))
    return [line for line in found if line]


def _undefended(releases: Sequence[RunResult]) -> str | None:
    score = pooled(releases, "dssim", proportion=False)
    return f"none has dSSIM {figure(score)}, not 0" if score["mean"] > _SHOWN else None


def _oracle(oracle: AttackRuns, blind: AttackRuns) -> str | None:
    seeds = [
        seed
        for seed in oracle.ok_runs
        if seed in blind.ok_runs and all("attacked_dssim" in group.ok_runs[seed].arrays for group in (oracle, blind))
    ]
    if not seeds:
        return None
    units = np.concatenate([oracle.ok_runs[seed].arrays["units"] for seed in seeds])
    left, guessed = (
        np.concatenate([group.ok_runs[seed].arrays["attacked_dssim"] for seed in seeds]) for group in (oracle, blind)
    )
    more = paired(left, guessed, units=units)
    if more["low"] is None or more["low"] < _SHOWN:
        return None
    return f"oracle leaves {figure(more)} more dSSIM than multi_release, which knows less"


def _random_other(group: AttackRuns) -> str | None:
    if not any("reid_rank1" in record.arrays for record in group.ok_runs.values()):
        return None
    score = reading(group.ok_runs.values(), "reid_rank1")
    if score["chance"] is None or score["mean"] is None:
        return None
    hits = round(score["mean"] * score["n"])
    if binomtest(hits, score["n"], score["chance"], alternative="greater").pvalue > _BY_CHANCE:
        return None
    return f"random_other is re-identified {figure(score)}, above chance {short(score['chance'])}"
