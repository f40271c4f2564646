"""When a training may stop, and whether it has learned: the same two rules for every learned attack.

It may stop where its loss on held-out images is flat, and not merely slow to start. It has learned where this loss is
significantly below that of the best constant guess, paired over held-out images. A tie says that there is nothing to
learn: the attack then answers the constant. A loss significantly above the constant's is a failed training, which must
not make a defense look private.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.special import bdtrc as binomial_tail

from harness.errors import NotConverged
from harness.statistics import paired_p, per_unit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

LEAST_STEPS = 1000
_LEAST_FALL = 0.02  # of the loss of a constant guess
_EVALUATIONS = 20  # of the held-out loss during the least number of steps
_SLOW = 4  # times the least steps: how long a loss may stay at that of a constant guess before it counts as flat
_LONGEST = 8  # times the least steps: how long it may fall
_TIED = 0.01  # of the constant guess's loss: less above it is a tie
_BETTER, _WORSE = 0.025, 0.001  # one-sided p-values; the first is that of a 95 % interval which excludes 0
_CLEAR = 0.001  # of hits: stricter than for losses, since what is held out also chose the settings


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


def compared_with_constant(
    losses: ArrayLike, constant: ArrayLike, units: ArrayLike | None = None, hits: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Whether a training learned anything: its held-out losses against those of the best constant guess.

    NotConverged where they are significantly above (one-sided p < .001, paired t-test over held-out images) and by
    more than 1 %: a classifier that has shrunk to the class shares differs from them by next to nothing on every image.

    losses    (n,) of the trained network on held-out releases
    constant  (n,) of the best constant guess on the same releases
    units     (n,) the held-out image that each release is of; without it every release is an image of its own
    hits      of a recogniser: its held_out_hits, held_out_n and held_out_chance. A few confident errors cost more loss
              than many right answers gain, so hits clearly above chance (binomial p < .001) are learning too
    returns   for the record: learned, whether they are significantly below (one-sided p < .025); both mean losses
    """
    loss, guess = (float(np.asarray(part, np.float64).mean()) for part in (losses, constant))
    if loss > (1 + _TIED) * guess and below(constant, losses, units, _WORSE):
        said = f"the held-out loss {loss:.3f} is significantly above the {guess:.3f} of the best constant guess"
        raise NotConverged(f"{said}: the training is broken")
    learned = below(losses, constant, units)
    if hits and hits["held_out_hits"] and not learned:
        right, n, chance = (hits[name] for name in ("held_out_hits", "held_out_n", "held_out_chance"))
        learned = bool(binomial_tail(right - 1, n, chance) < _CLEAR)
    return {"learned": learned, "held_out_loss": loss, "constant_loss": guess}


def below(losses: ArrayLike, others: ArrayLike, units: ArrayLike | None = None, level: float = _BETTER) -> bool:
    """Whether losses are significantly below others of the same releases: one-sided, paired over held-out images."""
    lower = per_unit(losses, units).mean() < per_unit(others, units).mean()
    return bool(lower and paired_p(losses, others, units=units) / 2 < level)
