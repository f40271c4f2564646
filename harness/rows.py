"""One row of a board: what its records say together, over seeds and attacks.

Privacy is judged per original: the minimum over looking at the release and every attack that is not a control.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.records import RunResult
from harness.statistics import paired, share_below, summarise
from harness.types import Array

THRESHOLDS = {"dssim": 0.66, "dhaar": 0.62}
"""The stricter of the paper's t_acc and cut-off over its two data sets (Tables 2 and 3), on unattacked releases."""
_ANY = ("any_dssim", "any_dhaar")  # the same over every source, not the dominant one alone
CONTROLS = ("smooth", "mean_image", "random_other", "oracle")
SEEDS = 3
log = logging.getLogger("harness")


@dataclass
class Row:
    """One defense with its settings, after one way of training."""

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
    failures: list[str] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    pareto: bool = False
    rank: int | None = None

    @property
    def passes(self) -> dict[str, bool]:
        """Whether the lower end of the mean worst case reaches the threshold, per metric."""
        return {
            name: name in self.worst and (self.worst[name]["low"] or 0.0) >= threshold
            for name, threshold in THRESHOLDS.items()
        }


def make_row(
    releases: list[RunResult], attacks: list[RunResult], utilities: list[RunResult], references: list[RunResult]
) -> Row:
    entry = releases[0].inputs["defense"]
    epochs = utilities[0].inputs["epochs"] if utilities else None
    attacks = [r for r in attacks if epochs is None or r.inputs.get("epochs", epochs) == epochs]
    ok = [record for record in attacks if record.status == "ok"]
    utility, gap = _utility(utilities, references)
    training = utilities[0].inputs["utility"]["params"] if utilities else None
    counted = [record for record in ok if "control" not in record.inputs["attack"].get("traits", [])]
    return Row(
        defense=entry["name"],
        settings={**entry["params"], **_differing(entry)},
        epochs=epochs,
        training=f"{training['model']}, {training['recipe']}" if training else None,
        seeds=len({record.inputs["seed"] for record in releases}),
        scores={name: _pooled(releases, name) for name in releases[0].arrays if name != "units"},
        worst={name: _worst(releases, counted, name) for name in (*THRESHOLDS, *_ANY) if name in releases[0].arrays},
        recognition=_recognition(counted),
        utility=utility,
        gap=gap,
        lacks=_lacks(ok, counted, utilities, references, {record.inputs["seed"] for record in releases}),
        granted=sorted({grant for record in counted for grant in record.inputs["attack"].get("granted", [])}),
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


def _pooled(records: list[RunResult], name: str) -> dict[str, Any]:
    """Over seeds: an original's figure is the mean over all its releases."""
    having = [record for record in records if name in record.arrays]
    values = np.concatenate([record.arrays[name] for record in having])
    units = np.concatenate([record.arrays["units"] for record in having])
    return summarise(values, units=units, proportion=False)


def _worst(releases: list[RunResult], attacks: list[RunResult], metric: str) -> dict[str, Any]:
    """Per release the minimum over looking at it and every attack on it, then per original, then the statistics."""
    values: list[Array] = []
    units: list[Array] = []
    named = "look"
    drops: dict[str, float] = defaultdict(float)
    for release in releases:
        floor = release.arrays[metric].copy()
        for attack in attacks:
            found = attack.arrays.get(f"attacked_{metric}")  # attacked_any_dssim beside any_dssim
            if found is None or attack.inputs["seed"] != release.inputs["seed"]:
                continue
            if not np.array_equal(attack.arrays["units"], release.arrays["units"]):
                log.warning("attack record %s is on other originals than its release: left out", attack.spec.key)
                continue
            drops[attack.inputs["attack"]["name"]] += float((release.arrays[metric] - found).mean())
            floor = np.minimum(floor, found)
        values.append(floor)
        units.append(release.arrays["units"])
    strongest = max(drops, key=lambda name: drops[name], default=None)
    if strongest is not None and drops[strongest] > 0:
        named = strongest
    joined, whose = np.concatenate(values), np.concatenate(units)
    below = share_below(joined, THRESHOLDS[metric.removeprefix("any_")], units=whose)
    return {**summarise(joined, units=whose, proportion=False), "below": below["mean"], "attack": named}


def _recognition(attacks: list[RunResult]) -> dict[str, Any] | None:
    """The recogniser that reads the dominant class best beyond chance, over seeds.

    One that is granted the public labels is shown only where there is no other: the label is the answer.
    """
    groups: dict[str, list[RunResult]] = defaultdict(list)
    unlabelled = [record for record in attacks if "labels" not in record.inputs["attack"].get("granted", [])]
    for record in unlabelled or attacks:
        if "top1" in record.arrays:
            attack = record.inputs["attack"]
            groups[json.dumps([attack["name"], attack["params"]], sort_keys=True)].append(record)
    best: dict[str, Any] | None = None
    for group in groups.values():
        units = np.concatenate([record.arrays["units"] for record in group])
        found = {
            name: {
                **summarise(np.concatenate([record.arrays[name] for record in group]), units=units),
                "chance": float(np.mean([record.scores[name]["chance"] for record in group])),
            }
            for name in ("top1", "any_source", "released")
        }
        top = found["top1"]
        corrected = (top["mean"] - top["chance"]) / (1 - top["chance"]) if top["chance"] < 1 else 0.0
        attack = group[0].inputs["attack"]
        if best is None or corrected > best["corrected"]:
            best = {"attack": attack["name"], "arch": attack["params"].get("arch"), **found, "corrected": corrected}
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
    ok: list[RunResult],
    counted: list[RunResult],
    utilities: list[RunResult],
    references: list[RunResult],
    seeds: set[int],
) -> list[str]:
    """What a complete row has on every seed and this one has not."""

    def everywhere(holds: Callable[[Mapping[str, Any]], bool]) -> bool:
        return seeds <= {record.inputs["seed"] for record in ok if holds(record.inputs["attack"])}

    def through_the_defense(attack: Mapping[str, Any]) -> bool:
        return "learned" in attack.get("traits", []) and "defense" in attack.get("granted", [])

    lacks = [] if everywhere(through_the_defense) else ["a learned attack through the defense"]
    lacks += [] if everywhere(lambda attack: attack["name"] == "multi_release") else ["multi_release"]
    missing = [name for name in CONTROLS if not everywhere(lambda attack, name=name: attack["name"] == name)]  # type: ignore[misc]
    lacks += [f"controls ({', '.join(missing)})"] if missing else []
    if not seeds <= {record.inputs["seed"] for record in utilities if record.status == "ok"}:
        lacks.append("utility on every seed")
    for record in references:  # against a model that learned nothing, nothing is lost
        known = record.scores.get("utility", {})
        if known.get("low") is not None and known["low"] <= known.get("chance", 0.0):
            lacks.append("an undefended model above chance")
    named: dict[str, set[int]] = defaultdict(set)
    for record in counted:
        named[record.inputs["attack"]["name"]].add(record.inputs["seed"])
    lacks += [f"{name} on every seed" for name, held in named.items() if not seeds <= held]
    lacks += [f"{SEEDS} seeds (has {len(seeds)})"] if len(seeds) < SEEDS else []
    return lacks
