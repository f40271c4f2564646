"""What a complete row has, and what one lacks: only the complete are judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from harness.attacked import EXTERNAL
from harness.groups import Group
from harness.records import RunResult

CONTROLS = ("smooth", "mean_image", "random_other", "oracle")
"""What a complete row has beside the learned and the multi-release attack. `smooth` counts as an attack as well."""
MULTI_RELEASE = "multi_release"
SEEDS = 3


def lacking(
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
        if not (group.control or EXTERNAL in group.entry.get("traits", [])) and group.sound:
            held[group.name] |= set(group.sound)
    lacks += [f"{name}, which failed" for name in sorted(failed)]
    partly = [name for name, on in held.items() if not seeds <= on and name not in failed and name not in missing]
    lacks += [f"{name} on every seed" for name in partly]
    lacks += [f"{SEEDS} seeds (has {len(seeds)})"] if len(seeds) < SEEDS else []
    return lacks
