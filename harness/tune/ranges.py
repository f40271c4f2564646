"""Which values of a knob may be tried: the registry's range, a given one, or one found by doubling.

Values that the defense refuses at the size of the images are left out.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import HarnessError
from harness.registry import Entry, bind
from harness.registry.tune_field import CONTINUOUS, MOST_WHOLE, WEIGHTS, is_number
from harness.release import try_out
from harness.run.bench import Bench
from harness.tune.search import Memo, bracket_by_doubling

STEPS = 4096
"""A continuous range is divided into so many steps, the resolution of the search."""
_BETA_RANGE = (0.1, 32.0)  # from nearly one source alone to nearly equal shares


@dataclass(frozen=True)
class Range:
    """The values of one knob that may be tried, and the direction in which it hides more (None: not known yet)."""

    knob: str
    low: float
    high: float
    kind: str
    direction: str | None

    def values(self, size: tuple[int, int]) -> list[float]:
        """Those that suit images of `size` (height, width), from the least to the most obfuscating."""
        if self.kind != CONTINUOUS and self.high - self.low > MOST_WHOLE:
            raise HarnessError(
                f"{self.knob}: {self.low:g} to {self.high:g} are more than {MOST_WHOLE:,} whole numbers; "
                "give a smaller range with --between LOW,HIGH"
            )
        if self.kind == CONTINUOUS:
            values = [self.low + (self.high - self.low) * step / STEPS for step in range(STEPS + 1)]
        else:
            values = [v for v in range(math.ceil(self.low), math.floor(self.high) + 1) if _suits(v, self.kind, size)]
        return values[::-1] if self.direction == "down" else values


def _suits(value: int, kind: str, size: tuple[int, int]) -> bool:
    if kind == "divides":
        return value > 0 and not any(side % value for side in size)
    return kind != "odd" or value % 2 == 1


def known_range(entry: Entry, knob: str) -> Range | None:
    """The range of a knob by its entry; None where the entry has none. Raises HarnessError where it is not a number."""
    if knob == WEIGHTS:
        return _weights_range(entry)
    if knob not in entry.knobs:
        entry.with_settings({knob: None})  # raises, and lists the knobs
    if not is_number(entry.params.get(knob)):
        setting = {**entry.params, **(entry.mixing or {})}[knob]
        raise HarnessError(f"{entry.name}: {knob} is {setting!r}; only a number can be tuned")
    tune = entry.tune or {}
    return Range(**tune) if tune.get("knob") == knob else None


def _weights_range(entry: Entry) -> Range:
    weights = (entry.mixing or {})[WEIGHTS]
    if isinstance(weights, Mapping):
        return Range(WEIGHTS, *_BETA_RANGE, CONTINUOUS, "up")
    if isinstance(weights, str) or isinstance(weights[0], list):
        raise HarnessError(f"{entry.name}: weights are drawn anew for each image; give one vector, -D weights=0.5,0.5")
    if len(weights) < 2:
        raise HarnessError(f"{entry.name}: mixes nothing, so its weights cannot be tuned")
    second = max(_other_shares(weights))
    return Range(WEIGHTS, second / (1 + second), 1.0, CONTINUOUS, "down")


def _other_shares(weights: list[float]) -> list[float]:
    """The proportions of all weights but the dominant one; equal where they are 0."""
    _, *others = sorted(weights, reverse=True)
    total = math.fsum(others)
    return [weight / total if total else 1 / len(others) for weight in others]


def with_knob(entry: Entry, knob: str, value: float) -> Entry:
    """The defense with its knob at this value."""
    setting: Any = value
    if knob == WEIGHTS:
        weights = (entry.mixing or {})[WEIGHTS]
        setting = (
            {"beta": value}
            if isinstance(weights, Mapping)
            else [value, *((1 - value) * share for share in _other_shares(weights))]
        )
    return entry.with_settings({knob: setting})


@dataclass(frozen=True)
class KnobRange:
    """Finds the range and the values of one knob of a defense on a bench.

    between  a given range, instead of the registry's
    """

    bench: Bench
    defense: Entry
    knob: str
    between: tuple[float, float] | None = None

    def find(self, evaluate: Memo, target: float) -> Range:
        """The range to search, and the direction in which the knob hides more: by trying where the entry has none."""
        known = known_range(self.defense, self.knob)
        kind, direction = (known.kind, known.direction) if known else (self._kind(), None)
        if self.between is not None:
            span = Range(self.knob, *self.between, kind, direction)
            if direction is None:
                values = self.values(span)
                span = replace(span, direction="up" if evaluate(values[-1]) >= evaluate(values[0]) else "down")
            return span
        if known is not None:
            return known
        less, more = bracket_by_doubling(
            evaluate, self._start(kind), lambda value: self._nearest_valid(value, kind), target
        )
        return Range(self.knob, min(less, more), max(less, more), kind, "up" if less <= more else "down")

    def values(self, span: Range) -> list[float]:
        """From the least to the most obfuscating, without whole numbers that the defense refuses at this size.

        Raises HarnessError where none are left, or where it refuses an end of a continuous range.
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
        """Why the defense refuses this value; None where it takes it."""
        try:
            try_out(self.bench.client.scheme(with_knob(self.defense, self.knob, value)), self.bench.splits.size)
        except HarnessError as refusal:
            return str(refusal)
        return None

    def _kind(self) -> str:
        """Of a knob without a range in the registry: integer or continuous."""
        knobs = inspect.signature(bind(self.defense)).parameters
        if self.knob in knobs and knobs[self.knob].annotation in (float, "float"):
            return CONTINUOUS
        return "integer" if isinstance(self.defense.params[self.knob], int) else CONTINUOUS

    def _start(self, kind: str) -> float:
        start: float = self.defense.params[self.knob] or 1
        valid = self._nearest_valid(start, kind)
        if valid is None:
            raise HarnessError(f"{self.refusal(start)}; or give a range with --between LOW,HIGH")
        return valid

    def _nearest_valid(self, value: float, kind: str) -> float | None:
        """The value itself if the defense takes it; of whole numbers the nearest valid one within a quarter of it."""
        if kind == CONTINUOUS:
            return None if self.refusal(value) else value
        whole = round(value)
        nearest = sorted(range(whole - whole // 4, whole + whole // 4 + 1), key=lambda other: abs(other - whole))
        return next((other for other in nearest if other and not self.refusal(other)), None)
