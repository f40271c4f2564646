"""What a change is: the verdicts that one can get, its tolerance, and the result of a comparison.

Which scores are compared and their tolerances are declared in `harness.scores`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness import scores
from harness.check.series import Series

LEVEL = 0.05
"""Significance level, after Holm's correction."""
_RELATIVE_TOLERANCE = 0.02
JOINT = ", mean over "
"""In the name of a cell that is the mean of the same work over all defenses."""

UNCHANGED = "unchanged"
WITHIN = "within chance or tolerance"
EXPLAINED = "explained"
NEW = "new"
UTILITY_GAINED = "utility gained"
PRIVACY_LOST = "privacy lost"
PRIVACY_GAINED = "unexplained privacy gained"
ATTACK_WEAKER = "attack weaker"
UTILITY_LOST = "utility lost"
MISSING = "missing"
STATUS_CHANGED = "status changed"
NOT_COMPARABLE = "not comparable"
FIGURE_MOVED = "figure moved"
ORDER_NOT_RANDOM = "release order is not random"
VERDICT_MISSING = "not judged any more"
NOT_CAUGHT = "planted fault not caught"
FAILING = (
    PRIVACY_LOST,
    PRIVACY_GAINED,
    ATTACK_WEAKER,
    UTILITY_LOST,
    MISSING,
    STATUS_CHANGED,
    NOT_COMPARABLE,
    FIGURE_MOVED,
    ORDER_NOT_RANDOM,
    VERDICT_MISSING,
    NOT_CAUGHT,
)


@dataclass(frozen=True)
class Change:
    """One line of the comparison: a score of a cell, a part of its verdict, or its status (score "status").

    what        the verdict, one of the constants above
    before, after, change, low, high  the figure, and the 95 % interval of the change (not corrected)
    p           corrected for the number of comparisons
    tolerance   the largest change that does not fail
    detectable  the smallest true change that this check would have found with 80 % power
    """

    cell: str
    score: str
    what: str
    notes: tuple[str, ...] = ()
    before: float | None = None
    after: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    tolerance: float | None = None
    detectable: float | None = None
    n: int = 0

    @property
    def failed(self) -> bool:
        return self.what in FAILING

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to report."""
        return self.what in (UNCHANGED, WITHIN) and not self.notes

    @property
    def change(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True)
class Comparison:
    """All changes, those that fail first; remarks on what else differs (library versions, precision, seeds)."""

    changes: tuple[Change, ...]
    remarks: tuple[str, ...]

    @property
    def failed(self) -> list[Change]:
        return [change for change in self.changes if change.failed]

    @property
    def compared(self) -> int:
        """How many figures the p-values are corrected for."""
        return sum(change.p is not None for change in self.changes)


def compared_scores(arrays: Iterable[str]) -> list[str]:
    """The scores among the arrays of a record, metrics of other registries included.

    Scores that follow another one are left out: every further comparison makes each of them less sensitive.
    """
    return sorted(name for name in arrays if scores.compared(name))


def tolerance_of(kind: str, score: str, before: float, overrides: Mapping[str, float]) -> float:
    """The largest change that does not fail: .005 for a release's distance, .02 after an attack, .05 for hit rates.

    A release is a function of its seed, so machines hardly differ in it. Distances without a scale of their own (mse,
    fid, metrics of other registries) may move by 2 % of their value.

    overrides  per score, in its own unit: replaces the declared tolerance
    """
    if score in overrides:
        return overrides[score]
    if kind == "release":
        known = scores.SCORES.get(scores.base(score))
        return known.tolerance if known and known.tolerance is not None else _RELATIVE_TOLERANCE * abs(before)
    declared = scores.SCORES.get(scores.base(score))
    return declared.attacked_tolerance if declared else scores.Score.attacked_tolerance


def entries_measuring(series: Series, score: str) -> dict[str, Mapping[str, Any]]:
    """The registry entries that measure this score, by name: its metric, and the evaluators of an attack's guess."""
    entries = [*series.inputs.get("metrics", []), *series.inputs.get("judges", [])]
    name = scores.base(score)
    names = {name, *(scores.SCORES[name].evaluators if name in scores.SCORES else ())}
    return {entry["name"]: entry for entry in entries if entry["name"] in names}
