"""What a row needs to be judged, what it lacks, and the sanity checks that its records fail.

A sanity check must hold in a correct harness: an undefended release is the original; the attack that is given the true
pairing and weights (`oracle`) reveals no less than the one that guesses them; a random other image is re-identified by
chance alone. Figures of a row that fails one are not to be trusted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.stats import binomtest

from harness.leaderboard.attack_results import EXTERNAL, SMOOTH
from harness.leaderboard.attack_runs import AttackRuns, joined, pooled, pooled_hits
from harness.leaderboard.format import figure, short
from harness.leaderboard.training import Kind, Variances, p_of
from harness.records import RunResult
from harness.registry import builtin_file, read_registry
from harness.registry.entry import BUILT_IN
from harness.scores import ATTACKED, SCORES, judged, label, proof_of, ranking
from harness.statistics import paired, per_unit
from harness.training_variance import Sample

CONTROLS = ("smooth", "mean_image", "random_other", "oracle")
"""What a judged row has beside the learned and the multi-release attack. `smooth` enters the worst case: no control."""
MULTI_RELEASE = "multi_release"
MATCHING = "candidate_matching"
INVERSION, RECOGNISER, REGISTERED_FLOOR = "inversion", "cnn", "linear"
"""Attacks by which the other requirements are met at the least cost: an inversion, a recogniser and its floor."""
VERDICT_ATTACKS = (*CONTROLS, INVERSION, MULTI_RELEASE, MATCHING, REGISTERED_FLOOR, RECOGNISER)
"""The fewest built-in attacks that a judged row has; `harness run` takes them where none is named."""
SEEDS = 3
FLOOR, ENSEMBLE = "floor", "ensemble"
"""Traits of what a recogniser is compared with, and of an attack that runs all others."""
_FLOOR_IS_GRANTED = {"defense", "public"}
"""A recogniser that is granted the public labels, or every release, is no match for one that is not."""
_LEVEL = 0.05
_BY_CHANCE = 1e-4  # how often a correct harness may be warned of by chance
_SHOWN = 5e-4  # what three decimals show; less is the rounding of float32 or of a solver


@dataclass(frozen=True)
class Recognisers:
    """The recognisers of a row beside their floor, compared over the seeds that both have.

    trained  those that were trained through the defense and are granted no more than the floor is: first those on the
             most seeds, of these the strongest
    floor    the built-in attack with the trait `floor`, by its registered settings: a linear model on rehearsals. A
             plugin's, or one with other knobs, could be as weak as is wished
    """

    trained: tuple[AttackRuns, ...]
    floor: AttackRuns | None

    @property
    def recogniser(self) -> AttackRuns | None:
        return self.trained[0] if self.trained else None

    def is_below(self, variances: Variances, group: AttackRuns | None = None) -> bool:
        """Whether it is significantly below the floor, by a paired difference that holds the trainings.

        group  of `trained`; None: the first
        """
        group = group or self.recogniser
        below = self._less_floor(group) if group else None
        if group is None or below is None or float(per_unit(below.values, below.units).mean()) >= 0:
            return False
        return p_of(below, self._kind(group), variances) < _LEVEL

    def samples(self) -> list[tuple[Kind, Sample]]:
        """What the variance of their difference to the floor is pooled from."""
        found = [(self._kind(group), self._less_floor(group)) for group in self.trained]
        return [(kind, sample) for kind, sample in found if sample is not None]

    def _kind(self, group: AttackRuns) -> Kind:
        return ("floor", group.name, self.floor.name if self.floor else "")

    def _less_floor(self, group: AttackRuns) -> Sample | None:
        """The recogniser's hits less the floor's, per original and seed; None where no seed has both."""
        floor = self.floor.ok_runs if self.floor else {}
        name, parts = _proof(), []
        for seed in group.ok_runs.keys() & floor.keys():
            a, b = group.ok_runs[seed], floor[seed]
            if np.array_equal(a.arrays["units"], b.arrays["units"]):
                units = a.arrays["units"]
                parts.append(Sample(a.arrays[name] - b.arrays[name], units, np.full(len(units), seed)))
        return Sample(*map(np.concatenate, zip(*parts, strict=True))) if parts else None


def recognisers(groups: Sequence[AttackRuns]) -> Recognisers:
    """The recognisers of a row and their floor."""
    name = _proof()
    mine = [group for group in groups if group.entry.get("kind") == "recognition" and group.has(name)]
    floors = [group for group in mine if _registered_floors().get(group.name) == group.entry["params"]]
    trained = [
        group
        for group in mine
        if FLOOR not in group.entry.get("traits", [])
        and _through_the_defense(group)
        and set(group.granted) <= _FLOOR_IS_GRANTED
    ]
    trained.sort(key=lambda group: (-len(group.ok_runs), -group.mean(name)))
    return Recognisers(tuple(trained), floors[0] if floors else None)


def _proof() -> str:
    return proof_of("recognition") or ""


@cache
def _registered_floors() -> Mapping[str, Mapping[str, Any]]:
    """The settings of the built-in attacks with the trait `floor`, by name."""
    built_in = read_registry(builtin_file(), BUILT_IN)
    return {entry.name: entry.params for entry in built_in if entry.section == "attacks" and FLOOR in entry.traits}


def _through_the_defense(group: AttackRuns) -> bool:
    return "learned" in group.entry.get("traits", []) and "defense" in group.granted and not group.control


def _single_release(group: AttackRuns) -> bool:
    """A learned inversion of one release, or the ensemble, which holds it."""
    traits = group.entry.get("traits", [])
    if group.entry.get("kind") != "reconstruction" or group.control:
        return False
    return ENSEMBLE in traits or (_through_the_defense(group) and "releases" not in group.granted)


def missing_requirements(
    groups: Sequence[AttackRuns],
    releases: Sequence[RunResult],
    utilities: Sequence[RunResult],
    references: Sequence[RunResult],
    released: int | None,
    variances: Variances,
) -> list[str]:
    """The requirements that a row does not meet on every seed, in words; empty where it can be judged.

    released  R: with one release nothing can be linked, and the best single-release attack stands for multi_release
    """
    seeds = {record.inputs["seed"] for record in releases}

    def everywhere(holds: Callable[[AttackRuns], bool]) -> bool:
        return seeds <= {seed for group in groups if holds(group) for seed in group.ok_runs}

    failed = {g.name for g in groups if not g.control and g.worst_failure and g.worst_failure.status == "failed"}
    known = recognisers(groups)
    missing = [] if everywhere(_single_release) else ["inversion or auto"]
    if not everywhere(lambda group: group is known.recogniser):
        missing.append("a recogniser trained through the defense")
    if not everywhere(lambda group: group is known.floor):
        missing.append("the floor of recognition (linear)")
    elif known.recogniser and known.floor and known.is_below(variances):
        missing.append(f"a recogniser not below the floor ({known.recogniser.name} is below {known.floor.name})")
    required = ([] if released == 1 else [MULTI_RELEASE]) + [MATCHING, *CONTROLS]
    not_everywhere = [
        name
        for name in required
        if name not in failed and not everywhere(lambda group, name=name: group.name == name)  # type: ignore[misc]
    ]
    missing += [name for name in (MULTI_RELEASE, MATCHING, SMOOTH) if name in not_everywhere]
    controls = ", ".join(name for name in not_everywhere if name in CONTROLS and name != SMOOTH)
    missing += [f"controls ({controls})"] if controls else []
    if not seeds <= {record.inputs["seed"] for record in utilities if record.status == "ok"}:
        missing.append("utility on every seed")
    for record in references:  # no accuracy drop can be measured against a model that learned nothing
        score = record.scores.get("utility", {})
        if score.get("low") is not None and score["low"] <= score.get("chance", 0.0):
            missing.append("an undefended model above chance")
    worked: dict[str, set[int]] = defaultdict(set)
    for group in groups:
        if not (group.control or EXTERNAL in group.entry.get("traits", [])) and group.ok_runs:
            worked[group.name] |= set(group.ok_runs)
    missing += [f"{name}, which failed" for name in sorted(failed)]
    counted = {name: on for name, on in worked.items() if name not in failed and name not in not_everywhere}
    missing += [f"{name} on every seed" for name, on in counted.items() if not seeds <= on]
    missing += [f"{SEEDS} seeds (has {len(seeds)})"] if len(seeds) < SEEDS else []
    return missing


def mismatch(releases: Sequence[RunResult]) -> list[str]:
    """What says that the defense behaves otherwise when rehearsed; empty where nothing does."""
    found = [record.facts.get("rehearsal", {}) for record in releases]
    alarms = [each for each in found if each.get("mismatch")]
    said = dict.fromkeys(words for each in alarms for words in each.get("said", []))
    return list(said) or (["statistics of rehearsed and real releases differ"] if alarms else [])


def not_compared(releases: Sequence[RunResult]) -> bool:
    """Whether on some seed nothing says how the defense behaves when rehearsed: there were no public images."""
    return any(record.facts.get("rehearsal", {}).get("mismatch") is None for record in releases)


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
    seeds = sorted(oracle.ok_runs.keys() & blind.ok_runs.keys())
    sides = [[group.ok_runs[seed] for seed in seeds] for group in (oracle, blind)]
    if not sides[0] or not all(array in record.arrays for side in sides for record in side):
        return None
    (known, units, _), (guessed, others, _) = (joined(side, array) for side in sides)
    if not np.array_equal(units, others):
        return None
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
