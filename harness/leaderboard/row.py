"""One row of a board: what its records say together, over seeds and attacks.

Privacy is judged per original: the minimum over the release as is and every attack that is not a control.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.leaderboard.attack_results import AttackResult, attack_results, strongest_first
from harness.leaderboard.attack_runs import grouped, pooled
from harness.leaderboard.completeness import (
    CONTROLS,
    MULTI_RELEASE,
    SEEDS,
    failed_sanity_checks,
    missing_requirements,
    not_measured_after_attacks,
)
from harness.leaderboard.worst_case import keys, strongest, worst_case
from harness.records import RunResult
from harness.scores import ANY, INDEXES, hit_rates, judged_variants, label, ranking, thresholds
from harness.statistics import accuracy_drop, over_seeds, summarise
from harness.types import Array


@dataclass
class Row:
    """One defense with its settings, after one way of training.

    epochs        T, training epochs of the utility model; None where none was trained
    releases      R, distinct releases: the model trained on them and multi-release attacks saw them; None where no
                  record says it
    scores, worst, strongest, utility, accuracy_drop
                  figures, each with the keys of its own `records`
    scores        of the release as is, by name
    worst         per judged distance and variant the worst case: its statistics, the share of originals below the
                  threshold, and the attack that lowers the mean most, with that attack's records
    strongest     per hit rate the attack, or look, that reaches most beyond chance, and under `beside` the hit rates
                  that follow it; a hit rate that nothing has is absent
    accuracy_drop utility of the undefended model minus this one's, paired over test images
    missing       requirements that the row does not meet; it is judged where there is none
    attacks       every attack by itself
    not_run       attacks that failed or were skipped, with the reason: the row says nothing about them
    warnings      sanity checks that fail: the row's figures are not to be trusted
    not_measured  judged distances that some attack was not measured by
    code_notes    records of other code: which are shown, how many were left out and why
    rank          1 + the ranked rows that are better by a significant paired difference; references have none
    tied          ranked rows whose utility does not differ significantly, as `defense (settings)`
    reference     a yardstick, which claims no privacy by mixing: always listed, never ranked
    hits          (n_test,) accuracy per test image of the utility models, by seed
    """

    defense: str
    settings: dict[str, Any]
    epochs: int | None
    releases: int | None
    training: str | None
    seeds: int
    scores: dict[str, Any]
    worst: dict[str, Any]
    strongest: dict[str, dict[str, Any]]
    utility: dict[str, Any] | None
    accuracy_drop: dict[str, Any] | None
    missing: list[str]
    granted: list[str]
    attacks: list[AttackResult] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    not_measured: tuple[str, ...] = ()
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
        """The rank as it is shown: 1=, where it is shared, or where another row does not differ significantly."""
        return f"{self.rank}{'=' if self.tied else ''}" if self.rank else "ref" if self.reference else ""

    @property
    def originals(self) -> int:
        """How many originals the worst case is of."""
        return int(self.worst[ranking()]["n"])

    @property
    def passes(self) -> dict[str, bool]:
        """Whether the lower end of the mean worst case reaches the threshold, per judged distance.

        For the source that gave the label and for the nearest one, since a defense says itself which of them dominates.
        Not where an attack was not measured by that distance.
        """
        return {
            name: name in self.worst
            and name not in self.not_measured
            and all(low >= threshold for low in self._lows(name))
            for name, threshold in thresholds().items()
        }

    def _lows(self, metric: str) -> list[float]:
        return [self.worst[name]["low"] or 0.0 for name in (metric, ANY + metric) if name in self.worst]


def make_row(
    releases: list[RunResult],
    attacks: list[RunResult],
    utilities: list[RunResult],
    references: list[RunResult],
    epochs: int | None = None,
    number_of_releases: int | None = None,
) -> Row:
    """All records are of one defense, one T and one R; `references` are the undefended model's, trained alike."""
    entry = releases[0].inputs["defense"]
    groups = grouped(releases, attacks)
    results = attack_results(releases, groups)
    counted = [result for result in results if not result.group.control]
    entering = [result.group for result in counted]
    utility, drop = _utility(utilities, references)
    training = utilities[0].inputs["utility"]["params"] if utilities else None
    measured = [name for name in releases[0].arrays if name not in INDEXES]
    found = {name: strongest(releases, counted, name) for name in hit_rates(leading=True)}
    return Row(
        defense=entry["name"],
        settings={**entry["params"], **_mixing_in_short(entry)},
        epochs=epochs,
        releases=number_of_releases,
        training=f"{training['model']}, {training['recipe']}" if training else None,
        seeds=len({record.inputs["seed"] for record in releases}),
        scores={name: _of_release(releases, name) for name in measured},
        worst={name: worst_case(releases, entering, name) for name in judged_variants() if name in measured},
        strongest={name: best for name, best in found.items() if best},
        utility=utility,
        accuracy_drop=drop,
        missing=[
            *missing_requirements(groups, utilities, references, {record.inputs["seed"] for record in releases}),
            *(f"{label(name)} after every attack" for name in not_measured_after_attacks(entering)),
        ],
        not_measured=tuple(not_measured_after_attacks(entering)),
        granted=sorted({grant for group in entering if group.ok_runs for grant in group.granted}),
        attacks=strongest_first(results),
        not_run=[
            f"{group.name} ({failure.status}: {failure.reason})"
            for group in groups
            if (failure := group.worst_failure) and failure.status in ("failed", "skipped")
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


def _of_release(releases: list[RunResult], name: str) -> dict[str, Any]:
    score = pooled(releases, name, None if name in hit_rates() else False)
    return {**score, "records": keys(releases, name)}


def _mixing_in_short(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The weights, and what else of the mixing is not the default."""
    mixing = entry["mixing"]
    short: dict[str, Any] = {"weights": mixing["weights"]}
    if mixing["pairing"] != "permutation":
        short["pairing"] = mixing["pairing"]
    if mixing["intra_class"]:
        short["intra_class"] = True
    if mixing["label"] != "dominant":
        short["label"] = mixing["label"]
    if "published" in entry:  # a client's own release, which has a row of its own
        short["release"] = entry["published"][:8]
    return short


def _utility(
    utilities: list[RunResult], references: list[RunResult]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Accuracy over seeds per test image, and its paired drop from the undefended model's."""
    mine, theirs = _hits(utilities), _hits(references)
    if not mine:
        return None, None
    own = [record.spec.key for record in utilities if record.inputs["seed"] in mine]
    accuracy = {**summarise(over_seeds(mine.values())), "records": own}
    both = sorted(set(mine) & set(theirs))
    if not both:
        return accuracy, None
    drop = accuracy_drop([theirs[seed] for seed in both], [mine[seed] for seed in both])
    compared = [record.spec.key for record in (*utilities, *references) if record.inputs["seed"] in both]
    return accuracy, {**drop, "records": list(dict.fromkeys(compared))}


def _hits(utilities: Iterable[RunResult]) -> dict[int, Array]:
    return {record.inputs["seed"]: record.arrays["utility"] for record in utilities if record.status == "ok"}


__all__ = ["CONTROLS", "MULTI_RELEASE", "SEEDS", "Row", "make_row"]
