"""What moved between a baseline and a new run, and whether that fails.

A figure fails where its change, paired over originals, is told from zero after Holm's correction for the number of
figures, and is larger than its tolerance. Which way it may move without failing is a matter of who raised a version in
the registry:

                              falls                     rises
    privacy of a release      privacy lost              unexplained privacy gained; explained by the defense's version
    what an attack sees       attack weaker; explained  privacy lost; explained by the attack's version
                              by the defense's version
    utility                   utility lost              reported

A metric's or a judge's version explains like a defense's, gains alone. Whatever is explained is reported and does not
fail; whatever else is meant goes into the baseline with --update.

Does the order of a release tell whose it is? Read from the records alone, and from the new run's only.

A release is shuffled anew each epoch; "if index i always held x_i, averaging epochs would undo everything" (Raynal et
al. 2020, section 2, as read here). A record lists the originals in the order of the release, so that an order that was
not shuffled shows as a rank correlation between an original's place in the set and its place in the release.

Reference: Spearman 1904; of a random order the correlation has mean 0 and variance 1 / (n - 1).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

from harness.check.changes import (
    EXPLAINED,
    GAINED,
    LEVEL,
    LOST,
    MISSING,
    NEW,
    OTHER,
    SAME,
    SHIFTED,
    STATUS,
    TOLD,
    UNEXPLAINED,
    USELESS,
    WEAKER,
    WITHIN,
    Change,
    Comparison,
    compared,
    measured_by,
    tolerance_of,
)
from harness.check.noise import Moved, between_seeds, moved
from harness.check.series import Match, Series, matched
from harness.records import RunResult
from harness.scores import farther
from harness.statistics import holm
from harness.types import Array

_ORDER = 0.2  # rank correlation of an order that somebody left in


@dataclass(frozen=True)
class _Figure:
    """A score of a match, measured and not yet judged."""

    match: Match
    score: str
    moved: Moved
    tolerance: float


def compare(
    before: Iterable[RunResult], after: Iterable[RunResult], tolerances: Mapping[str, float] | None = None
) -> Comparison:
    """Hold a new run's records against the baseline's. Pure: nothing is run, read or written.

    tolerances  per score, in its own unit, over the ones of harness.check.changes
    """
    matches = sorted(matched(before, after), key=_place)
    changes = [change for match in matches for change in _standing(match)]
    figures = [figure for match in matches for figure in _figures(match, matches, tolerances or {})]
    orders = [_order(match) for match in matches if match.after and match.after.kind == "release" and match.after.sound]
    corrected = holm([*(figure.moved.p for figure in figures), *(change.p or 0.0 for change in orders)]).tolist()
    level = LEVEL / max(1, len(corrected))
    changes += [_judged(figure, p, level) for figure, p in zip(figures, corrected, strict=False)]
    changes += [_order_judged(change, p) for change, p in zip(orders, corrected[len(figures) :], strict=True)]
    changes.sort(key=lambda change: (not change.failed, change.quiet))
    return Comparison(tuple(changes), tuple(_remarks(matches)))


def _place(match: Match) -> tuple[str, int, str]:
    """Defense by defense: its release, its utility, its attacks."""
    kind, defense, _ = (match.after or match.before).names  # type: ignore[union-attr]
    return defense, ("release", "utility", "attack").index(kind), match.name


# What became of a cell


def _standing(match: Match) -> list[Change]:
    """A line where a cell came, went, or does not work as it did, and for every score that is gone."""
    old, new = match.before, match.after
    if new is None:
        return [Change(match.name, "status", MISSING, ("in the baseline, not in this run",))]
    if old is None:
        return [Change(match.name, "status", NEW, ("not in the baseline; --update adds it",))]
    if match.incomparable:
        return [Change(match.name, "status", OTHER, (match.incomparable,))]
    was, now = old.worst, new.worst
    gone = [score for score in compared(old.arrays) if new.sound and score not in new.arrays]
    if gone or was.status == now.status == "ok":
        return [Change(match.name, score, MISSING, ("measured in the baseline, not in this run",)) for score in gone]
    said = f"{was.status} -> {now.status}" + (f": {now.reason}" if now.reason else "")
    lost = bool(old.sound) and (not new.sound or was.status == "ok")
    begun = was.status == "inapplicable" and not old.sound and bool(new.sound)
    if not lost and not begun:
        return [Change(match.name, "status", WITHIN, (said,))]
    versions = _raised(old.attack, new.attack) or _raised(old.defense, new.defense)
    explained = bool(versions) and now.status in ("ok", "inapplicable")
    return [Change(match.name, "status", EXPLAINED if explained else STATUS, (said, *versions))]


def _order(match: Match) -> Change:
    assert match.after is not None
    rho, p = told_by_order(match.after.sound.values())
    old = match.before.sound if match.before else {}
    again = set(match.after.sound) <= set(old)
    was, _ = told_by_order(record for seed, record in old.items() if seed in match.after.sound or not again)
    n = sum(len(record.arrays["units"]) for record in match.after.sound.values())
    return Change(match.name, "order", WITHIN, (), was, rho, None, None, p, _ORDER, None, n)


def _order_judged(change: Change, p: float) -> Change:
    if p >= LEVEL or abs(change.after or 0.0) <= _ORDER:
        return replace(change, p=p, what=SAME if change.change == 0 else WITHIN)
    notes = ("the order of the release follows that of the originals: averaging epochs undoes the defense",)
    return replace(change, p=p, what=TOLD, notes=notes)


# Figures


def _figures(match: Match, matches: Sequence[Match], tolerances: Mapping[str, float]) -> list[_Figure]:
    old, new = match.before, match.after
    if old is None or new is None or match.incomparable or not (old.sound and new.sound):
        return []
    alike = [
        other.before
        for other in matches
        if other.before and (other.before.kind, other.before.names[2]) == (old.kind, old.names[2])
    ]
    found = []
    for score in compared(old.arrays):
        if score not in new.arrays:
            continue
        measured = moved(old, new, score, between_seeds(old, alike, score))
        if measured:
            found.append(_Figure(match, score, measured, tolerance_of(old.kind, score, measured.before, tolerances)))
    return found


def _judged(figure: _Figure, p: float, level: float) -> Change:
    match, at = figure.match, figure.moved
    low, high = at.interval() if at.spreads else (None, None)
    least = max(figure.tolerance, at.detectable(level)) if at.spreads else None
    said = Change(
        match.name, figure.score, WITHIN, match.moved, at.before, at.after, low, high, p, figure.tolerance, least, at.n
    )
    if at.same:
        return replace(said, what=SAME)
    if p >= LEVEL or abs(at.change) <= figure.tolerance:
        return said
    assert match.before is not None and match.after is not None
    what, versions = _meant(match.before, match.after, figure.score, at.change > 0)
    return replace(said, what=what, notes=(*match.moved, *versions))


def _meant(old: Series, new: Series, score: str, rose: bool) -> tuple[str, tuple[str, ...]]:
    """What a change that stands out is called, and the raised versions that explain it."""
    if old.kind == "utility":
        return (GAINED, ()) if rose else (USELESS, ())
    was, now = measured_by(old, score), measured_by(new, score)
    measures = [text for name in sorted(was.keys() & now.keys()) for text in _raised(was[name], now[name])]
    hides = (*_raised(old.defense, new.defense), *measures)
    hidden_more = farther(score)
    if hidden_more is None:
        return (EXPLAINED if hides else SHIFTED), hides
    less_seen = rose == hidden_more
    if not less_seen:
        shows = _raised(old.attack, new.attack)
        return (EXPLAINED if shows else LOST), shows
    return (EXPLAINED if hides else UNEXPLAINED if old.kind == "release" else WEAKER), hides


def _raised(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> tuple[str, ...]:
    if not old or not new or new["version"] <= old["version"]:
        return ()
    return (f"version of {new['name']} raised, {old['version']} -> {new['version']}",)


def _remarks(matches: Sequence[Match]) -> list[str]:
    """What else is not the baseline's: the seeds, the libraries, the arithmetic."""
    both = [(match.before, match.after) for match in matches if match.before and match.after]
    seen: dict[str, set[str]] = defaultdict(set)
    for old, new in both:
        if not set(new.records) <= set(old.records):
            seen["seeds"].add(f"{_numbers(old.records)} -> {_numbers(new.records)}")
        for part in ("precision", "threads"):
            seen[part].add(f"{old.inputs.get(part)} -> {new.inputs.get(part)}")
        was, now = old.inputs.get("versions", {}), new.inputs.get("versions", {})
        for library in {*was, *now}:
            seen[library].add(f"{was.get(library)} -> {now.get(library)}")
    moved = {name: [text for text in sorted(texts) if len(set(text.split(" -> "))) > 1] for name, texts in seen.items()}
    return [f"{name} {text}" for name, texts in sorted(moved.items()) for text in texts]


def _numbers(seeds: Iterable[int]) -> str:
    return ",".join(map(str, sorted(seeds)))


def told_by_order(releases: Iterable[RunResult]) -> tuple[float, float]:
    """The mean rank correlation over seeds, and its two-sided p-value under a random order; (0, 1) where too few."""
    found = [(_correlation(record.arrays["units"]), len(record.arrays["units"])) for record in releases]
    counted = [(rho, n) for rho, n in found if n > 2]
    if not counted:
        return 0.0, 1.0
    far = sum(rho * math.sqrt(n - 1) for rho, n in counted) / math.sqrt(len(counted))
    return float(np.mean([rho for rho, _ in counted])), float(2 * ndtr(-abs(far)))


def _correlation(units: Array) -> float:
    """Spearman's, in [-1, 1]; 0 where all are one original's."""
    if len(units) < 2 or (units == units[0]).all():
        return 0.0
    return float(np.corrcoef(rankdata(units), np.arange(len(units)))[0, 1])
