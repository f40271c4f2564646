"""A table for each place, drawn anew for each call of a defense and shared by all images of that call.

Pads that are added, multiplied or combined by exclusive or with all images of a call, with or without clipping, are of
this kind. Calls with equal random numbers show which tables there are (attacks.ensemble.keys_of_calls does so for keys
of single images). Which of them a place of a release has is told by its images: by how frequent the grey levels are
that they would have there, and by how near these are to the levels of the neighbouring places. The tables of all places
are improved in turn, the neighbours kept (iterated conditional modes, Besag 1986).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from harness.images import average, to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.ensemble import entry_maps
from harness.plugins.attacks.ensemble.probes import BlackBox
from harness.plugins.attacks.ensemble.undo import Undoing
from harness.randomness import derive, key_from, numpy_generator, torch_generator
from harness.types import Bytes, Generator

_LEVELS = 256
_CALLS = 2  # keys that tables are collected of
_VARIES = 2.0  # grey levels that releases of one image by different keys differ by, at least
_FITS = 0.98  # share of entries of ordinary images that the tables must explain
_MOST_TABLES = 256  # that are told apart; of more, so many that spread evenly over them
_FEWEST = 8  # images of one call that show its tables
_LOOKED_AT = 64  # images of one call that its tables are found from, at most
_PUBLIC = 64  # public images that grey levels and their differences are counted in
_FEWEST_TABLES = 16  # of one call, from which on two calls show nearly all that there are
_SWEEPS = 8
_WEIGHT = 0.3  # of the frequency of levels, beside neighbours
_FLOOR = 1e-4  # least probability of a level or a difference


def call_table(observation: Observation, rng: Generator) -> Undoing | None:
    """A finder (attacks.ensemble.undo): which tables the places of a call have, or None."""
    box, key = BlackBox(observation, rng), key_from(rng)
    if box.chunk < _FEWEST:
        return None
    probes = torch.cat([box.random(1), box.public(1)]).repeat(2, 1, 1, 1)
    shown, again = (_replayed(box, derive(key, "call", number), probes) for number in range(2))
    if not torch.equal(shown[:2], shown[2:]) or float((shown.float() - again.float()).abs().mean()) < _VARIES:
        return None  # every image has a key of its own, or none has
    flat = box.flat(torch.arange(_LEVELS))
    tables = torch.stack([_replayed(box, derive(key, "call", n), flat).flatten(1) for n in range(_CALLS)])
    order = torch.arange(flat[0].numel(), device=flat.device)
    if not _explained(probes, shown, order, tables[0]):
        numbers = numpy_generator(derive(key, "numbers")).permutation(len(order))
        order, other = (
            entry_maps.origins(_Call(box, derive(key, "call", number)), tables[number].float(), 0.0, 1, numbers)
            for number in range(2)
        )
        if not torch.equal(order, other) or not _explained(probes, shown, order, tables[0]):
            return None
    if len(torch.unique(tables[0].T, dim=0)) < _FEWEST_TABLES:
        return None  # places share one: two calls do not show which there are (fresh_keys tries bytes)
    candidates, every = _representatives(tables.permute(0, 2, 1).flatten(0, 1))
    said = "a table of grey levels for each place, drawn anew for each call (a pad of all its images)"
    moved = not torch.equal(order, order.sort().values)
    undo = _Ordered(order, _Untabled.of(box, candidates, every))
    return Undoing(f"a fixed order and {said}" if moved else said, undo, frozenset({"keyed"}), together=True)


def _explained(images: Bytes, released: Bytes, order: Tensor, tables: Bytes) -> bool:
    """Whether releases are what tables (256, d) make of the entries at `order` (d,); -1 explains nothing."""
    expected = tables.gather(0, images.flatten(1)[:, order.clamp(min=0)].long())
    near = (expected.int() - released.flatten(1).int()).abs() <= 1
    return float((near & (order >= 0)).float().mean()) >= _FITS


@dataclass(frozen=True)
class _Call:
    """The defense called with the same random numbers every time (entry_maps.Function)."""

    box: BlackBox
    key: bytes

    @property
    def shape(self) -> tuple[int, ...]:
        return self.box.shape

    def __call__(self, images: Bytes) -> Bytes:
        return _replayed(self.box, self.key, images)


def _replayed(box: BlackBox, key: bytes, images: Bytes) -> Bytes:
    """(n, 3, H, W) uint8: releases of mixtures of equal images, every call with the same random numbers."""
    parts = []
    for part in images.split(box.chunk):
        filled = part[torch.arange(box.chunk, device=part.device) % len(part)]
        stack = to_images(filled).unsqueeze(1).expand(-1, box.sources, -1, -1, -1).contiguous()
        weights = box.weights.to(box.device).expand(len(stack), -1)
        parts.append(to_bytes(box.apply(stack, weights, torch_generator(key, box.device)))[: len(part)])
    return torch.cat(parts)


def _representatives(tables: Bytes) -> tuple[Bytes, bool]:
    """(K, 256) of (n, 256): all that differ (True), or those at even ranks along their first principal component."""
    distinct = torch.unique(tables, dim=0)
    if len(distinct) <= _MOST_TABLES:
        return distinct, True
    values = distinct.float()
    centred = values - values.mean(0)
    direction = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    order = (centred @ direction).argsort()
    ranks = torch.linspace(0, len(order) - 1, _MOST_TABLES, device=order.device).round().long()
    return distinct[order[ranks]], False


@dataclass(frozen=True)
class _Ordered:
    """Entries put back where they came from, `order` (d,), before their tables are undone."""

    order: Tensor
    untabled: _Untabled

    def __call__(self, released: Bytes) -> Bytes:
        read = (self.order >= 0).to(released.device)
        back = torch.zeros_like(released.flatten(1))
        back[:, self.order.to(released.device)[read]] = released.flatten(1)[:, read]
        return self.untabled(back.view(released.shape))


@dataclass(frozen=True)
class _Untabled:
    """Finds the table of each place of each call, and undoes it.

    chunk       images of one call
    candidates  (K, 256) uint8 tables
    levels      (K, 256) float: the grey level that each value stands for under each table
    frequent    (3, K, 256) log-probability of each value by channel, if the place has the table
    near        (256 * 256, K) log-likelihood of a value, beside neighbours of a mean grey level: row 256 value + mean
    typical     (256,) how frequent each grey level is
    """

    chunk: int
    candidates: Bytes
    levels: Tensor
    frequent: Tensor
    near: Tensor
    typical: Tensor

    @classmethod
    def of(cls, box: BlackBox, candidates: Bytes, every: bool) -> _Untabled:
        """every: whether there are no other tables than these."""
        stacks = to_images(box.public(_PUBLIC * box.sources)).unflatten(0, (_PUBLIC, box.sources))
        mixtures = to_bytes(average(stacks, box.weights.to(box.device).expand(_PUBLIC, -1)))
        counts = torch.stack([torch.bincount(plane.flatten(), minlength=_LEVELS) for plane in mixtures.unbind(1)])
        smooth = functional.avg_pool1d(counts.float().unsqueeze(1), 9, 1, 4, count_include_pad=False).squeeze(1)
        share = smooth / smooth.sum(1, keepdim=True) + _FLOOR
        one_hot = functional.one_hot(candidates.long(), _LEVELS).float()  # (K, level, value)
        if not every:  # a table between two of them makes nearly the same values
            offset = torch.arange(_LEVELS, device=candidates.device)
            spread = torch.exp(-((offset[:, None] - offset) ** 2) / 2)
            one_hot = one_hot @ (spread / spread.sum(1, keepdim=True))
        frequent = (torch.einsum("cl,klv->ckv", share, one_hot) + _FLOOR).log()
        difference = (mixtures.float() - _around(mixtures.float())).round().long() + _LEVELS - 1
        found = torch.bincount(difference.flatten(), minlength=2 * _LEVELS - 1).float()
        found = functional.avg_pool1d(found.view(1, 1, -1), 3, 1, 1).flatten()
        likely = (found / found.sum() + _FLOOR).log()
        typical = entry_maps.typical_levels(box)
        place = torch.arange(len(candidates), device=candidates.device)
        levels = entry_maps.inverted(place, candidates, typical, box.shape).inverse
        means = torch.arange(_LEVELS, device=candidates.device)
        near = torch.stack([likely[row.round().long()[:, None] - means + _LEVELS - 1] for row in levels], 2)
        near += (one_hot.sum(1) + _FLOOR).log().T.unsqueeze(1)  # the levels that become the value
        return cls(box.chunk, candidates, levels, frequent, near.flatten(0, 1), typical)

    def __call__(self, released: Bytes) -> Bytes:
        return torch.cat([self._call(part) if len(part) >= _FEWEST else part for part in released.split(self.chunk)])

    def _call(self, released: Bytes) -> Bytes:
        """(n, 3, H, W) uint8 of one call -> the same shape."""
        shape, entries = released.shape[1:], released[0].numel()
        values = released[:_LOOKED_AT].flatten(1).T.contiguous().long()  # (d, n)
        counts = torch.zeros(entries, _LEVELS, device=values.device)
        counts.scatter_add_(1, values, torch.ones_like(values, dtype=torch.float32))
        frequent = torch.einsum("cpv,ckv->cpk", counts.view(3, -1, _LEVELS), self.frequent.to(values.device))
        alone = _WEIGHT * frequent.flatten(0, 1)
        chosen = alone.argmax(1)
        row, column = (torch.arange(size, device=values.device) for size in shape[1:])
        parity = ((row[:, None] + column) % 2).expand(shape).flatten()
        levels, near = (part.to(values.device) for part in (self.levels, self.near))
        for side in (0, 1) * _SWEEPS:
            rows = parity == side
            now = levels[chosen[:, None], values]
            around = _around(now.T.view(-1, *shape)).flatten(1).T.round().long()
            pairs = values[rows] * _LEVELS + around[rows]
            chosen[rows] = (functional.embedding_bag(pairs, near, mode="sum") + alone[rows]).argmax(1)
        tables = self.candidates.to(values.device)[chosen]
        place = torch.arange(entries, device=values.device)
        return entry_maps.inverted(place, tables, self.typical, tuple(shape))(released)


def _around(images: Tensor) -> Tensor:
    """(n, 3, H, W) float: the mean of the four neighbours of each value, fewer at the border."""
    kernel = images.new_tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).expand(images.shape[1], 1, 3, 3)
    total = functional.conv2d(images, kernel, padding=1, groups=images.shape[1])
    return total / functional.conv2d(torch.ones_like(images[:1]), kernel, padding=1, groups=images.shape[1])
