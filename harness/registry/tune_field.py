"""The `tune` table of a defense's entry: which knob is tuned, over which values, and in which direction it hides more.

    tune: {knob: block, low: 1, high: 128, kind: divides, direction: up}

kind       continuous, integer, odd, or divides: a whole number that divides both sides of the image
direction  up: a larger value hides more; down: a smaller one
A defense that is tuned by its mixing weights says only `tune: {knob: weights}`. The range follows from the weights: the
dominant one goes from 1 down to the next largest and the others keep their proportions; or the parameter of `beta`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import HarnessError
from harness.registry.settings import did_you_mean
from harness.system.numbers import LARGEST
from harness.system.schema import shown

FIELDS = ("knob", "low", "high", "kind", "direction")
CONTINUOUS = "continuous"
WEIGHTS = "weights"
MOST_WHOLE = 10_000
"""Whole numbers in a range: each is tried on the size of the images before one is measured."""


def check_tune(where: str, tune: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The `tune` table of an entry, each field of its type, checked against the entry's others; raises HarnessError."""
    params, knob = fields.get("params") or {}, tune["knob"]
    if knob == WEIGHTS:
        if len(tune) > 1:
            raise HarnessError(f"{where}: tune of weights takes its range from them; write tune: {{knob: weights}}")
        return tune
    if knob not in params:
        near = did_you_mean(knob, (*params, WEIGHTS))
        raise HarnessError(f"{where}: tune.knob is {shown(knob)}{near} (knobs: {', '.join((*params, WEIGHTS))})")
    if not is_number(params[knob]):
        raise HarnessError(f"{where}: tune.knob {knob} is {shown(params[knob])}; only a number can be tuned")
    for key in FIELDS:
        if tune.get(key) is None:
            raise HarnessError(f"{where}: tune: {key} is missing; add it, tune needs {', '.join(FIELDS)}")
    low, high = tune["low"], tune["high"]
    if not low < high:
        raise HarnessError(f"{where}: tune goes from {low} to {high}; low must be below high")
    if tune["kind"] != CONTINUOUS and high - low > MOST_WHOLE:
        raise HarnessError(
            f"{where}: tune goes from {low} to {high}; of whole numbers {MOST_WHOLE:,} at most are tried"
        )
    return tune


def is_number(value: Any) -> bool:
    """Whether a value is a number of a size that a knob may have, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
