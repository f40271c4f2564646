"""Judgements to thresholds: per metric, against people and against each attack. Raynal et al. 2020, sections 4.2, 4.3.

Judges are kept apart by their kind: all people together, every attack by itself. Within a kind, every judgement of a
pair is one case, as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import HarnessError
from harness.leaderboard.format import short, trimmed
from harness.scores import label, thresholds
from harness.study.calibration import roc
from harness.study.calibration import thresholds as exact
from harness.study.calibration.clustered import Clusters, of_share
from harness.study.calibration.gather import Gathered
from harness.study.judgements import PEOPLE, Judgement
from harness.system.text import counted

if TYPE_CHECKING:
    from harness.types import Array

GUESSING = 0.5


@dataclass(frozen=True)
class Threshold:
    """A threshold of a metric, with its rates; low and high are None where the data do not bound it."""

    threshold: float
    fpr: float
    tpr: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class MetricResult:
    """How one metric agrees with one kind of judges.

    auc, low, high  with its 95 % interval; None where there is none
    chosen          the thresholds by criterion (roc.CRITERIA)
    distances, hidden, clusters  (n,) what it was made of
    """

    metric: str
    auc: float
    low: float | None
    high: float | None
    chosen: Mapping[str, Threshold]
    curve: roc.Curve = field(repr=False)
    distances: Array = field(repr=False)
    hidden: Array = field(repr=False)
    clusters: Clusters = field(repr=False)

    @property
    def grade(self) -> str:
        return roc.grade(self.auc)

    @property
    def tells(self) -> bool:
        """Whether boards may be judged by it: the AUC is acceptable, and its interval is above guessing."""
        return self.low is not None and self.low > GUESSING and self.auc >= roc.ACCEPTABLE

    @property
    def stricter(self) -> float:
        """The larger of both thresholds: what boards judge by."""
        return max(each.threshold for each in self.chosen.values())


@dataclass(frozen=True)
class Against:
    """One kind of judges.

    kind        `person`, or the name of an attack
    judges, images, pairs, judgements  how many
    recognised  share of the judgements
    metrics     those that could be calibrated
    notes       one sentence for each thing that could not
    """

    kind: str
    judges: int
    images: int
    pairs: int
    judgements: int
    recognised: float
    metrics: Sequence[MetricResult]
    notes: Sequence[str]

    @property
    def who(self) -> str:
        """24 people, or google_vision"""
        people = "1 person" if self.judges == 1 else f"{self.judges} people"
        return people if self.kind == PEOPLE else self.kind


@dataclass(frozen=True)
class Calibration:
    """Of one data set in one size."""

    about: Gathered
    against: Sequence[Against]

    @property
    def limits(self) -> dict[str, float]:
        """The thresholds for boards, rounded to .01: of the judged distances that tell what people recognise."""
        people = [each for each in self.against if each.kind == PEOPLE]
        return {
            each.metric: round(each.stricter, 2)
            for kind in people
            for each in kind.metrics
            if each.metric in thresholds() and each.tells and round(each.stricter, 2) > 0
        }


def calibrate(about: Gathered) -> Calibration:
    """Every kind of judges, people first. HarnessError where no curve can be drawn for any, with the first reason."""
    kinds = sorted({each.kind for each in about.judgements}, key=lambda kind: (kind != PEOPLE, kind))
    found = [_against(about, kind, [each for each in about.judgements if each.kind == kind]) for kind in kinds]
    if not any(each.metrics for each in found):
        raise HarnessError(f"nothing can be calibrated: {found[0].notes[-1]}")
    return Calibration(about, found)


def _against(about: Gathered, kind: str, judgements: Sequence[Judgement]) -> Against:
    hidden = np.array([not each.recognised for each in judgements])
    clusters = Clusters.of([each.by for each in judgements], [each.image for each in judgements])
    judges, images = clusters.counts
    pairs = {(each.image, each.source) for each in judgements}
    notes, metrics = [], []
    if hidden.all() or not hidden.any():
        said, other = ("no pair", "easier") if hidden.all() else ("every pair", "harder")
        notes.append(f"{said} was recognised ({kind}), so there is no ROC curve; ask about {other} images")
    else:
        notes += _alone(kind, judges, images)
        for name in dict.fromkeys(name for key in about.pairs for name in about.pairs[key].metrics):
            values = [about.pairs[each.image, each.source].metrics.get(name) for each in judgements]
            result, why = _metric(name, values, hidden, clusters)
            metrics += [result] if result else []
            notes += [why] if why else []
        if not any(about.pairs[pair].metrics for pair in pairs):
            notes.append("the files hold no distances of these pairs; write them with harness survey score")
    recognised = float(1 - hidden.mean())
    return Against(kind, judges, images, len(pairs), len(judgements), recognised, metrics, notes)


def _alone(kind: str, judges: int, images: int) -> list[str]:
    said = []
    if judges == 1 and kind == PEOPLE:
        said.append("one person judged: intervals hold the choice of images alone, not that of people")
    if images == 1:
        said.append("all judgements are of one image: no interval holds the choice of images")
    return said


def _metric(
    name: str, values: Sequence[float | None], hidden: Array, clusters: Clusters
) -> tuple[MetricResult | None, str]:
    """The result, or why there is none; both where some pairs lack the distance."""
    there = np.array([value is not None for value in values])
    if not there.any():
        return None, f"{label(name)} was not measured of any pair"
    distances = np.array([value for value in values if value is not None])
    hidden = hidden[there]
    clusters = Clusters(clusters.people[there], clusters.images[there])
    if hidden.all() or not hidden.any():
        return None, f"{label(name)} was measured of pairs alone that {'nobody' if hidden.all() else 'everybody'} named"
    if distances.min() == distances.max():
        return None, f"{label(name)} is {short(distances[0])} for every pair, so it tells none from another"
    why = "" if there.all() else f"{label(name)} was not measured of {counted(int((~there).sum()), 'judgement')}"
    whole = roc.curve(distances, hidden)
    low, high = of_share(whole.auc, roc.influence(distances, hidden), clusters)
    chosen = {}
    for criterion in roc.CRITERIA:
        point = whole.point(criterion)
        ends = exact.interval(distances, hidden, clusters, criterion, point.threshold)
        chosen[criterion] = Threshold(point.threshold, point.fpr, point.tpr, *ends)
    return MetricResult(name, whole.auc, low, high, chosen, whole, distances, hidden, clusters), why


def source_of(calibration: Calibration) -> str:
    """Where the thresholds come from, in few words, for boards."""
    people = next(each for each in calibration.against if each.kind == PEOPLE)
    simulated = "SIMULATED: " if calibration.about.simulated else ""
    said = f"{people.who}, {counted(people.judgements, 'judgement')} of {counted(people.pairs, 'pair')}"
    return f"{simulated}{said}, the stricter of t_acc and t_cut_off"


def limits_in_words(calibration: Calibration) -> list[str]:
    """What boards of these images would be judged by, or why nothing."""
    limits, about = calibration.limits, calibration.about
    where = f"{about.name} at {about.height}x{about.width}"
    if limits:
        said = ", ".join(f"{label(name)} {trimmed(value)}" for name, value in limits.items())
        kept = [f"{label(name)} {trimmed(value)}" for name, value in thresholds().items() if name not in limits]
        more = f" {', '.join(kept)} stays the paper's: its AUC here is not acceptable, or not known." if kept else ""
        return [f"Thresholds for boards of {where}: {said}, the stricter of t_acc and t_cut_off.{more}"]
    if not any(each.kind == PEOPLE for each in calibration.against):
        return [f"No thresholds for boards of {where}: they are of people, and no person judged."]
    return [f"No thresholds for boards of {where}: of no judged distance the AUC against people is acceptable."]


def document(calibration: Calibration) -> dict[str, Any]:
    """As `--json` prints it."""
    about = calibration.about
    return {
        "simulated": about.simulated,
        "dataset": about.name,
        "height": about.height,
        "width": about.width,
        "surveys": list(about.surveys),
        "thresholds": calibration.limits,
        "against": [_kind_document(each) for each in calibration.against],
    }


def _kind_document(each: Against) -> dict[str, Any]:
    names = ("kind", "judges", "images", "pairs", "judgements", "recognised")
    return {name: getattr(each, name) for name in names} | {
        "notes": list(each.notes),
        "metrics": [
            {
                "metric": result.metric,
                "auc": {"mean": result.auc, "low": result.low, "high": result.high},
                "grade": result.grade,
                "clustered_by": list(result.clusters.by),
                **{name: vars(chosen) for name, chosen in result.chosen.items()},
            }
            for result in each.metrics
        ],
    }
