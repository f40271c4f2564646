"""Defenses that draw a key for every image, called again and again with the same random numbers.

Who calls a function with a random generator can call it with the same generator twice. The image at one place of a call
then meets the same key every time, and that key's order and tables of entries are found as if they were fixed
(attacks.ensemble.entry_maps), for many keys at once. Where keys are few, each release is undone by all of them and the
most natural image is kept; where they are many, what they have in common is undone: the tables, the order, or the order
within blocks that are moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.images import to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.ensemble import entry_maps
from harness.plugins.attacks.ensemble.probes import BlackBox
from harness.plugins.attacks.ensemble.undo import Undoing
from harness.plugins.attacks.fresh_keys.naturalness import Family, Naturalness
from harness.randomness import derive, key_from, numpy_generator, torch_generator
from harness.types import Bytes, Generator

_LEVELS = 256
_KEYS = 24  # images of one call, whose keys are found,
_MOST_ENTRIES = 1 << 27  # of all their tables, at most
_READ = 0.9  # share of entries whose place must be found
_SAME = 0.99  # share of entries in which equal orders or tables agree


@dataclass(frozen=True)
class _SameCall:
    """The defense called with the same random numbers every time, each time on copies of one image."""

    box: BlackBox
    key: bytes
    copies: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.box.shape

    @property
    def device(self) -> str:
        return self.box.device

    def __call__(self, images: Bytes) -> Bytes:
        """(n, 3, H, W) -> (n, copies, 3, H, W) uint8."""
        return torch.stack([self._released(image) for image in images])

    def _released(self, image: Bytes) -> Bytes:
        sources = self.box.sources
        stack = to_images(image.to(self.device)).expand(self.copies, sources, *self.shape)
        weights = self.box.weights.to(self.device).expand(self.copies, -1)
        return to_bytes(self.box.apply(stack.contiguous(), weights, torch_generator(self.key, self.device)))


@dataclass(frozen=True)
class _Keys:
    """What each of J keys does to the entries of an image.

    origin  (J, d) entry of the image that each entry of a release comes from, -1 where that is not known
    tables  (J, d, 256) uint8 what becomes of every grey level there
    """

    origin: Tensor
    tables: Tensor

    def distinct(self) -> list[int]:
        """One of each key that is met."""
        found = list[int]()
        for number in range(len(self.origin)):
            if not any(self._same(number, other) for other in found):
                found.append(number)
        return found

    def _same(self, one: int, other: int) -> bool:
        orders = (self.origin[one] == self.origin[other]).float().mean()
        return float(orders) >= _SAME and _agree(self.tables[one], self.tables[other])


def keys_of_calls(observation: Observation, rng: Generator) -> Undoing | None:
    """A finder (attacks.ensemble.undo): few keys that images are given, or what all keys have in common; or None."""
    box = BlackBox(observation, rng)
    entries = observation.images[0].numel()
    copies = max(2, min(_KEYS, _MOST_ENTRIES // (_LEVELS * entries)))
    call = _SameCall(box, derive(key_from(rng), "same call"), copies)
    images = torch.cat([box.public(2), box.random(1)])
    first = call(images)
    if not torch.equal(first, call(images)) or bool((first == first[:, :1]).all()):
        return None  # not drawn from the generator alone, or the same for all images
    tables = torch.cat([call(box.flat(torch.tensor([level]))).flatten(1) for level in range(_LEVELS)])
    numbers = numpy_generator(derive(key_from(rng), "numbers")).permutation(entries)
    origin = entry_maps.origins(call, tables.float(), 0.0, 1, numbers).view(copies, entries)
    if float((origin >= 0).float().mean()) < _READ:
        return None
    keys = _Keys(origin, tables.view(_LEVELS, copies, entries).permute(1, 2, 0))
    distinct = keys.distinct()
    if len(distinct) <= copies // 2:
        return _few(box, keys, distinct)
    return _common(box, keys)


def _few(box: BlackBox, keys: _Keys, distinct: list[int]) -> Undoing:
    frequency = entry_maps.typical_levels(box)
    inverses = [entry_maps.inverted(keys.origin[j], keys.tables[j], frequency, box.shape) for j in distinct]
    origin, tables = keys.origin[distinct[0]], keys.tables[distinct[0]]

    def undone_by(images: Bytes, values: Tensor) -> Bytes:
        """What becomes of images that the first key was used on, undone by any of the keys."""
        moved = images.flatten(1)[:, origin.clamp(min=0)].long()
        released = tables.expand(len(images), -1, -1).gather(2, moved.unsqueeze(2)).view(images.shape)
        result = torch.empty_like(images)
        for number, inverse in enumerate(inverses):
            rows = values == number
            if bool(rows.any()):
                result[rows] = inverse(released[rows])
        return result

    family = Family("one of few keys", len(inverses), undone_by)
    score = Naturalness.fit(box.public(_LEVELS), box.device, family)
    return Undoing(f"one of {len(inverses)} fixed keys for every image", _MostNatural(inverses, score))


@dataclass(frozen=True)
class _MostNatural:
    """The most natural of what several inverses make of each image."""

    inverses: list[entry_maps.Inverted]
    score: Naturalness

    def __call__(self, released: Bytes) -> Bytes:
        tried = torch.stack([inverse(released) for inverse in self.inverses], 1)
        scores = torch.stack([self.score(each) for each in tried.unbind(1)], 1)
        return tried[torch.arange(len(tried), device=tried.device), scores.argmax(1).to(tried.device)]


def _common(box: BlackBox, keys: _Keys) -> Undoing | None:
    """What many keys have in common: one order, one table for all values, or one order within blocks."""
    copies, entries = keys.origin.shape
    levels = torch.arange(_LEVELS, dtype=torch.uint8, device=keys.tables.device)
    frequency, place = entry_maps.typical_levels(box), torch.arange(entries, device=keys.origin.device)
    same_order = float((keys.origin == keys.origin[:1]).float().mean()) >= _SAME
    if same_order and float((keys.origin[0] == place).float().mean()) < _SAME:
        unchanged = levels.expand(1, _LEVELS)
        undo = entry_maps.inverted(keys.origin[0], unchanged, frequency, box.shape)
        return Undoing("a fixed order of values, beside a key of its own for every image", undo)
    table = keys.tables[0, 0]
    if _agree(keys.tables, table) and not _agree(table, levels):
        undo = entry_maps.inverted(place, table[None], frequency, box.shape)
        return Undoing("one table of grey levels, beside a key of its own for every image", undo)
    if same_order or not _agree(keys.tables, levels):
        return None
    _, height, width = box.shape
    for side in (side for side in range(2, min(height, width)) if height % side == 0 and width % side == 0):
        inner = _order_in_blocks(keys.origin.view(copies, *box.shape), side)
        if inner is not None and float((inner == place).float().mean()) < _SAME:
            undo = entry_maps.inverted(inner, levels.expand(1, _LEVELS), frequency, box.shape)
            return Undoing(f"a fixed order of pixels within blocks of {side} that are moved", undo)
    return None


def _order_in_blocks(origin: Tensor, side: int) -> Tensor | None:
    """(d,) the order of pixels that all blocks have within, if each is moved as a whole; else None.

    origin  (J, 3, H, W)
    """
    _, _, height, width = origin.shape
    pixel = origin % (height * width)
    row, column = torch.div(pixel, width, rounding_mode="floor"), pixel % width

    def blocks(values: Tensor) -> Tensor:
        return values.unfold(2, side, side).unfold(3, side, side).flatten(4)  # (J, 3, rows, columns, side^2)

    inner = blocks((row % side) * side + column % side)
    moved_to = blocks(
        torch.div(row, side, rounding_mode="floor") * width + torch.div(column, side, rounding_mode="floor")
    )
    common = inner[0, 0, 0, 0]
    whole = float((moved_to == moved_to[..., :1]).float().mean()) >= _SAME
    if not whole or float((inner == common).float().mean()) < _SAME:
        return None
    rows, columns = (torch.arange(size, device=origin.device) for size in (height, width))
    within = common.view(side, side)[rows[:, None] % side, columns % side]
    source_row = rows[:, None] - rows[:, None] % side + torch.div(within, side, rounding_mode="floor")
    source = source_row * width + columns - columns % side + within % side
    return (source[None] + torch.arange(3, device=origin.device).view(3, 1, 1) * height * width).flatten()


def _agree(one: Tensor, other: Tensor) -> bool:
    return float(((one.int() - other.int()).abs() <= 1).float().mean()) >= _SAME
