"""What a row needs to be judged, what it lacks, and the sanity checks that its records fail.

A sanity check must hold in a correct harness: an undefended release is the original; the attack that is given the true
pairing and weights (`oracle`) reveals no less than the one that guesses them; a random other image is re-identified by
chance alone. Figures of a row that fails one are not to be trusted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from harness.leaderboard.attack_results import EXTERNAL, SMOOTH
from harness.leaderboard.attack_runs import AttackRuns, pooled, pooled_hits
from harness.leaderboard.format import figure, short
from harness.records import RunResult
from harness.scores import ATTACKED, SCORES, judged, label, ranking
from harness.statistics import paired

CONTROLS = ("smooth", "mean_image", "random_other", "oracle")
"""What a judged row has beside the learned and the multi-release attack. `smooth` enters the worst case: no control."""
MULTI_RELEASE = "multi_release"
SEEDS = 3
_BY_CHANCE = 1e-4  # how often a correct harness may be warned of by chance
_SHOWN = 5e-4  # what three decimals show; less is the rounding of float32 or of a solver


def missing_requirements(
    groups: Sequence[AttackRuns], utilities: list[RunResult], references: list[RunResult], seeds: set[int]
) -> list[str]:
    """The requirements that a row does not meet on every seed, in words; empty where it can be judged."""

    def everywhere(holds: Callable[[AttackRuns], bool]) -> bool:
        return seeds <= {seed for group in groups if holds(group) for seed in group.ok_runs}

    def through_the_defense(group: AttackRuns) -> bool:
        whole = group.entry.get("kind") in ("recognition", "reconstruction")
        return whole and "learned" in group.entry.get("traits", []) and "defense" in group.granted

    failed = {g.name for g in groups if not g.control and g.worst_failure and g.worst_failure.status == "failed"}
    missing = [] if everywhere(through_the_defense) else ["a learned attack through the defense"]
    not_everywhere = [
        name
        for name in (MULTI_RELEASE, *CONTROLS)
        if name not in failed and not everywhere(lambda group, name=name: group.name == name)  # type: ignore[misc]
    ]
    missing += [name for name in (MULTI_RELEASE, SMOOTH) if name in not_everywhere]
    controls = ", ".join(name for name in not_everywhere if name in CONTROLS and name != SMOOTH)
    missing += [f"controls ({controls})"] if controls else []
    if not seeds <= {record.inputs["seed"] for record in utilities if record.status == "ok"}:
        missing.append("utility on every seed")
    for record in references:  # no accuracy drop can be measured against a model that learned nothing
        known = record.scores.get("utility", {})
        if known.get("low") is not None and known["low"] <= known.get("chance", 0.0):
            missing.append("an undefended model above chance")
    worked: dict[str, set[int]] = defaultdict(set)
    for group in groups:
        if not (group.control or EXTERNAL in group.entry.get("traits", [])) and group.ok_runs:
            worked[group.name] |= set(group.ok_runs)
    missing += [f"{name}, which failed" for name in sorted(failed)]
    counted = {name: on for name, on in worked.items() if name not in failed and name not in not_everywhere}
    partly = [name for name, on in counted.items() if not seeds <= on]
    missing += [f"{name} on every seed" for name in partly]
    missing += [f"{SEEDS} seeds (has {len(seeds)})"] if len(seeds) < SEEDS else []
    return missing


def not_measured_after_attacks(groups: Sequence[AttackRuns]) -> list[str]:
    """Judged distances that some reconstruction was not measured by: their worst case does not hold that attack."""
    made = [run for group in groups if group.entry.get("kind") == "reconstruction" for run in group.ok_runs.values()]
    return [name for name in judged() if any(ATTACKED + name not in run.arrays for run in made)]


def failed_sanity_checks(
    defense: Mapping[str, Any], releases: Sequence[RunResult], groups: Sequence[AttackRuns]
) -> list[str]:
    """One line for every check that the records of a row fail."""
    lines = [_undefended(releases)] if defense["name"] == "none" and defense["mixing"]["weights"] == [1.0] else []
    by_name = {group.name: group for group in groups if group.ok_runs}
    if "oracle" in by_name and MULTI_RELEASE in by_name:
        lines.append(_oracle(by_name["oracle"], by_name[MULTI_RELEASE]))
    if "random_other" in by_name:
        lines.append(_random_other(by_name["random_other"]))
    return [line for line in lines if line]


def _undefended(releases: Sequence[RunResult]) -> str | None:
    score = pooled(releases, ranking(), proportion=False)
    return f"none has {label(ranking())} {figure(score)}, not 0" if score["mean"] > _SHOWN else None


def _oracle(oracle: AttackRuns, blind: AttackRuns) -> str | None:
    array = ATTACKED + ranking()
    seeds = [
        seed
        for seed in oracle.ok_runs
        if seed in blind.ok_runs and all(array in group.ok_runs[seed].arrays for group in (oracle, blind))
    ]
    if not seeds:
        return None
    units = np.concatenate([oracle.ok_runs[seed].arrays["units"] for seed in seeds])
    known, guessed = (
        np.concatenate([group.ok_runs[seed].arrays[array] for seed in seeds]) for group in (oracle, blind)
    )
    more = paired(known, guessed, units=units)
    if more["low"] is None or more["low"] < _SHOWN:
        return None
    return f"{label(ranking())} after oracle is {figure(more)} more than after {MULTI_RELEASE}, which knows less"


def _random_other(group: AttackRuns) -> str | None:
    name = next((name for name, score in SCORES.items() if score.kind == "hit_rate" and score.of_release), None)
    if name is None or not group.has(name):
        return None
    score = pooled_hits(group.ok_runs.values(), name)
    if score["chance"] is None or score["mean"] is None:
        return None
    hits = round(score["mean"] * score["n"])
    if binomtest(hits, score["n"], score["chance"], alternative="greater").pvalue > _BY_CHANCE:
        return None
    return f"random_other is re-identified {figure(score)}, above chance {short(score['chance'])}"
