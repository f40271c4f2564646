"""From which distance on a row is hidden: the paper's thresholds, or those calibrated for a board's images.

Thresholds apply when a board is made, not when records are: with another registry file the same records make a board of
other limits, and the board says which limits are not the paper's and where they come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.leaderboard.format import trimmed
from harness.scores import base, label, thresholds

if TYPE_CHECKING:
    from harness.registry.thresholds import Thresholds


@dataclass(frozen=True)
class Limits:
    """The thresholds of one board.

    values   by judged distance; a distance without one is not in it
    sources  of those that are not the paper's: where they come from
    """

    values: Mapping[str, float]
    sources: Mapping[str, str] = field(default_factory=dict)

    def of(self, name: str) -> float | None:
        """Of a judged distance or a variant of one (harness.scores)."""
        return self.values.get(base(name))

    def whose(self, name: str) -> str:
        """`paper's ` before a threshold that is, else `calibrated `."""
        return "calibrated " if base(name) in self.sources else "paper's "

    @property
    def words(self) -> list[str]:
        """What a board says of thresholds that are not the paper's: one sentence, or nothing."""
        if not self.sources:
            return []
        said = [
            f"{label(name)} {trimmed(value)} "
            + (f"({self.sources[name]})" if name in self.sources else "(Raynal et al. 2020)")
            for name, value in self.values.items()
        ]
        return [f"Thresholds of these images: {'; '.join(said)}."]

    def document(self) -> dict[str, Any]:
        """For JSON; empty where all are the paper's."""
        if not self.sources:
            return {}
        return {"thresholds": dict(self.values), "threshold_sources": dict(self.sources)}


LimitsOf: TypeAlias = Mapping[tuple[str, int, int], Limits]
"""By data set, height and width."""


def paper_limits() -> Limits:
    """The constants of harness.scores."""
    return Limits(thresholds())


def calibrated(entries: Iterable[Thresholds]) -> LimitsOf:
    """The limits of every data set and size that a registry holds thresholds of; the paper's where it names none."""
    return {
        each.images: Limits(
            {**thresholds(), **each.values},
            {name: f"{each.source}; {each.name} in {each.origin}" for name in each.values},
        )
        for each in entries
    }


def limits_of(dataset: Mapping[str, Any], found: LimitsOf) -> Limits:
    """Of a board's images."""
    return found.get((dataset["name"], dataset["height"], dataset["width"])) or paper_limits()
