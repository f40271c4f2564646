"""The options and the result of `harness tune`: the target, every value that was tried, and the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.leaderboard.format import settings
from harness.registry import Entry
from harness.registry.settings import did_you_mean
from harness.scores import ceilings
from harness.system.numbers import finite

SLACK = 0.005
"""A continuous knob is right above the target when its figure is at most so far above it."""
MAX_VALUES = 40


@dataclass(frozen=True)
class TuneOptions:
    """The target, and how it is measured.

    metric      dssim or dhaar to the dominant source, any_dssim or any_dhaar to the nearest
    by          mean, or low: the lower end of its interval, as a board's *passes* requires
    attacks     beside the release as is
    slack       how far above the target a continuous knob may end
    max_values  values that may be tried for one knob of one defense
    """

    metric: str
    target: float
    by: str = "mean"
    seed: int = 0
    attacks: tuple[Entry, ...] = ()
    slack: float = SLACK
    max_values: int = MAX_VALUES


@dataclass(frozen=True)
class MeasuredValue:
    """One value of the knob: its score {mean, low, high, n, attack}, and the keys of the records it was read from."""

    value: float
    defense: Entry
    score: dict[str, Any]
    records: tuple[str, ...]


@dataclass(frozen=True)
class TuneResult:
    """The result for one defense.

    status       reached; cannot reach; stopped: not reached within the allowed number of values; nothing to tune;
                 inapplicable, skipped, failed: of the first value that could not be measured
    found        the smallest value that reaches the target
    neighbours   the values tried next to it: less obfuscating, more obfuscating
    evaluations  all values that were tried, from the least to the most obfuscating
    then         a second knob, tuned with the first at the value before `found` and at `found`, or at the maximum
    """

    defense: Entry
    knob: str | None
    status: str
    reason: str | None = None
    found: MeasuredValue | None = None
    neighbours: tuple[MeasuredValue | None, MeasuredValue | None] = (None, None)
    evaluations: tuple[MeasuredValue, ...] = ()
    warnings: tuple[str, ...] = ()
    then: tuple[TuneResult, ...] = ()

    @property
    def maximum(self) -> MeasuredValue | None:
        """The tried value with the highest mean."""
        return max(self.evaluations, key=lambda each: each.score["mean"], default=None)

    @property
    def answer(self) -> MeasuredValue | None:
        """The value that was found, or else the one with the highest mean."""
        return self.found or self.maximum


def parse_target(text: str) -> tuple[str, float]:
    """dssim=0.66 -> metric and target. Raises HarnessError for a metric or a value that no image can have."""
    metric, _, number = (part.strip() for part in text.partition("="))
    limits = ceilings()
    if metric not in limits:
        near = did_you_mean(metric, limits)
        raise HarnessError(f"target {text!r}: no metric {metric!r}{near} (write dssim=0.66; {', '.join(limits)})")
    target = finite(number)
    if target is None:
        raise HarnessError(f"target {text!r}: {number!r} is no number; write {metric}=0.66, say")
    if not 0 < target <= limits[metric]:
        raise HarnessError(f"target {text!r} is out of reach for any image: {metric} lies in 0 to {limits[metric]:g}")
    return metric, target


def check_attacks(attacks: Sequence[Entry]) -> None:
    """Refuse attacks that make no images, and controls, which never enter the worst case."""
    for attack in attacks:
        if attack.kind != "reconstruction":
            raise HarnessError(f"attack {attack.name} is of kind {attack.kind} and makes no pictures; use smooth, say")
        if "control" in attack.traits:
            raise HarnessError(f"attack {attack.name} is a control and never in the worst case; use multi_release, say")


def setting_of(defense: Entry, knob: str) -> str:
    """sigma=33.5, weights=0.5,0.5: a knob as -D takes it."""
    return settings({knob: {**defense.params, **(defense.mixing or {})}[knob]})


def document(tuned: TuneResult) -> dict[str, Any]:
    """One result as `--json` prints it."""
    found = tuned.found
    return {
        "defense": tuned.defense.name,
        "knob": tuned.knob,
        "status": tuned.status,
        "reason": tuned.reason,
        "value": found.value if found else None,
        "reached": found is not None,
        "score": found.score if found else None,
        "params": {**found.defense.params, **(found.defense.mixing or {})} if found else None,
        "neighbours": [_plain(each) for each in tuned.neighbours if each],
        "maximum": _plain(tuned.maximum) if tuned.maximum else None,
        "evaluations": [_plain(each) for each in tuned.evaluations],
        "warnings": list(tuned.warnings),
        "then": [document(second) for second in tuned.then],
    }


def _plain(evaluation: MeasuredValue) -> dict[str, Any]:
    return {"value": evaluation.value, "score": evaluation.score, "records": list(evaluation.records)}
