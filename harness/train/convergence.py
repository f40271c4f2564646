"""When a training may stop: its loss on held-out images is flat, and not merely slow to start.

One rule for every learned attack. A weak attack must be a failed cell, never a private defense.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from harness.errors import NotConverged

LEAST_STEPS = 1000
_LEAST_FALL = 0.02  # of the loss of a constant guess
_JUDGEMENTS = 20
_SLOW = 4  # times the least: how long a loss may stay at a constant guess's before it counts as flat
_LONGEST = 8  # times the least: how long one may fall


class Trainee(Protocol):
    """A network in training: the steps that it has taken, and its weights to be kept and put back."""

    model: Any
    steps: int

    def state(self) -> Any: ...


def follow_until_flat(
    trainee: Trainee,
    train: Callable[[int], float],
    judge: Callable[[], float],
    *,
    rounds: int,
    guess: float,
) -> dict[str, Any]:
    """Train round 0, round 1, ... until the held-out loss is flat; keep the best weights.

    At least `rounds` rounds and 1,000 steps. Flat: over the last quarter of the steps the best held-out loss fell by
    less than 2 % of a constant guess's loss (relative to itself a loss near zero would never be flat). A loss that is
    flat at the guess's may be a slow start: it counts only after four times the least. Not flat after eight times the
    least is NotConverged, and so is a loss that is no number.

    train   trains one round, returns its mean loss
    judge   the loss on held-out images
    guess   the loss of the best constant guess
    returns the facts for the record
    """
    history: list[tuple[int, float]] = []
    best_state, best_loss, due, done, fall = trainee.state(), float("inf"), 0, 0, float("inf")
    while True:
        train_loss = must_be_finite(train(done), trainee.steps)
        done += 1
        least = max(LEAST_STEPS, trainee.steps * rounds // done)
        if trainee.steps < due:
            continue
        due = trainee.steps + least // _JUDGEMENTS
        if trainee.steps < least:
            due = min(due, least)
        history.append((trainee.steps, must_be_finite(judge(), trainee.steps)))
        if history[-1][1] < best_loss:
            best_loss, best_state = history[-1][1], trainee.state()
        fall = _last_quarter_fall(history) / guess
        learned = best_loss < (1 - _LEAST_FALL) * guess
        if trainee.steps >= least and fall < _LEAST_FALL and (learned or trainee.steps >= _SLOW * least):
            break
        if trainee.steps >= _LONGEST * least:
            said = f"the held-out loss still fell by {fall:.1%} in the last quarter of {trainee.steps} steps"
            raise NotConverged(f"{said}; raise train_epochs")
    trainee.model.load_state_dict(best_state)
    return {
        "steps": trainee.steps,
        "rounds": done,
        "train_loss": train_loss,
        "held_out_loss": best_loss,
        "last_quarter_fall": fall,
    }


def must_be_finite(loss: float, steps: int) -> float:
    """The loss; a training whose loss is NaN or infinite has failed."""
    if not math.isfinite(loss):
        raise NotConverged(f"the training diverged after {steps} steps (loss {loss})")
    return loss


def _last_quarter_fall(history: list[tuple[int, float]]) -> float:
    """How much the best loss so far fell during the last quarter of the steps; infinite without an earlier one."""
    cut = history[-1][0] * 3 / 4
    early = [loss for steps, loss in history if steps <= cut]
    if not early:
        return float("inf")
    return min(early) - min(loss for _, loss in history)
