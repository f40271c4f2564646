"""One row of a board: what its records say together, over seeds and attacks.

Privacy is judged per original: the minimum over the releases as they are and every attack that is not a control.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from harness.leaderboard import judgement
from harness.leaderboard.attack_results import AttackResult, attack_results, strongest_first
from harness.leaderboard.attack_runs import AttackRuns, grouped, pooled
from harness.leaderboard.completeness import (
    CONTROLS,
    MULTI_RELEASE,
    SEEDS,
    Recognisers,
    failed_sanity_checks,
    mismatch,
    missing_requirements,
    not_compared,
    not_measured_after_attacks,
    recognisers,
)
from harness.leaderboard.format import attack_name
from harness.leaderboard.judgement import Judgement
from harness.leaderboard.limits import Limits, paper_limits
from harness.leaderboard.per_original import shown_scores
from harness.leaderboard.training import Kind, Variances, compared, summarised
from harness.leaderboard.worst_case import WorstCase, keys, strongest, worst_case, worst_values
from harness.records import RunResult
from harness.scores import hit_rates, judged_variants, label, ranking
from harness.training_variance import Sample, TrainingVariance
from harness.types import Array


@dataclass(frozen=True)
class RowRecords:
    """The records of one defense after one way of training on R releases.

    references  the undefended model's, trained alike
    variances   of a training, by kind of figure; the board fills it from all of its rows before it makes the first
    limits      the thresholds of these images
    """

    releases: Sequence[RunResult]
    attacks: Sequence[RunResult] = ()
    utilities: Sequence[RunResult] = ()
    references: Sequence[RunResult] = ()
    epochs: int | None = None
    released: int | None = None
    variances: Variances = field(default_factory=dict)
    limits: Limits = field(default_factory=paper_limits)

    @cached_property
    def groups(self) -> list[AttackRuns]:
        return grouped(self.releases, self.attacks)

    @cached_property
    def results(self) -> list[AttackResult]:
        return attack_results(self.releases, self.groups, self.variances)

    @cached_property
    def entering(self) -> list[AttackRuns]:
        """The attacks that enter the worst case: no controls."""
        return [group for group in self.groups if not group.control]

    @cached_property
    def cases(self) -> dict[str, WorstCase]:
        """The worst case by each judged distance and variant that the release was measured by."""
        found = {name: worst_values(self.releases, self.entering, name) for name in judged_variants()}
        return {name: case for name, case in found.items() if case is not None}

    @cached_property
    def recognisers(self) -> Recognisers:
        return recognisers(self.groups)

    @property
    def training(self) -> str | None:
        """Network and recipe of the utility model, and the checkpoint that it began with, if any."""
        if not self.utilities:
            return None
        inputs = self.utilities[0].inputs
        params, digest = inputs["utility"]["params"], inputs.get("checkpoint")
        start = f", from checkpoint {digest[:12]}" if digest else ""
        return f"{params['model']}, {params['recipe']}{start}"

    def worst_kind(self, metric: str) -> Kind | None:
        """Of the worst case, where a trained attack is in it."""
        trained = any(group.trained for group in self.cases[metric].attacks.values())
        return ("worst", metric, self.released) if trained else None

    @property
    def utility_kind(self) -> Kind:
        return ("utility", self.epochs, self.released, self.training)

    def samples(self) -> list[tuple[Kind, Sample]]:
        """Every figure that a training enters, with its kind."""
        found = [(kind, case.sample) for name, case in self.cases.items() if (kind := self.worst_kind(name))]
        found += [sample for result in self.results for sample in result.samples()]
        found += self.recognisers.samples()
        hits = hits_of(self.utilities)
        return [*found, (self.utility_kind, over_images(hits))] if hits else found


@dataclass
class Row:
    """One defense with its settings, after one way of training.

    epochs        T, training epochs of the utility model; None where none was trained
    releases      R, distinct releases: the model trained on them and multi-release attacks saw them; None where no
                  record says it
    scores, worst, strongest, utility, accuracy_drop
                  figures, each with the keys of its own `records`
    scores        of the release as is, by name
    worst         per judged distance and variant the worst case: its statistics, those of its null, the share of
                  originals below the threshold, the best single attack and the one chosen on half of the originals
    judgements    the parts of the verdict: hidden by each distance, exposed, reidentified
    mismatch      what says that the defense behaves otherwise when rehearsed
    recognisers   those trained through the defense beside their floor
    strongest     per hit rate the attack, or look, that reaches most beyond chance, and under `beside` the hit rates
                  that follow it; a hit rate that nothing has is absent
    accuracy_drop utility of the undefended model minus this one's, paired over test images
    training_variance  of one training's utility, pooled over the board
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
    limits        the thresholds that it is judged by
    """

    defense: str
    settings: dict[str, Any]
    epochs: int | None
    training: str | None
    seeds: int
    scores: dict[str, Any]
    worst: dict[str, Any]
    strongest: dict[str, dict[str, Any]]
    utility: dict[str, Any] | None
    accuracy_drop: dict[str, Any] | None
    missing: list[str]
    granted: list[str]
    judgements: dict[str, Judgement]
    recognisers: Recognisers = field(repr=False)
    releases: int | None = None
    mismatch: list[str] = field(default_factory=list)
    training_variance: TrainingVariance | None = field(default=None, repr=False)
    attacks: list[AttackResult] = field(default_factory=list, repr=False)
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
    limits: Limits = field(default_factory=paper_limits)

    @property
    def place(self) -> str:
        """The rank as it is shown: 1=, where it is shared, or where another row does not differ significantly."""
        return f"{self.rank}{'=' if self.tied else ''}" if self.rank else "ref" if self.reference else ""

    @property
    def originals(self) -> int:
        """How many originals the worst case is of."""
        return int(self.worst[ranking()]["n"])

    @property
    def passes(self) -> dict[str, bool | None]:
        """Of each part of the verdict; None where it is not judged."""
        return {name: part.passes for name, part in self.judgements.items()}

    @property
    def passing(self) -> bool | None:
        """Whether every part passes; None where requirements are missing, or a part that could fail is not judged."""
        return None if self.missing else judgement.passing(self.passes.values())

    @property
    def single(self) -> dict[str, Any]:
        """The best single attack, by the distance that ranks."""
        return dict(self.worst[ranking()]["single"])

    @property
    def chosen(self) -> dict[str, Any]:
        """The attack chosen on one half of the originals and scored on the other."""
        return dict(self.worst[ranking()]["chosen"])

    @property
    def exposed(self) -> Mapping[str, Any]:
        return self.judgements[judgement.EXPOSED].figures

    @property
    def reidentified(self) -> Mapping[str, Any]:
        return self.judgements[judgement.REIDENTIFIED].figures


def make_row(given: RowRecords) -> Row:
    """What the records of a row say."""
    releases, groups, variances = given.releases, given.groups, given.variances
    entry = releases[0].inputs["defense"]
    counted = [result for result in given.results if not result.group.control]
    found = {name: strongest(releases, counted, name) for name in hit_rates(leading=True)}
    worst = {
        name: worst_case(case, releases, name, given.worst_kind(name), variances, given.limits)
        for name, case in given.cases.items()
    }
    not_measured = not_measured_after_attacks(given.entering)
    utility, drop = _utility(given)
    cheats = mismatch(releases)
    return Row(
        defense=entry["name"],
        settings={**entry["params"], **_mixing_in_short(entry)},
        epochs=given.epochs,
        releases=given.released,
        training=given.training,
        seeds=len({record.inputs["seed"] for record in releases}),
        scores={name: _of_release(releases, name) for name in shown_scores(releases[0])},
        worst=worst,
        strongest={name: best for name, best in found.items() if best},
        utility=utility,
        accuracy_drop=drop,
        training_variance=variances.get(given.utility_kind),
        missing=[
            *missing_requirements(groups, releases, given.utilities, given.references, given.released, variances),
            *(f"{label(name)} after every attack" for name in not_measured),
            *_no_null(given.cases),
            *(["rehearsals that match the releases"] if cheats else []),
            *(["rehearsals to compare the releases with"] if not cheats and not_compared(releases) else []),
        ],
        mismatch=cheats,
        judgements={
            **judgement.hidden(worst, not_measured, given.limits),
            judgement.EXPOSED: judgement.exposed(given.cases, releases, given.entering),
            judgement.REIDENTIFIED: judgement.reidentified(releases, given.entering),
        },
        recognisers=given.recognisers,
        not_measured=tuple(not_measured),
        granted=sorted({grant for group in given.entering if group.ok_runs for grant in group.granted}),
        attacks=strongest_first(given.results),
        not_run=[
            f"{group.name} ({failure.status}: {failure.reason})"
            for group in groups
            if (failure := group.worst_failure) and failure.status in ("failed", "skipped")
        ],
        warnings=failed_sanity_checks(entry, releases, groups),
        failures=[
            f"{record.inputs.get('attack', {}).get('name', record.spec.kind)}: {record.reason}"
            for record in (*given.attacks, *given.utilities)
            if record.status == "failed"
        ],
        records=keys((*releases, *given.attacks, *given.utilities)),
        reference="reference" in entry.get("traits", []),
        hits=hits_of(given.utilities),
        limits=given.limits,
    )


def _no_null(cases: Mapping[str, WorstCase]) -> list[str]:
    """The null is missing where a record of older code entered: which."""
    lacking = dict.fromkeys(name for case in cases.values() for name in case.lacking)
    if not lacking:
        return []
    names = [attack_name(name) for name in lacking]
    return [f"null (not measured for {', '.join(names) if len(names) < 4 else f'{len(names)} records of older code'})"]


def _of_release(releases: Sequence[RunResult], name: str) -> dict[str, Any]:
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


def _utility(given: RowRecords) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Accuracy over seeds per test image, and its paired drop from the undefended model's."""
    mine, theirs = hits_of(given.utilities), hits_of(given.references)
    if not mine:
        return None, None
    own = [record.spec.key for record in given.utilities if record.inputs["seed"] in mine]
    figures = summarised(over_images(mine), None, given.utility_kind, given.variances)
    accuracy = {**figures, "records": own}
    both = sorted(set(mine) & set(theirs))
    if not both:
        return accuracy, None
    apart = over_images({seed: theirs[seed] - mine[seed] for seed in both})
    drop = compared(apart, given.utility_kind, given.variances, 2 / len(both))
    found = [record.spec.key for record in (*given.utilities, *given.references) if record.inputs["seed"] in both]
    return accuracy, {**drop, "records": list(dict.fromkeys(found))}


def hits_of(utilities: Iterable[RunResult]) -> dict[int, Array]:
    """(n_test,) by seed: whether each test image was classified correctly."""
    return {record.inputs["seed"]: record.arrays["utility"] for record in utilities if record.status == "ok"}


def over_images(figures: Mapping[int, Array]) -> Sample:
    """Figures per test image, by seed."""
    seeds, values = list(figures), list(figures.values())
    images = [np.arange(len(each)) for each in values]
    return Sample(np.concatenate(values), np.concatenate(images), np.repeat(seeds, [len(each) for each in values]))


__all__ = ["CONTROLS", "MULTI_RELEASE", "SEEDS", "Row", "RowRecords", "make_row"]
