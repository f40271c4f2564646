"""The values of a knob that may be tried: the known range, a given one, or what doubling finds; without the refused."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace

from harness.cell import Bench
from harness.errors import HarnessError
from harness.knobs import CONTINUOUS, Range, at, known_range
from harness.least import Tried, doubled
from harness.registry import Entry, bind
from harness.release import try_out


@dataclass(frozen=True)
class Bracket:
    """A knob of a defense on a bench.

    between  a range that is given instead of the known one
    """

    bench: Bench
    defense: Entry
    knob: str
    between: tuple[float, float] | None = None

    def range(self, tried: Tried, target: float) -> Range:
        """Where the target is looked for, and which way the knob hides more: tried out where nothing says it."""
        known = known_range(self.defense, self.knob)
        kind, direction = (known.kind, known.direction) if known else (self._kind(), None)
        if self.between is not None:
            span = Range(self.knob, *self.between, kind, direction)
            if direction is None:
                values = self.values(span)
                span = replace(span, direction="up" if tried(values[-1]) >= tried(values[0]) else "down")
            return span
        if known is not None:
            return known
        less, more = doubled(tried, self._start(kind), lambda value: self._suiting(value, kind), target)
        return Range(self.knob, min(less, more), max(less, more), kind, "up" if less <= more else "down")

    def values(self, span: Range) -> list[float]:
        """From the least to the most obfuscating. Whole numbers that the defense refuses at this size are left out; a
        continuous range must suit it at both ends.
        """
        height, width = self.bench.splits.size
        values = span.values((height, width))
        if span.kind != CONTINUOUS:
            values = [value for value in values if not self.refusal(value)]
        elif refusal := self.refusal(span.low) or self.refusal(span.high):
            raise HarnessError(f"{refusal}; the range {span.low:g} to {span.high:g} goes beyond")
        if not values:
            raise HarnessError(
                f"{self.defense.name}: no {self.knob} from {span.low:g} to {span.high:g} ({span.kind}) suits "
                f"{width}x{height} images; give another range with --between LOW,HIGH"
            )
        return values

    def refusal(self, value: float) -> str | None:
        """Why the defense does not take this value; None where it does."""
        try:
            try_out(self.bench.client.scheme(at(self.defense, self.knob, value)), self.bench.splits.size)
        except HarnessError as refusal:
            return str(refusal)
        return None

    def _kind(self) -> str:
        """Of a knob that the registry says nothing of: whole numbers, or all."""
        knobs = inspect.signature(bind(self.defense)).parameters
        if self.knob in knobs and knobs[self.knob].annotation in (float, "float"):
            return CONTINUOUS
        return "integer" if isinstance(self.defense.params[self.knob], int) else CONTINUOUS

    def _start(self, kind: str) -> float:
        start: float = self.defense.params[self.knob] or 1
        suiting = self._suiting(start, kind)
        if suiting is None:
            raise HarnessError(f"{self.refusal(start)}; or give a range with --between LOW,HIGH")
        return suiting

    def _suiting(self, value: float, kind: str) -> float | None:
        """The value itself, or of whole numbers the nearest within a quarter of it, that the defense takes."""
        if kind == CONTINUOUS:
            return None if self.refusal(value) else value
        whole = round(value)
        nearest = sorted(range(whole - whole // 4, whole + whole // 4 + 1), key=lambda other: abs(other - whole))
        return next((other for other in nearest if other and not self.refusal(other)), None)
