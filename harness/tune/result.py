"""What `harness tune` is asked for and what it answers: the goal, every value that was tried, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.leaderboard.format import settings
from harness.registry import Entry
from harness.registry.settings import did_you_mean
from harness.scores import ceilings

BY = ("mean", "low")
ENOUGH = 0.005
"""A continuous knob is right above the target when its figure is at most so far above it."""
MOST = 40


@dataclass(frozen=True)
class Goal:
    """What is to be reached.

    metric   dssim or dhaar to the dominant source, any_dssim or any_dhaar to the nearest
    by       mean, or low: the lower end of its interval, which is what a board's *passes* asks for
    attacks  besides looking at the release
    most     values that may be tried for one knob of one defense
    """

    metric: str
    target: float
    by: str = "mean"
    seed: int = 0
    attacks: tuple[Entry, ...] = ()
    enough: float = ENOUGH
    most: int = MOST


@dataclass(frozen=True)
class Evaluation:
    """One value of the knob: its score {mean, low, high, n, attack}, and the records that it was read from."""

    value: float
    defense: Entry
    score: dict[str, Any]
    records: tuple[str, ...]


@dataclass(frozen=True)
class Tuned:
    """What came of one defense.

    status       reached; cannot reach; stopped: not reached by as many values as were allowed; nothing to tune;
                 inapplicable, skipped, failed: of the first value that could not be measured
    found        the least value that reaches
    neighbours   what was tried next to it: less obfuscating, more obfuscating
    evaluations  all that was tried, from the least to the most obfuscating
    then         a second knob, tuned with the first at its next less and at `found`, or at the maximum
    """

    defense: Entry
    knob: str | None
    status: str
    reason: str | None = None
    found: Evaluation | None = None
    neighbours: tuple[Evaluation | None, Evaluation | None] = (None, None)
    evaluations: tuple[Evaluation, ...] = ()
    warnings: tuple[str, ...] = ()
    then: tuple[Tuned, ...] = ()

    @property
    def maximum(self) -> Evaluation | None:
        """The value with the highest mean of all that were tried."""
        return max(self.evaluations, key=lambda each: each.score["mean"], default=None)

    @property
    def answer(self) -> Evaluation | None:
        """What was found, or the most that can be had."""
        return self.found or self.maximum


def parse_target(text: str) -> tuple[str, float]:
    """dssim=0.66 -> metric and target."""
    metric, _, number = (part.strip() for part in text.partition("="))
    most = ceilings()
    if metric not in most:
        near = did_you_mean(metric, most)
        raise HarnessError(f"target {text!r}: no metric {metric!r}{near} (write dssim=0.66; {', '.join(most)})")
    try:
        target = float(number)
    except ValueError:
        raise HarnessError(f"target {text!r}: {number!r} is no number; write {metric}=0.66, say") from None
    if not 0 < target <= most[metric]:
        raise HarnessError(f"target {text!r} is out of reach for any image: {metric} lies in 0 to {most[metric]:g}")
    return metric, target


def check_attacks(attacks: Sequence[Entry]) -> None:
    """Refuse an attack that leaves no distance, or that no board judges by."""
    for attack in attacks:
        if attack.kind != "reconstruction":
            raise HarnessError(f"attack {attack.name} is of kind {attack.kind} and makes no pictures; use smooth, say")
        if "control" in attack.traits:
            raise HarnessError(f"attack {attack.name} is a control and never in the worst case; use multi_release, say")


def setting_of(defense: Entry, knob: str) -> str:
    """sigma=33.5, weights=0.5,0.5: as -D takes it."""
    return settings({knob: {**defense.params, **(defense.mixing or {})}[knob]})


def document(tuned: Tuned) -> dict[str, Any]:
    """One answer as `--json` prints it."""
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


def _plain(evaluation: Evaluation) -> dict[str, Any]:
    return {"value": evaluation.value, "score": evaluation.score, "records": list(evaluation.records)}
