"""When a training may stop: its loss on held-out images is flat, and not merely slow to start.

The same rule for every learned attack, so that an attack that did not converge fails and does not make a defense look
private.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from harness.errors import NotConverged

LEAST_STEPS = 1000
_LEAST_FALL = 0.02  # of the loss of a constant guess
_EVALUATIONS = 20  # of the held-out loss during the least number of steps
_SLOW = 4  # times the least steps: how long a loss may stay at that of a constant guess before it counts as flat
_LONGEST = 8  # times the least steps: how long it may fall


class Trainee(Protocol):
    """A network in training: the number of steps taken, and a copy of its weights."""

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
    flat at the guess's may be a slow start: it counts as flat only after four times the least steps. NotConverged where
    it is not flat after eight times the least steps, or not finite.

    train    train(round) trains one round and returns its mean loss
    judge    returns the loss on held-out images
    guess    the loss of the best constant guess
    returns  the facts for the record
    """
    history: list[tuple[int, float]] = []
    best_state, best_loss, due, done, fall = trainee.state(), float("inf"), 0, 0, float("inf")
    while True:
        train_loss = must_be_finite(train(done), trainee.steps)
        done += 1
        least = max(LEAST_STEPS, trainee.steps * rounds // done)
        if trainee.steps < due:
            continue
        due = trainee.steps + least // _EVALUATIONS
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
            reason = f"the held-out loss still fell by {fall:.1%} in the last quarter of {trainee.steps} steps"
            raise NotConverged(f"{reason}; raise train_epochs")
    trainee.model.load_state_dict(best_state)
    return {
        "steps": trainee.steps,
        "rounds": done,
        "train_loss": train_loss,
        "held_out_loss": best_loss,
        "last_quarter_fall": fall,
    }


def must_be_finite(loss: float, steps: int) -> float:
    """The loss, or NotConverged where it is NaN or infinite."""
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
