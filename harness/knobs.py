"""Which knob of a defense is tuned, over which values, and which way it hides more: the `tune` table of its entry.

    tune: {knob: block, low: 1, high: 128, kind: divides, direction: up}

kind       continuous, integer, odd, or divides: a whole number that divides both sides of the image
direction  up: a larger value hides more; down: a smaller one
A defense that is tuned by how it mixes says `tune: {knob: weights}` alone. Its range follows from the weights: the
dominant one from 1 down to as much as the next, the others keeping their proportions; or the parameter of `beta`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.settings import did_you_mean

if TYPE_CHECKING:
    from harness.entries import Entry

FIELDS = ("knob", "low", "high", "kind", "direction")
CONTINUOUS = "continuous"
KINDS = (CONTINUOUS, "integer", "odd", "divides")
DIRECTIONS = ("up", "down")
WEIGHTS = "weights"
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


def check_tune(where: str, tune: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The `tune` table of an entry, checked against the entry's other fields."""
    if not isinstance(tune, dict):
        raise HarnessError(f"{where}: tune is {tune!r}; expected a table with {', '.join(FIELDS)}")
    for key in tune:
        if key not in FIELDS:
            raise HarnessError(
                f"{where}: tune has no field {key!r}{did_you_mean(str(key), FIELDS)} (fields: {', '.join(FIELDS)})"
            )
    params, knob = fields.get("params") or {}, tune.get("knob")
    if knob == WEIGHTS:
        if len(tune) > 1:
            raise HarnessError(f"{where}: tune of weights takes its range from them; write tune: {{knob: weights}}")
        return tune
    if knob not in params:
        near = did_you_mean(str(knob), (*params, WEIGHTS))
        raise HarnessError(f"{where}: tune.knob is {knob!r}{near} (knobs: {', '.join((*params, WEIGHTS))})")
    if not _is_number(params[knob]):
        raise HarnessError(f"{where}: tune.knob {knob} is {params[knob]!r}; only a number can be tuned")
    for key in ("low", "high"):
        if not _is_number(tune.get(key)):
            raise HarnessError(f"{where}: tune.{key} is {tune.get(key)!r}; expected a number")
    if not tune["low"] < tune["high"]:
        raise HarnessError(f"{where}: tune goes from {tune['low']} to {tune['high']}; low must be below high")
    for key, allowed in (("kind", KINDS), ("direction", DIRECTIONS)):
        if tune.get(key) not in allowed:
            raise HarnessError(f"{where}: tune.{key} is {tune.get(key)!r}; use {' or '.join(allowed)}")
    return tune


def known_range(entry: Entry, knob: str) -> Range | None:
    """What is known of the range of a knob; None where only trying can tell. Refuses a knob that holds no number."""
    if knob == WEIGHTS:
        return _of_weights(entry)
    if knob not in entry.knobs:
        entry.with_settings({knob: None})  # says which there are
    if not _is_number(entry.params.get(knob)):
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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
