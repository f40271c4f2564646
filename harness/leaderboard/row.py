"""One row of a board: what its records say together, over seeds and attacks.

Privacy is judged per original: the minimum over looking at the release and every attack that is not a control.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.leaderboard.attack_results import DISTANCES, AttackResult, attack_by_attack
from harness.leaderboard.attack_runs import grouped, pooled
from harness.leaderboard.completeness import CONTROLS, MULTI_RELEASE, SEEDS, failed_sanity_checks, missing_requirements
from harness.leaderboard.worst_case import attribute_read, keys, recognised, reidentified, worst_case
from harness.records import RunResult
from harness.scores import thresholds
from harness.statistics import paired, summarise
from harness.types import Array


@dataclass
class Row:
    """One defense with its settings, after one way of training.

    epochs        T, which utility and multi-release attacks share; None where neither was run
    scores, worst, recognition, utility, gap, reidentified, attribute
                  figures, each with the keys of its own `records`
    worst         per distance the worst case: its statistics, the share of originals below the threshold, and the
                  attack that lowers the mean most, with that attack's records
    reidentified  the attack, or look, that re-identifies most; None where nobody tried
    attribute     the attack that reads the second attribute best beyond chance
    attacks       every attack by itself
    not_run       attacks that failed or were skipped, with the reason: the row says nothing of them
    warnings      self-checks that do not hold: the row's figures are not to be trusted
    code_notes    records of other code: which are shown, how many were left out and why
    rank          1 + the ranked rows that are better by a paired difference; references have none
    tied          ranked rows that cannot be told from this one in utility, as `defense (settings)`
    reference     a yardstick, which claims no privacy by mixing: always listed, never ranked
    hits          (n_test,) accuracy per test image of the utility models, by seed
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
    missing: list[str]
    granted: list[str]
    reidentified: dict[str, Any] | None = None
    attribute: dict[str, Any] | None = None
    attacks: list[AttackResult] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    code_notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    pareto: bool = False
    rank: int | None = None
    tied: list[str] = field(default_factory=list)
    reference: bool = False
    hits: dict[int, Array] = field(default_factory=dict, repr=False)

    @property
    def place(self) -> str:
        """The rank as it is shown: 1=, where another row shares it or cannot be told apart."""
        return f"{self.rank}{'=' if self.tied else ''}" if self.rank else "ref" if self.reference else ""

    @property
    def passes(self) -> dict[str, bool]:
        """Whether the lower end of the mean worst case reaches the threshold, per metric: for the source that gave the
        label and for any source, since a defense says itself which of them dominates."""
        return {
            name: name in self.worst and all(low >= threshold for low in self._lows(name))
            for name, threshold in thresholds().items()
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
        scores={name: _on_release(releases, name) for name in measured},
        worst={name: worst_case(releases, counted, name) for name in DISTANCES if name in measured},
        recognition=recognised(counted),
        utility=utility,
        gap=gap,
        missing=missing_requirements(groups, utilities, references, {record.inputs["seed"] for record in releases}),
        granted=sorted({grant for group in counted if group.ok_runs for grant in group.granted}),
        reidentified=reidentified(releases, counted),
        attribute=attribute_read(counted),
        attacks=attack_by_attack(releases, groups),
        not_run=[
            f"{group.name} ({fault.status}: {fault.reason})"
            for group in groups
            if (fault := group.worst_failure) and fault.status in ("failed", "skipped")
        ],
        warnings=failed_sanity_checks(entry, releases, groups),
        failures=[
            f"{record.inputs.get('attack', {}).get('name', record.spec.kind)}: {record.reason}"
            for record in (*attacks, *utilities)
            if record.status == "failed"
        ],
        records=keys((*releases, *attacks, *utilities)),
        reference="reference" in entry.get("traits", []),
        hits=_hits(utilities),
    )


def _on_release(releases: list[RunResult], name: str) -> dict[str, Any]:
    score = pooled(releases, name, None if name.startswith("reid") else False)
    return {**score, "records": keys(releases, name)}


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
    if "published" in entry:  # somebody's own release, which has a row of its own
        short["release"] = entry["published"][:8]
    return short


def _utility(
    utilities: list[RunResult], references: list[RunResult]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Accuracy over seeds per test image, and its paired distance from the undefended model's."""
    mine, theirs = _hits(utilities), _hits(references)
    if not mine:
        return None, None
    own = [record.spec.key for record in utilities if record.inputs["seed"] in mine]
    accuracy = {**summarise(_mean(mine.values())), "records": own}
    both = sorted(set(mine) & set(theirs))
    if not both:
        return accuracy, None
    gap = paired(_mean(theirs[seed] for seed in both), _mean(mine[seed] for seed in both))
    read = [record.spec.key for record in (*utilities, *references) if record.inputs["seed"] in both]
    return accuracy, {**gap, "records": list(dict.fromkeys(read))}


def _hits(utilities: Iterable[RunResult]) -> dict[int, Array]:
    return {record.inputs["seed"]: record.arrays["utility"] for record in utilities if record.status == "ok"}


def _mean(arrays: Iterable[Array]) -> Array:
    mean: Array = np.stack(list(arrays)).mean(0)
    return mean


__all__ = ["CONTROLS", "MULTI_RELEASE", "SEEDS", "Row", "make_row"]
