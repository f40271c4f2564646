"""Compare a new run with a baseline: what changed, and whether that fails.

A figure fails where its change, paired over originals, is significant after Holm's correction for the number of figures
and larger than its tolerance. A version that was raised in the registry explains a change in one direction:

                              falls                     rises
    privacy of a release      privacy lost              unexplained privacy gained; explained by the defense's version
    what an attack sees       attack weaker; explained  privacy lost; explained by the attack's version
                              by the defense's version
    utility                   utility lost              reported

A version of a metric or an evaluator explains like a defense's: gains alone. A null says nothing of what is seen: any
version explains it. Explained changes are reported and do not fail; other intended changes go into the baseline with
--update. Accuracies are compared on every defense and as their mean over all of them, which varies less: a fault in
training or in recognition moves them all. The verdict itself is compared too (harness.check.verdicts). Of planted
faults nothing else is: they must not pass, and every part of the verdict that caught one must catch it still.

Every release is also checked for its order. "If index i always held x_i, averaging epochs would undo everything"
(Raynal et al. 2020, section 2, as read here), so a release is shuffled anew each epoch. A record lists the originals in
the order of the release: an order that was not shuffled shows as a rank correlation between an original's position in
the data set and its position in the release. Of a random order the correlation has mean 0 and variance 1 / (n - 1)
(Spearman 1904).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

from harness.check.changes import (
    ATTACK_WEAKER,
    EXPLAINED,
    FIGURE_MOVED,
    JOINT,
    LEVEL,
    MISSING,
    NEW,
    NOT_COMPARABLE,
    ORDER_NOT_RANDOM,
    PRIVACY_GAINED,
    PRIVACY_LOST,
    STATUS_CHANGED,
    UNCHANGED,
    UTILITY_GAINED,
    UTILITY_LOST,
    WITHIN,
    Change,
    Comparison,
    compared_scores,
    entries_measuring,
    tolerance_of,
)
from harness.check.noise import SeriesChange, joint_change, seed_variance, series_change
from harness.check.series import Match, Series, match_series, raised
from harness.check.verdicts import verdict_changes
from harness.records import RunResult
from harness.scores import farther
from harness.statistics import holm
from harness.types import Array

_ORDER_TOLERANCE = 0.2  # rank correlation: far less than an order that was not shuffled has


_JOINT = ("utility", "top1")  # accuracies: noisy on one defense, and moved on all by most faults


@dataclass(frozen=True)
class _Figure:
    """A score of a match, measured but not yet judged; of a mean over defenses the match is the first of them."""

    match: Match
    score: str
    measured: SeriesChange
    tolerance: float


def compare(
    before: Iterable[RunResult], after: Iterable[RunResult], tolerances: Mapping[str, float] | None = None
) -> Comparison:
    """Compare a new run's records with the baseline's. Pure: nothing is run, read or written.

    tolerances  per score, in its own unit; they replace those of harness.scores
    """
    matches = sorted(match_series(before, after), key=_sort_key)
    changes = [change for match in matches for change in _status_changes(match)]
    changes += verdict_changes(matches)
    compared = [match for match in matches if not match.planted]
    figures = [figure for match in compared for figure in _figures(match, compared, tolerances or {})]
    figures += _joint_figures(compared, tolerances or {})
    orders = [
        _order_change(match)
        for match in compared
        if match.after and match.after.kind == "release" and match.after.ok_records
    ]
    corrected = holm([*(figure.measured.p for figure in figures), *(change.p or 0.0 for change in orders)]).tolist()
    level = LEVEL / max(1, len(corrected))
    changes += [_judge_figure(figure, p, level) for figure, p in zip(figures, corrected, strict=False)]
    changes += [_judge_order(change, p) for change, p in zip(orders, corrected[len(figures) :], strict=True)]
    changes.sort(key=lambda change: (not change.failed, change.quiet))
    return Comparison(tuple(changes), tuple(_remarks(matches)))


def _sort_key(match: Match) -> tuple[str, int, str]:
    """By defense; then its release, its utility, its attacks."""
    kind, defense, _ = (match.after or match.before).names  # type: ignore[union-attr]
    return defense, ("release", "utility", "attack").index(kind), match.name


# Status


def _status_changes(match: Match) -> list[Change]:
    """A line where a cell is missing, new or changed its status, and for every score that is no longer measured."""
    old, new = match.before, match.after
    if new is None:
        return [Change(match.name, "status", MISSING, ("in the baseline, not in this run",))]
    if old is None:
        return [Change(match.name, "status", NEW, ("not in the baseline; --update adds it",))]
    if match.not_comparable:
        return [Change(match.name, "status", NOT_COMPARABLE, (match.not_comparable,))]
    was, now = old.worst_record, new.worst_record
    missing = [score for score in compared_scores(old.arrays) if new.ok_records and score not in new.arrays]
    if missing or was.status == now.status == "ok":
        return [Change(match.name, score, MISSING, ("measured in the baseline, not in this run",)) for score in missing]
    statuses = f"{was.status} -> {now.status}" + (f": {now.reason}" if now.reason else "")
    stopped = bool(old.ok_records) and (not new.ok_records or was.status == "ok")
    started = was.status == "inapplicable" and not old.ok_records and bool(new.ok_records)
    if not stopped and not started:
        return [Change(match.name, "status", WITHIN, (statuses,))]
    versions = raised(old.attack, new.attack) or raised(old.defense, new.defense)
    explained = bool(versions) and now.status in ("ok", "inapplicable")
    return [Change(match.name, "status", EXPLAINED if explained else STATUS_CHANGED, (statuses, *versions))]


# Figures


def _figures(match: Match, matches: Sequence[Match], tolerances: Mapping[str, float]) -> list[_Figure]:
    old, new = match.before, match.after
    if old is None or new is None or match.not_comparable or not (old.ok_records and new.ok_records):
        return []
    same_work = [
        other.before
        for other in matches
        if other.before and (other.before.kind, other.before.names[2]) == (old.kind, old.names[2])
    ]
    figures = []
    for score in compared_scores(old.arrays):
        if score not in new.arrays:
            continue
        measured = series_change(old, new, score, seed_variance(old, same_work, score))
        if measured:
            tolerance = tolerance_of(old.kind, score, measured.before, tolerances)
            figures.append(_Figure(match, score, measured, tolerance))
    return figures


def _joint_figures(matches: Sequence[Match], tolerances: Mapping[str, float]) -> list[_Figure]:
    """Accuracies, as the mean over all defenses that the same work was done on.

    Recognition of a defense whose version was raised may fall; its own line says so, and the mean is over the others.
    """
    works: dict[tuple[str, str, str, str], list[Match]] = defaultdict(list)
    for match in matches:
        old, new = match.before, match.after
        if old and new and not match.not_comparable and old.ok_records and new.ok_records:
            if old.kind == "attack" and raised(old.defense, new.defense):
                continue
            for score in _JOINT:
                if score in old.arrays & new.arrays:
                    works[score, old.kind, old.names[2], old.inputs["dataset"]["fingerprint"]].append(match)
    found = []
    for (score, kind, attack, _), some in works.items():
        pairs = [(match.before, match.after) for match in some if match.before and match.after]
        measured = joint_change(pairs, score) if len(pairs) > 1 else None
        if measured:
            joint = Match(f"{attack or kind}{JOINT}{len(pairs)} defenses", *pairs[0])
            found.append(_Figure(joint, score, measured, tolerance_of(kind, score, 0.0, tolerances)))
    return found


def _judge_figure(figure: _Figure, p: float, level: float) -> Change:
    match, measured = figure.match, figure.measured
    low, high = measured.interval() if measured.spreads else (None, None)
    detectable = max(figure.tolerance, measured.detectable(level)) if measured.spreads else None
    change = Change(
        match.name,
        figure.score,
        WITHIN,
        match.changed_settings,
        measured.before,
        measured.after,
        low,
        high,
        p,
        figure.tolerance,
        detectable,
        measured.n,
    )
    if measured.unchanged:
        return replace(change, what=UNCHANGED)
    if p >= LEVEL or abs(measured.change) <= figure.tolerance:
        return change
    rose = measured.change > 0
    assert match.before and match.after
    what, versions = _verdict(match.before, match.after, figure.score, rose)
    return replace(change, what=what, notes=(*match.changed_settings, *versions))


def _verdict(old: Series, new: Series, score: str, rose: bool) -> tuple[str, tuple[str, ...]]:
    """The verdict on a significant change beyond its tolerance, and the raised versions that explain it."""
    if old.kind == "utility":
        return (UTILITY_GAINED, ()) if rose else (UTILITY_LOST, ())
    was, now = entries_measuring(old, score), entries_measuring(new, score)
    metrics = [text for name in sorted(was.keys() & now.keys()) for text in raised(was[name], now[name])]
    hiding_versions = (*raised(old.defense, new.defense), *metrics)
    larger_hides_more, attack_versions = farther(score), raised(old.attack, new.attack)
    if larger_hides_more is None:
        versions = (*hiding_versions, *attack_versions)
        return (EXPLAINED if versions else FIGURE_MOVED), versions
    if rose != larger_hides_more:
        return (EXPLAINED if attack_versions else PRIVACY_LOST), attack_versions
    unexplained = PRIVACY_GAINED if old.kind == "release" else ATTACK_WEAKER
    return (EXPLAINED if hiding_versions else unexplained), hiding_versions


# Order of the release


def order_correlation(releases: Iterable[RunResult]) -> tuple[float, float]:
    """The mean rank correlation over seeds, and its two-sided p-value under a random order; (0, 1) where n < 3."""
    correlations = [(_spearman(record.arrays["units"]), len(record.arrays["units"])) for record in releases]
    counted = [(rho, n) for rho, n in correlations if n > 2]
    if not counted:
        return 0.0, 1.0
    z = sum(rho * math.sqrt(n - 1) for rho, n in counted) / math.sqrt(len(counted))
    return float(np.mean([rho for rho, _ in counted])), float(2 * ndtr(-abs(z)))


def _spearman(units: Array) -> float:
    """Spearman's rank correlation with 0, 1, ..., in [-1, 1]; 0 where all rows are of one original."""
    if len(units) < 2 or (units == units[0]).all():
        return 0.0
    return float(np.corrcoef(rankdata(units), np.arange(len(units)))[0, 1])


def _order_change(match: Match) -> Change:
    assert match.after is not None
    rho, p = order_correlation(match.after.ok_records.values())
    old = match.before.ok_records if match.before else {}
    same_seeds = set(match.after.ok_records) <= set(old)
    before, _ = order_correlation(
        record for seed, record in old.items() if seed in match.after.ok_records or not same_seeds
    )
    n = sum(len(record.arrays["units"]) for record in match.after.ok_records.values())
    return Change(match.name, "order", WITHIN, (), before, rho, None, None, p, _ORDER_TOLERANCE, None, n)


def _judge_order(change: Change, p: float) -> Change:
    if p >= LEVEL or abs(change.after or 0.0) <= _ORDER_TOLERANCE:
        return replace(change, p=p, what=UNCHANGED if change.change == 0 else WITHIN)
    notes = ("the order of the release follows that of the originals: averaging epochs undoes the defense",)
    return replace(change, p=p, what=ORDER_NOT_RANDOM, notes=notes)


# Remarks


def _remarks(matches: Sequence[Match]) -> list[str]:
    """What else differs from the baseline: seeds, libraries, precision, threads."""
    both = [(match.before, match.after) for match in matches if match.before and match.after]
    differences: dict[str, set[str]] = defaultdict(set)
    for old, new in both:
        if not set(new.records) <= set(old.records):
            differences["seeds"].add(f"{_joined(old.records)} -> {_joined(new.records)}")
        for part in ("precision", "threads"):
            differences[part].add(f"{old.inputs.get(part)} -> {new.inputs.get(part)}")
        was, now = old.inputs.get("versions", {}), new.inputs.get("versions", {})
        for library in {*was, *now}:
            differences[library].add(f"{was.get(library)} -> {now.get(library)}")
    changed = {
        name: [text for text in sorted(texts) if len(set(text.split(" -> "))) > 1]
        for name, texts in differences.items()
    }
    return [f"{name} {text}" for name, texts in sorted(changed.items()) for text in texts]


def _joined(seeds: Iterable[int]) -> str:
    return ",".join(map(str, sorted(seeds)))
