"""Which numbers of a record are compared, which way is which, and how much of a change is nobody's business.

The nouns of a check: a change of one figure, what it is called, and the comparison that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness import scores
from harness.check.series import Series

_RELATIVE = 0.02


def compared(arrays: Iterable[str]) -> list[str]:
    """The scores among the arrays of a record, a metric of somebody's own among them.

    Those that follow another score are left out: every further comparison makes each of them less sensitive.
    """
    return sorted(name for name in arrays if scores.compared(name))


def tolerance_of(kind: str, score: str, before: float, given: Mapping[str, float]) -> float:
    """What may pass: .005 of a release's distance, .02 of one that an attack leaves, .05 of a share of hits.

    A release is a function of its seed, so that little is left for machines to differ in. Distances without a scale of
    their own (mse, fid, other people's metrics) may move by 2 % of what they were.
    """
    if score in given:
        return given[score]
    if kind == "release":
        known = scores.SCORES.get(score)
        return known.tolerance if known and known.tolerance is not None else _RELATIVE * abs(before)
    declared = scores.SCORES.get(scores.base(score))
    return declared.attacked_tolerance if declared else scores.Score.attacked_tolerance


def measured_by(series: Series, score: str) -> dict[str, Mapping[str, Any]]:
    """The entries that make this score, by name: its metric, and the judges of an attack."""
    entries = [*series.inputs.get("metrics", []), *series.inputs.get("judges", [])]
    name = scores.base(score)
    names = {name, *(scores.SCORES[name].evaluators if name in scores.SCORES else ())}
    return {entry["name"]: entry for entry in entries if entry["name"] in names}


LEVEL = 0.05
SAME, WITHIN, EXPLAINED, NEW, GAINED = "unchanged", "within chance or tolerance", "explained", "new", "utility gained"
LOST, UNEXPLAINED, WEAKER, USELESS = "privacy lost", "unexplained privacy gained", "attack weaker", "utility lost"
MISSING, STATUS, OTHER, SHIFTED, TOLD = "missing", "status changed", "not comparable", "figure moved", "order told"
FAILING = (LOST, UNEXPLAINED, WEAKER, USELESS, MISSING, STATUS, OTHER, SHIFTED, TOLD)


@dataclass(frozen=True)
class Change:
    """One line of the comparison: a score of a cell, or what became of the cell (score "status").

    before, after, change, low, high  the figure, and the 95 % interval of the change (one comparison's own)
    p           corrected for the number of comparisons
    tolerance   what a change may be without failing
    detectable  the least true change that this check would have found with 80 % power
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
        """Nothing to tell."""
        return self.what in (SAME, WITHIN) and not self.notes

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
