"""The `tune` table of a defense's entry: which knob is tuned, over which values, and in which direction it hides more.

    tune: {knob: block, low: 1, high: 128, kind: divides, direction: up}

kind       continuous, integer, odd, or divides: a whole number that divides both sides of the image
direction  up: a larger value hides more; down: a smaller one
A defense that is tuned by its mixing weights says only `tune: {knob: weights}`. The range follows from the weights: the
dominant one goes from 1 down to the next largest and the others keep their proportions; or the parameter of `beta`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.errors import HarnessError
from harness.registry.settings import did_you_mean

FIELDS = ("knob", "low", "high", "kind", "direction")
CONTINUOUS = "continuous"
KINDS = (CONTINUOUS, "integer", "odd", "divides")
DIRECTIONS = ("up", "down")
WEIGHTS = "weights"


def check_tune(where: str, tune: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The `tune` table of an entry, checked against the entry's other fields; raises HarnessError."""
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
    if not is_number(params[knob]):
        raise HarnessError(f"{where}: tune.knob {knob} is {params[knob]!r}; only a number can be tuned")
    for key in ("low", "high"):
        if not is_number(tune.get(key)):
            raise HarnessError(f"{where}: tune.{key} is {tune.get(key)!r}; expected a number")
    if not tune["low"] < tune["high"]:
        raise HarnessError(f"{where}: tune goes from {tune['low']} to {tune['high']}; low must be below high")
    for key, allowed in (("kind", KINDS), ("direction", DIRECTIONS)):
        if tune.get(key) not in allowed:
            raise HarnessError(f"{where}: tune.{key} is {tune.get(key)!r}; use {' or '.join(allowed)}")
    return tune


def is_number(value: Any) -> bool:
    """Whether a value is a finite number and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
