"""One row of a board: what its records say together, over seeds and attacks.

Privacy is judged per original: the minimum over looking at the release and every attack that is not a control.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.attacked import DISTANCES, Attacked, attack_by_attack
from harness.groups import Group, fall, grouped, pooled, reading
from harness.records import RunResult
from harness.self_checks import broken
from harness.statistics import paired, share_below, summarise
from harness.types import Array

THRESHOLDS = {"dssim": 0.66, "dhaar": 0.62}
"""The stricter of the paper's t_acc and cut-off over its two data sets (Tables 2 and 3), on unattacked releases."""
CONTROLS = ("smooth", "mean_image", "random_other", "oracle")
"""What a complete row has beside the learned and the multi-release attack. `smooth` counts as an attack as well."""
MULTI_RELEASE = "multi_release"
SEEDS = 3


@dataclass
class Row:
    """One defense with its settings, after one way of training.

    epochs        T, which utility and multi-release attacks share; None where neither was run
    worst         per distance the worst case: its statistics, the share of originals below the threshold, and the
                  attack that lowers the mean most
    reidentified  the attack, or look, that re-identifies most; None where nobody tried
    attribute     the attack that reads the second attribute best beyond chance
    attacks       every attack by itself
    unjudged      attacks that failed or were skipped, with the reason: the row says nothing of them
    warnings      self-checks that do not hold: the row's figures are not to be trusted
    """

    defense: str
    settings: dict[str, Any]
    epochs: int | None
    training: str | None
    seeds: int
    scores: dict[str, Any]
    worst: dict[str, Any]
    recognition: dict[str, Any] | None
    utility: dict[str, Any] | None
    gap: dict[str, Any] | None
    lacks: list[str]
    granted: list[str]
    reidentified: dict[str, Any] | None = None
    attribute: dict[str, Any] | None = None
    attacks: list[Attacked] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    pareto: bool = False
    rank: int | None = None

    @property
    def passes(self) -> dict[str, bool]:
        """Whether the lower end of the mean worst case reaches the threshold, per metric: for the source that gave the
        label and for any source, since a defense says itself which of them dominates."""
        return {
            name: name in self.worst and all(low >= threshold for low in self._lows(name))
            for name, threshold in THRESHOLDS.items()
        }

    def _lows(self, metric: str) -> list[float]:
        return [self.worst[name]["low"] or 0.0 for name in (metric, f"any_{metric}") if name in self.worst]


def make_row(
    releases: list[RunResult],
    attacks: list[RunResult],
    utilities: list[RunResult],
    references: list[RunResult],
    epochs: int | None = None,
) -> Row:
    """All records are of one defense and one T; `references` are the undefended model's, trained alike."""
    entry = releases[0].inputs["defense"]
    groups = grouped(releases, attacks)
    counted = [group for group in groups if not group.control]
    utility, gap = _utility(utilities, references)
    training = utilities[0].inputs["utility"]["params"] if utilities else None
    measured = [name for name in releases[0].arrays if name != "units"]
    return Row(
        defense=entry["name"],
        settings={**entry["params"], **_differing(entry)},
        epochs=epochs,
        training=f"{training['model']}, {training['recipe']}" if training else None,
        seeds=len({record.inputs["seed"] for record in releases}),
        scores={n: pooled(releases, n, None if n.startswith("reid") else False) for n in measured},
        worst={name: _worst(releases, counted, name) for name in DISTANCES if name in measured},
        recognition=_recognition(counted),
        utility=utility,
        gap=gap,
        lacks=_lacks(groups, utilities, references, {record.inputs["seed"] for record in releases}),
        granted=sorted({grant for group in counted if group.sound for grant in group.granted}),
        reidentified=_reidentified(releases, counted),
        attribute=_attribute(counted),
        attacks=attack_by_attack(releases, groups),
        unjudged=[
            f"{group.name} ({fault.status}: {fault.reason})"
            for group in groups
            if (fault := group.faulty) and fault.status in ("failed", "skipped")
        ],
        warnings=broken(entry, releases, groups),
        failures=[
            f"{record.inputs.get('attack', {}).get('name', record.spec.kind)}: {record.reason}"
            for record in (*attacks, *utilities)
            if record.status == "failed"
        ],
        records=[record.spec.key for record in (*releases, *attacks, *utilities)],
    )


def _differing(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The mixing, in short: what a reader needs to tell two rows apart."""
    mixing = entry["mixing"]
    short: dict[str, Any] = {"weights": mixing["weights"]}
    if mixing["pairing"] != "permutation":
        short["pairing"] = mixing["pairing"]
    if mixing["intra_class"]:
        short["intra_class"] = True
    if mixing["label"] != "dominant":
        short["label"] = mixing["label"]
    return short


def _worst(releases: Sequence[RunResult], attacks: Sequence[Group], metric: str) -> dict[str, Any]:
    """Per release the minimum over looking at it and every attack on it, then per original, then the statistics."""
    values: list[Array] = []
    for release in releases:
        floor = release.arrays[metric]
        for group in attacks:
            attack = group.sound.get(release.inputs["seed"])
            if attack and f"attacked_{metric}" in attack.arrays:  # attacked_any_dssim beside any_dssim
                floor = np.minimum(floor, attack.arrays[f"attacked_{metric}"])
        values.append(floor)
    joined, units = np.concatenate(values), np.concatenate([release.arrays["units"] for release in releases])
    below = share_below(joined, THRESHOLDS[metric.removeprefix("any_")], units=units)
    most, strongest = max(((fall(group, releases, metric), group.name) for group in attacks), default=(0.0, "look"))
    return {
        **summarise(joined, units=units, proportion=False),
        "below": below["mean"],
        "below_low": below["low"],
        "below_high": below["high"],
        "attack": strongest if most > 0 else "look",
    }


def _recognition(attacks: Sequence[Group]) -> dict[str, Any] | None:
    """The recogniser that reads the dominant class best beyond chance, over seeds.

    One that is granted the public labels is shown only where there is no other: the label is the answer.
    """
    readers = [group for group in attacks if any("top1" in record.arrays for record in group.sound.values())]
    unlabelled = [group for group in readers if "labels" not in group.granted]
    best: dict[str, Any] | None = None
    for group in unlabelled or readers:
        found = {name: reading(group.sound.values(), name) for name in ("top1", "any_source", "released")}
        corrected = found["top1"]["corrected"]
        if best is None or corrected > best["corrected"]:
            arch = group.entry["params"].get("arch")
            best = {"attack": group.name, "arch": arch, **found, "corrected": corrected}
    return best


def _reidentified(releases: Sequence[RunResult], attacks: Sequence[Group]) -> dict[str, Any] | None:
    """Who finds the original in the gallery most often: looking at the release, or an attack."""
    named = [("look", releases), *((group.name, list(group.sound.values())) for group in attacks)]
    best: dict[str, Any] | None = None
    for name, records in named:
        if any("reid_rank1" in record.arrays for record in records):
            rank1 = reading(records, "reid_rank1")
            if best is None or rank1["mean"] > best["rank1"]["mean"]:
                five = any("reid_rank5" in record.arrays for record in records)
                best = {"attack": name, "rank1": rank1, "rank5": reading(records, "reid_rank5") if five else None}
    return best


def _attribute(attacks: Sequence[Group]) -> dict[str, Any] | None:
    """The attack that reads what the public label does not tell, best beyond chance."""
    best: dict[str, Any] | None = None
    for group in attacks:
        if any("attribute" in record.arrays for record in group.sound.values()):
            found = {"attack": group.name, **reading(group.sound.values(), "attribute")}
            if best is None or (found["corrected"] or 0.0) > (best["corrected"] or 0.0):
                best = found
    return best


def _utility(
    utilities: list[RunResult], references: list[RunResult]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Accuracy over seeds per test image, and its paired distance from the undefended model's."""
    mine = {record.inputs["seed"]: record.arrays["utility"] for record in utilities if record.status == "ok"}
    theirs = {record.inputs["seed"]: record.arrays["utility"] for record in references if record.status == "ok"}
    if not mine:
        return None, None
    accuracy = summarise(_mean(mine.values()))
    both = sorted(set(mine) & set(theirs))
    if not both:
        return accuracy, None
    return accuracy, paired(_mean(theirs[seed] for seed in both), _mean(mine[seed] for seed in both))


def _mean(arrays: Iterable[Array]) -> Array:
    mean: Array = np.stack(list(arrays)).mean(0)
    return mean


def _lacks(
    groups: Sequence[Group], utilities: list[RunResult], references: list[RunResult], seeds: set[int]
) -> list[str]:
    """What a complete row has on every seed and this one has not."""

    def everywhere(holds: Callable[[Group], bool]) -> bool:
        return seeds <= {seed for group in groups if holds(group) for seed in group.sound}

    def through_the_defense(group: Group) -> bool:
        whole = group.entry.get("kind") in ("recognition", "reconstruction")
        return whole and "learned" in group.entry.get("traits", []) and "defense" in group.granted

    failed = {g.name for g in groups if not g.control and g.faulty and g.faulty.status == "failed"}
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
        if not group.control and group.sound:
            held[group.name] |= set(group.sound)
    lacks += [f"{name}, which failed" for name in sorted(failed)]
    partly = [name for name, on in held.items() if not seeds <= on and name not in failed and name not in missing]
    lacks += [f"{name} on every seed" for name in partly]
    lacks += [f"{SEEDS} seeds (has {len(seeds)})"] if len(seeds) < SEEDS else []
    return lacks
