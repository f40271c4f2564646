"""What a plan will cost, from what its like has cost: the seconds in the records of a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.records import RunResult, RunSpec


@dataclass(frozen=True)
class Cost:
    """Seconds of work on one worker; pieces of whose like nothing was recorded are counted and not guessed."""

    seconds: float
    known: int
    unknown: int

    def text(self, workers: int) -> str:
        """One line, for a plan."""
        if not self.known + self.unknown:
            return "nothing is left to run"
        if not self.known:
            return f"{self.unknown} pieces left; what they cost is not known: no record of their like here"
        whole = self.seconds / max(1, workers)
        beside = f"; {self.unknown} more pieces of unknown cost" if self.unknown else ""
        shared = f", on {workers} workers {_time(whole)}" if workers > 1 else ""
        return f"{self.known} pieces left take about {_time(self.seconds)} of work{shared}{beside}"


def cost_of(specs: Sequence[RunSpec], records: Iterable[RunResult]) -> Cost:
    """By the median seconds per private pixel (and per epoch, where it has some) of the same work, on any images."""
    rates: dict[tuple[str, ...], list[float]] = {}
    for record in records:
        if record.status == "ok":
            rates.setdefault(_like(record.spec), []).append(record.seconds / _size(record.inputs))
    known = [median(rates[_like(spec)]) * _size(spec.inputs) for spec in specs if _like(spec) in rates]
    return Cost(sum(known), len(known), len(specs) - len(known))


def _like(spec: RunSpec) -> tuple[str, ...]:
    attack = spec.inputs.get("attack", {})
    return (spec.kind, spec.inputs["device"], str(attack.get("name")), str(attack.get("params")))


def _size(inputs: Mapping[str, Any]) -> float:
    data = inputs["dataset"]
    return float(data["private"] * data["height"] * data["width"] * inputs.get("epochs", 1))


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
