"""The values of a knob that may be tried: the known range, a given one, or what doubling finds; without the refused."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import HarnessError
from harness.registry import Entry, bind
from harness.registry.tune_field import CONTINUOUS, WEIGHTS, is_number
from harness.release import try_out
from harness.run.bench import Bench
from harness.tune.search import Memo, doubled

STEPS = 4096
"""A continuous range is cut into so many steps; nothing finer is looked for."""
_BETA = (0.1, 32.0)  # near one source alone; near equal shares for all


@dataclass(frozen=True)
class Range:
    """The values of one knob that may be tried, and which way it hides more; None: that is to be found out."""

    knob: str
    low: float
    high: float
    kind: str
    direction: str | None

    def values(self, size: tuple[int, int]) -> list[float]:
        """Those that suit images of `size` (height, width) by their kind, from the least to the most obfuscating."""
        if self.kind == CONTINUOUS:
            every = [self.low + (self.high - self.low) * step / STEPS for step in range(STEPS + 1)]
        else:
            every = [v for v in range(math.ceil(self.low), math.floor(self.high) + 1) if _suits(v, self.kind, size)]
        return every[::-1] if self.direction == "down" else every


def _suits(value: int, kind: str, size: tuple[int, int]) -> bool:
    if kind == "divides":
        return value > 0 and not any(side % value for side in size)
    return kind != "odd" or value % 2 == 1


def known_range(entry: Entry, knob: str) -> Range | None:
    """What is known of the range of a knob; None where only trying can tell. Refuses a knob that holds no number."""
    if knob == WEIGHTS:
        return _of_weights(entry)
    if knob not in entry.knobs:
        entry.with_settings({knob: None})  # says which there are
    if not is_number(entry.params.get(knob)):
        kept = {**entry.params, **(entry.mixing or {})}[knob]
        raise HarnessError(f"{entry.name}: {knob} is {kept!r}; only a number can be tuned")
    tune = entry.tune or {}
    return Range(**tune) if tune.get("knob") == knob else None


def _of_weights(entry: Entry) -> Range:
    weights = (entry.mixing or {})[WEIGHTS]
    if isinstance(weights, Mapping):
        return Range(WEIGHTS, *_BETA, CONTINUOUS, "up")
    if isinstance(weights, str) or isinstance(weights[0], list):
        raise HarnessError(f"{entry.name}: weights are drawn anew for each image; give one vector, -D weights=0.5,0.5")
    if len(weights) < 2:
        raise HarnessError(f"{entry.name}: mixes nothing, so its weights cannot be tuned")
    next_one = max(_others(weights))
    return Range(WEIGHTS, next_one / (1 + next_one), 1.0, CONTINUOUS, "down")


def _others(weights: list[float]) -> list[float]:
    """The proportions of all but the dominant weight; equal where it is alone."""
    _, *others = sorted(weights, reverse=True)
    total = math.fsum(others)
    return [weight / total if total else 1 / len(others) for weight in others]


def at(entry: Entry, knob: str, value: float) -> Entry:
    """The defense with its knob at this value."""
    setting: Any = value
    if knob == WEIGHTS:
        weights = (entry.mixing or {})[WEIGHTS]
        setting = (
            {"beta": value}
            if isinstance(weights, Mapping)
            else [value, *((1 - value) * share for share in _others(weights))]
        )
    return entry.with_settings({knob: setting})


@dataclass(frozen=True)
class Bracket:
    """A knob of a defense on a bench.

    between  a range that is given instead of the known one
    """

    bench: Bench
    defense: Entry
    knob: str
    between: tuple[float, float] | None = None

    def range(self, tried: Memo, target: float) -> Range:
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
