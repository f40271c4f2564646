"""Who got most out of a release: the worst case per original, and the attacks that recognise and re-identify most.

Every figure names the records that it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from harness.leaderboard.attack_runs import AttackRuns, fall, reading
from harness.records import RunResult
from harness.scores import base, thresholds
from harness.statistics import share_below, summarise
from harness.types import Array

LOOK = "look"


def keys(records: Iterable[RunResult], array: str | None = None) -> list[str]:
    """The names of these records; of those alone that hold an array."""
    return [record.spec.key for record in records if array is None or array in record.arrays]


def worst_case(releases: Sequence[RunResult], attacks: Sequence[AttackRuns], metric: str) -> dict[str, Any]:
    """Per release the minimum over looking at it and every attack on it, then per original, then the statistics."""
    values: list[Array] = []
    for release in releases:
        floor = release.arrays[metric]
        for group in attacks:
            attack = group.ok_runs.get(release.inputs["seed"])
            if attack and f"attacked_{metric}" in attack.arrays:  # attacked_any_dssim beside any_dssim
                floor = np.minimum(floor, attack.arrays[f"attacked_{metric}"])
        values.append(floor)
    joined, units = np.concatenate(values), np.concatenate([release.arrays["units"] for release in releases])
    below = share_below(joined, thresholds()[base(metric)], units=units)
    falls = [(fall(group, releases, metric), group.name, keys(group.ok_runs.values())) for group in attacks]
    most, strongest, theirs = max(falls, default=(0.0, LOOK, []))
    entering = [record for group in attacks for record in group.ok_runs.values()]
    return {
        **summarise(joined, units=units, proportion=False),
        "below": below["mean"],
        "below_low": below["low"],
        "below_high": below["high"],
        "attack": strongest if most > 0 else LOOK,
        "attack_records": theirs if most > 0 else keys(releases),
        "records": [*keys(releases), *keys(entering, f"attacked_{metric}")],
    }


def recognised(attacks: Sequence[AttackRuns]) -> dict[str, Any] | None:
    """The recogniser that reads the dominant class best beyond chance, over seeds.

    One that is granted the public labels is shown only where there is no other: the label is the answer.
    """
    readers = [group for group in attacks if any("top1" in record.arrays for record in group.ok_runs.values())]
    unlabelled = [group for group in readers if "labels" not in group.granted]
    best: dict[str, Any] | None = None
    for group in unlabelled or readers:
        found = {name: reading(group.ok_runs.values(), name) for name in ("top1", "any_source", "released")}
        corrected = found["top1"]["corrected"]
        if best is None or _beyond(corrected) > _beyond(best["corrected"]):
            arch, theirs = group.entry["params"].get("arch"), keys(group.ok_runs.values(), "top1")
            best = {"attack": group.name, "arch": arch, **found, "corrected": corrected, "records": theirs}
    return best


def reidentified(releases: Sequence[RunResult], attacks: Sequence[AttackRuns]) -> dict[str, Any] | None:
    """Who finds the original in the gallery most often: looking at the release, or an attack."""
    named = [(LOOK, releases), *((group.name, list(group.ok_runs.values())) for group in attacks)]
    best: dict[str, Any] | None = None
    for name, records in named:
        if any("reid_rank1" in record.arrays for record in records):
            rank1 = reading(records, "reid_rank1")
            if best is None or rank1["mean"] > best["rank1"]["mean"]:
                five = any("reid_rank5" in record.arrays for record in records)
                rank5 = reading(records, "reid_rank5") if five else None
                best = {"attack": name, "rank1": rank1, "rank5": rank5, "records": keys(records, "reid_rank1")}
    return best


def attribute_read(attacks: Sequence[AttackRuns]) -> dict[str, Any] | None:
    """The attack that reads what the public label does not tell, best beyond chance."""
    best: dict[str, Any] | None = None
    for group in attacks:
        if any("attribute" in record.arrays for record in group.ok_runs.values()):
            theirs = keys(group.ok_runs.values(), "attribute")
            found = {"attack": group.name, **reading(group.ok_runs.values(), "attribute"), "records": theirs}
            if best is None or _beyond(found["corrected"]) > _beyond(best["corrected"]):
                best = found
    return best


def _beyond(corrected: float | None) -> float:
    return corrected or 0.0
