"""Values that are mixed with one other value: differences, sums and chained or paired substitutions, undone by tables.

A value of the image may be a function of the value in its place and of one other: of a neighbour, of another channel or
of the previous image of the same call, as it was released or as it was before (Feistel 1973; chaining of blocks, NIST
SP 800-38A). Random images show which: given the right two values, hardly any variance is left. The function is then a
table of 256 x 256 entries for every channel, or for every channel and parity of row and column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.observation import Observation
from harness.plugins.attacks.ensemble.probes import BlackBox
from harness.plugins.attacks.ensemble.undo import Undoing
from harness.types import Bytes, Generator

_VALUES = 256
_NONE = _VALUES  # the other value, where there is none: beyond a border
_SEEN = 30_000  # values of each class that show whether a pair explains it
_PER_ENTRY = 8  # values that an entry of a table is the mean of, on average
_EXPLAINED = 0.8  # share of the variance of random values that pairs explain,
_ALONE = 0.2  # beyond what the value in place explains alone, on average
_CALLED = 64  # images of one call, at most, while tables are filled


@dataclass(frozen=True)
class _Other:
    """Where the other value is.

    dim     0 image of the same call, 1 channel, 2 row, 3 column
    by      -1 or 1: the one before or after; 0: the partner in pairs (0, 1), (2, 3), ...
    before  whether it is the value before the defense, not the released one
    """

    dim: int
    by: int
    before: bool = False

    @property
    def said(self) -> str:
        what = ("the neighbouring image of the call", "another channel", "the row beside it", "the column beside it")
        return what[self.dim]

    def of(self, images: Tensor, chunk: int) -> Tensor:
        """(n, 3, H, W) int64: the other value of every value; 256 where there is none. chunk: images of one call."""
        size, device = images.shape[self.dim], images.device
        place = torch.arange(size, device=device)
        other = place ^ 1 if self.by == 0 else place + self.by
        inside = (other >= 0) & (other < size)
        if self.dim == 0:
            inside &= torch.div(other, chunk, rounding_mode="floor") == torch.div(place, chunk, rounding_mode="floor")
        shape = [-1 if dim == self.dim else 1 for dim in range(4)]
        picked = images.index_select(self.dim, other.clamp(0, size - 1)).long()
        return torch.where(inside.view(shape), picked, _NONE)


_RELEASED = (*(_Other(dim, by) for dim in (3, 2, 1, 0) for by in (-1, 1)), _Other(3, 0), _Other(2, 0))
_BEFORE = tuple(_Other(dim, by, True) for dim in (3, 2, 1, 0) for by in (-1, 1))


def pair_table(observation: Observation, rng: Generator) -> Undoing | None:
    """A finder (attacks.ensemble.undo): tables of pairs of values, or None."""
    box = BlackBox(observation, rng)
    plane = box.shape[1] * box.shape[2]
    for period in (1, 2):
        count = max(2, -(-_SEEN * period**2 // plane))
        images = box.random(count)
        found = _explaining(images, box.in_order(images), box.chunk, period)
        if found is not None:
            tables = _tables(box, found, period, max(2, -(-_PER_ENTRY * _VALUES**2 * period**2 // plane)))
            names = sorted({other.said for other in found if other is not None})
            together = any(other is not None and other.dim == 0 for other in found)
            said = f"each value combined with one of {' and of '.join(names)}"
            return Undoing(said, _Inverted(found, tables, period, box.chunk), together=together)
    return None


@dataclass(frozen=True)
class _Inverted:
    """Looks every value up, given the other one.

    others  for each class, which other value; None: the value in place alone
    tables  (classes, 256, 257) float32
    """

    others: tuple[_Other | None, ...]
    tables: Tensor
    period: int
    chunk: int

    def __call__(self, released: Bytes) -> Bytes:
        classes, values = _classes(released, self.period), released.long()
        other = torch.full_like(values, _NONE)
        decoded = torch.zeros_like(classes, dtype=torch.bool)
        along = None
        for number, each in enumerate(self.others):
            if each is not None and each.before:
                along, decoded = each, decoded | (classes == number)
            elif each is not None:
                other = torch.where(classes == number, each.of(released, self.chunk), other)
        tables = self.tables.to(released.device).flatten()
        place = (classes * _VALUES + values) * (_VALUES + 1)
        images = tables[place + other].round().clamp(0, 255).to(torch.uint8)
        if along is None:
            return images
        size = released.shape[along.dim]
        for start in range(size)[:: -along.by]:
            last = start + along.by
            apart = along.dim == 0 and last // self.chunk != start // self.chunk
            if not 0 <= last < size or apart:
                continue  # beyond a border: looked up already
            here = tuple(start if dim == along.dim else slice(None) for dim in range(4))
            there = tuple(last if dim == along.dim else slice(None) for dim in range(4))
            looked_up = tables[place[here] + images[there].long()].round().clamp(0, 255).to(torch.uint8)
            images[here] = torch.where(decoded.expand_as(images)[here], looked_up, images[here])
        return images


def _classes(images: Tensor, period: int) -> Tensor:
    """(1, 3, H, W) int64: a number for every channel, or for every channel and parity of row and column."""
    channel, row, column = (torch.arange(size, device=images.device) for size in images.shape[1:])
    parity = (row[:, None] % period) * period + column % period
    return (channel[:, None, None] * period**2 + parity)[None]


def _explaining(images: Bytes, released: Bytes, chunk: int, period: int) -> tuple[_Other | None, ...] | None:
    """For each class the other value that explains it best, all that are `before` the same one; None where none do."""
    classes = _classes(released, period)
    alone = _explained(images, released, torch.full_like(released, _NONE, dtype=torch.int64), classes, period)
    if float(alone.mean()) > _EXPLAINED:
        return None
    by_released = {each: _explained(images, released, each.of(released, chunk), classes, period) for each in _RELEASED}
    best, highest = None, 0.0
    for before in (None, *_BEFORE):
        choices = dict[_Other | None, Tensor]({None: alone})
        choices.update((each, share) for each, share in by_released.items())
        if before is not None:
            choices[before] = _explained(images, released, before.of(images, chunk), classes, period)
        share, chosen = torch.stack(list(choices.values())).max(0)
        if float(share.mean()) > highest + 0.01:
            best, highest = tuple(list(choices)[number] for number in chosen.tolist()), float(share.mean())
    return best if highest > max(_EXPLAINED, float(alone.mean()) + _ALONE) else None


def _explained(images: Bytes, released: Bytes, other: Tensor, classes: Tensor, period: int) -> Tensor:
    """(classes,) share of the variance of each class's images that is explained by the released value and another."""
    index = (classes * _VALUES + released.long()) * (_VALUES + 1) + other
    number = 3 * period**2
    cells = number * _VALUES * (_VALUES + 1)
    values = images.flatten().double()
    count, total, square = (
        torch.bincount(index.flatten(), weights, minlength=cells).view(number, -1).double()
        for weights in (None, values, values.square())
    )
    within = (square - total.square() / count.clamp(min=1)).sum(1)
    freedom = count.sum(1) - (count > 0).sum(1)
    variance = square.sum(1) / count.sum(1) - (total.sum(1) / count.sum(1)).square()
    share = 1 - within / freedom.clamp(min=1) / variance.clamp(min=1e-9)
    return torch.where(freedom > 100, share, torch.zeros_like(share)).clamp(0, 1)


def _tables(box: BlackBox, others: tuple[_Other | None, ...], period: int, count: int) -> Tensor:
    """(classes, 256, 257) float32: the mean value of the image for every pair; where none was seen, for one value."""
    cells = len(others) * _VALUES * (_VALUES + 1)
    counts, totals = (torch.zeros(cells, dtype=torch.float64, device=box.device) for _ in range(2))
    for images in _calls(box, count):
        released = box.in_order(images)
        classes = _classes(released, period)
        other = torch.full_like(released, _NONE, dtype=torch.int64)
        for number, each in enumerate(others):
            if each is not None:
                shown = images if each.before else released
                other = torch.where(classes == number, each.of(shown, box.chunk), other)
        index = ((classes * _VALUES + released.long()) * (_VALUES + 1) + other).flatten()
        counts += torch.bincount(index, minlength=cells)
        totals += torch.bincount(index, images.flatten().double(), minlength=cells)
    count_of, total = (part.view(len(others), _VALUES, -1) for part in (counts, totals))
    by_value = total.sum(2, keepdim=True) / count_of.sum(2, keepdim=True).clamp(min=1)
    return torch.where(count_of > 0, total / count_of.clamp(min=1), by_value).float()


def _calls(box: BlackBox, count: int) -> Iterator[Bytes]:
    """Random images, `count` in all, a few at a time."""
    for start in range(0, count, _CALLED):
        yield box.random(min(_CALLED, count - start))
