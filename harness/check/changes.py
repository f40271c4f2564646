"""The nouns of a check: a change of one figure, what it is called, and the comparison that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

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
