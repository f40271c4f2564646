"""Is every released image made of its own sources alone, and its label of the plan? All scores of a row rest on it.

A defense gets stacks of rows, and may remember them. One that shows in a row what stands in another (the image before,
the call five calls before) would be scored against originals that it does not show, and look private. One that puts the
picture into the shares of a label shows it where no image is looked at. So releases are made again, with the same
random numbers, in the very calls in which they were made:

* every release with its calls in another order: what a call makes must not depend on those before it;
* release 0 with other content in half of the rows, for several halves: the other rows must come out the same, and the
  shares of all rows.

Where the second differs, the random numbers themselves may depend on the content (Poisson noise): then the means over
many draws are compared, three times over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from harness.client.client import Client
from harness.images import to_bytes
from harness.randomness import derive, numpy_generator
from harness.registry import Entry
from harness.release import Calls
from harness.types import Images, Mixture, Release, Secret, Sources

NOT_REPEATED = "the same key gives other bytes"
SAID = "a released image depends on others than its own sources"
SAID_OF_LABELS = "the shares of a label depend on what the images show"
_REPEATS = 3  # times that release 0 is made again; every second time in another order, as each later release is once
_HALVES = 2  # halves of the rows that get other content, and then the other half of each
_DRAWS = 16
_IMAGES, _SHARES = 0, 1
_ROUNDS = 3  # of so many draws: a row or a share must differ in each
_CALLS = 2  # calls at most whose draws are repeated for images, and for shares: one of each half
_CHANGED = 0.01  # share of the bytes of a row that may differ by more than one level, the rounding of sums
_EXCESS = 10.0  # times the squared standard error of its mean: more is a difference of a row
_SAME, _SAME_SHARE = 0.5 / 255, 1e-6  # of a pixel and of a share: less is rounding


def row_faults(client: Client, defense: Entry, seed: int) -> list[str]:
    """What is wrong with the rows of a defense, in words; empty where nothing is."""
    other_bytes = others = labels = False
    left = [_CALLS, _CALLS]
    for number in range(client.releases):
        release, secret = client.release(defense, seed, number)
        calls = client.calls(defense, seed, number)
        for turn in range(_REPEATS if number == 0 else 1):
            in_order = number == 0 and turn % 2 == 0
            order = range(len(calls.slices)) if in_order else _another_order(len(calls.slices), turn)
            same = _comes_again(calls, release, order)
            other_bytes, others = other_bytes or (in_order and not same), others or not (in_order or same)
        for half in range(2 * _HALVES if number == 0 else 0):
            changes = _half_of(len(release), half).to(client.device)
            rows, shares = _with_other_content(calls, release, secret, changes, left)
            others, labels = others or rows, labels or shares
    said = {NOT_REPEATED: other_bytes, SAID: others, SAID_OF_LABELS: labels}
    return [words for words, holds in said.items() if holds]


def _another_order(calls: int, turn: int) -> Sequence[int]:
    """Backwards, or at random."""
    drawn: list[int] = numpy_generator(derive(b"", "order", turn)).permutation(calls).tolist()
    return range(calls)[::-1] if turn < 2 else drawn


def _comes_again(calls: Calls, release: Release, order: Sequence[int]) -> bool:
    """Whether a release is the same when its calls are made again in this order."""
    same = [True]

    def keep(rows: slice, mixture: Mixture) -> None:
        same[0] = same[0] and not bool(_differ(mixture.images, release, rows).any())

    calls.make(keep, order=order)
    return same[0]


def _differ(images: Images, release: Release, rows: slice) -> torch.Tensor:
    """(n,) whether these are other images than those rows of the release."""
    before, now = release.images[rows].to(images.device), to_bytes(images)
    return ((before.short() - now.short()).abs() > 1).float().mean((1, 2, 3)) > _CHANGED


def _half_of(count: int, number: int) -> torch.Tensor:
    """(count,) some half of the rows; of every two the other is the rest."""
    drawn = numpy_generator(derive(b"", "row check", number // 2)).random(count) < 0.5
    return torch.from_numpy(drawn != bool(number % 2))


def _with_other_content(
    calls: Calls, release: Release, secret: Secret, changes: torch.Tensor, left: list[int]
) -> tuple[bool, bool]:
    """Some rows get the negatives of their sources: whether the other rows are others, and whether any shares are.

    left  how many calls may still be repeated for the one and for the other; counted down
    """
    found: list[tuple[int, int]] = []  # of each call

    def changed(rows: slice, stack: Sources) -> Sources:
        return torch.where(changes[rows].view(-1, 1, 1, 1, 1), 1 - stack, stack)

    def keep(rows: slice, mixture: Mixture) -> None:
        images = _differ(mixture.images, release, rows) & ~changes[rows]
        shares = np.abs(mixture.shares.cpu().numpy() - secret.shares[rows]).max(1) > _SAME_SHARE
        found.append((int(images.sum()), int(shares.sum())))

    def differs(of: int) -> bool:
        most = max(range(len(found)), key=lambda call: found[call][of])
        if not found[most][of] or not left[of]:
            return False
        left[of] -= 1
        return _differs_on_average(calls, most, changed, changes, of)

    calls.make(keep, changed=changed)
    return differs(_IMAGES), differs(_SHARES)


def _differs_on_average(
    calls: Calls, call: int, changed: Callable[[slice, Sources], Sources], changes: torch.Tensor, of: int
) -> bool:
    """Whether, over many draws, some row of a call that kept its content comes out otherwise, or any row's shares."""

    def outcome(draw: int, **content: Any) -> torch.Tensor:
        made: list[Mixture] = []
        calls.make(lambda _, mixture: made.append(mixture), order=[call], draw=draw, **content)
        kept = made[0].shares if of == _SHARES else made[0].images[~changes[calls.slices[call]]]
        return kept.detach().flatten(1)

    least, differing = (_SAME_SHARE if of == _SHARES else _SAME) ** 2, torch.ones(())
    for number in range(_ROUNDS):
        draws = range(number * _DRAWS, (number + 1) * _DRAWS)
        one, spread = _mean_and_error(outcome, draws)
        other, more = _mean_and_error(partial(outcome, changed=changed), draws)
        apart, expected = (one - other).square().mean(1), (spread + more).mean(1)
        differing = differing * (apart / expected.clamp(min=least) > _EXCESS)
        if not bool(differing.any()):
            return False
    return True


def _mean_and_error(outcome: Callable[[int], torch.Tensor], draws: range) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean over draws, and the square of its standard error (Welford 1962)."""
    mean = squares = torch.zeros(())
    for count, draw in enumerate(draws, 1):
        values = outcome(draw).double()
        away = values - mean
        mean = mean + away / count
        squares = squares + away * (values - mean)
    return mean, squares / (len(draws) - 1) / len(draws)
