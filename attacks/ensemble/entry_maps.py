"""Defenses of which every value of a release is a function of one value of the mixture, found with chosen images.

An entry is one channel of one pixel. The 256 flat images show which value each grey level becomes at every entry of a
release: a table. Pictures of two levels, in which the binary digits of every entry's number are written, show which
entry of the image each entry of a release comes from. Both together are any permutation of pixels, channels or blocks,
any table of grey levels, for all or for each place (pads, masks, inversions), and any of the one after the other.
Neither gradients nor linearity nor knowledge of the function's inside is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from harness.observation import Observation
from harness.plugins.attacks.ensemble.probes import BlackBox
from harness.plugins.attacks.ensemble.undo import Undoing
from harness.randomness import key_from, numpy_generator
from harness.types import Array, Bytes, Generator

_LEVELS = 256
_TRIED = (0, 32, 64, 96, 128, 160, 192, 224, 255)  # levels of which two are chosen to write digits with
_SEPARATED = 4.0  # standard errors between the two values of an entry, for it to be read
_MOST_DRAWS = 16
_LEAST_READ = 0.05  # share of entries: of fewer the order is not known
_LEAST_RANGE = 2.0  # grey levels between the lowest and the highest value of a table that tells anything
_UNCERTAIN = 16.0  # grey levels between those that become one value, beyond which neighbours tell more
_SAME = 0.75  # grey levels that equal tables may differ by, beyond noise
_REMOVED = frozenset({"keyed", "permutes_in_blocks"})


def entry_map(observation: Observation, rng: Generator) -> Undoing | None:
    """A finder (attacks.ensemble.undo): the order and the tables of all entries, or None."""
    box = BlackBox(observation, rng)
    if _changes_nothing(box):
        return None
    noise, factor = _noise(box)
    if factor > max(0.5, _SEPARATED * noise / 100):
        return None  # what varies is the brightness of whole images: nothing fixed that a table could undo
    draws, tables = _tables(box, noise)
    origin = origins(box, tables, noise, draws, numpy_generator(key_from(rng)).permutation(tables.shape[1]))
    height, width = box.shape[1:]
    read = origin >= 0
    if float(read.float().mean()) < _LEAST_READ:
        return None
    order = _order_in_words(origin, height * width)
    tables, table = _simplest(tables, read, noise / draws**0.5)
    spread = float((tables.amax(1) - tables.amin(1)).median())
    if (order is None and table is None) or spread < _LEAST_RANGE + _SEPARATED * noise / draws**0.5:
        return None
    inverse = _inverse(tables, typical_levels(box), noise)
    said = " and ".join(part for part in (order, table) if part)
    ranges = _ranges(tables) if noise < 0.5 else None
    return Undoing(said, Inverted(origin, inverse, ranges, (3, height, width)), _REMOVED)


@dataclass(frozen=True)
class Inverted:
    """Puts every entry back where it came from, and its value back to the likeliest grey level.

    origin   (d,) entry of the image that each entry of a release comes from; -1 where that is not known
    inverse  (1, 256) or (d, 256) float: the grey level for every value of each entry
    ranges   the lowest and the highest grey level that become it, of the same shape: where they are far apart (it is
             clipped) the neighbours tell more; None where noise hides them
    """

    origin: Tensor
    inverse: Tensor
    ranges: tuple[Tensor, Tensor] | None
    shape: tuple[int, ...]

    def __call__(self, released: Bytes) -> Bytes:
        values = released.flatten(1).long()
        if len(self.inverse) > 1:
            values = values + _LEVELS * torch.arange(values.shape[1], device=values.device)
        read = self.origin >= 0
        places, values = self.origin[read].to(values.device), values[:, read.to(values.device)]
        image, count = self._placed(self.inverse, values, places)
        known = (count > 0).view(1, *self.shape).expand_as(image)
        if self.ranges is not None:
            low, high = (self._placed(end, values, places)[0] for end in self.ranges)
            known = known & (high - low <= _UNCERTAIN)
        if not bool(known.all()):
            near = filled(image, known)
            inside = near if self.ranges is None else torch.where(high > 0, near.clamp(low, high), near)
            image = torch.where(known, image, inside)
        return image.round().clamp(0, _LEVELS - 1).to(torch.uint8)

    def _placed(self, table: Tensor, values: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3, H, W) what a table says of each value, where it came from (a mean of several); (d,) how many."""
        levels = table.to(values.device).view(-1)[values]
        total = torch.zeros(len(values), len(self.origin), device=values.device).index_add_(1, places, levels)
        count = torch.zeros_like(total[0]).index_add_(0, places, torch.ones_like(levels[0]))
        return (total / count.clamp(min=1)).view(-1, *self.shape), count


def filled(images: Tensor, known: Tensor) -> Tensor:
    """(n, C, H, W): unknown entries as the mean of the nearest known ones (normalised convolution, growing windows).

    known  (n or 1, C, H, W) bool
    """
    weight = known.to(images).expand_as(images)
    result, reach = torch.where(known, images, torch.zeros_like(images)), 1
    done = known.expand_as(images)
    while not bool(done.all()) and reach <= max(images.shape[2:]):
        total, count = _window_mean(images * weight, reach), _window_mean(weight, reach)
        result = torch.where(done, result, total / count.clamp(min=1e-9))
        done, reach = done | (count > 1e-6), 2 * reach
    return result


def _window_mean(images: Tensor, reach: int) -> Tensor:
    """The mean over a square window of every plane, zeros beyond the border."""
    size = 2 * reach + 1
    return functional.avg_pool2d(functional.avg_pool2d(images, (size, 1), 1, (reach, 0)), (1, size), 1, (0, reach))


def _changes_nothing(box: BlackBox) -> bool:
    """Whether releases are the images themselves, up to noise."""
    images = torch.cat([box.public(8), box.random(4)])
    released = box.repeated(images, 4).float()
    noise = float(released.std(0).mean())
    return float((released.mean(0) - images.float()).abs().mean()) < _SAME + 0.6 * noise


def _noise(box: BlackBox) -> tuple[float, float]:
    """Standard deviations over draws, in grey levels: of an entry, and of the mean of a whole image (flat images)."""
    released = box.repeated(box.flat(torch.tensor([64, 128, 192])), 4).float()
    return float(released.std(0).mean()), float(released.mean((2, 3, 4)).std(0).mean())


def _tables(box: BlackBox, noise: float) -> tuple[int, Tensor]:
    """How many draws are averaged, and the tables (256, d) float.

    noise  of one entry in one draw, in grey levels
    """
    draws = int(min(_MOST_DRAWS, max(1, round((noise / 8) ** 2))))
    levels = torch.arange(_LEVELS)
    total = torch.zeros(_LEVELS, int(torch.tensor(box.shape).prod()), device=box.device)
    for _ in range(draws):
        total += box(box.flat(levels)).flatten(1)
    return draws, total / draws


class Function(Protocol):
    """What may be called on (n, 3, H, W) uint8 images; its result has n rows of any shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(3, H, W)."""

    def __call__(self, images: Bytes) -> Bytes: ...


def origins(box: Function, tables: Tensor, noise: float, draws: int, numbers: Array) -> Tensor:
    """(p,) the entry that each entry of a release comes from, -1 where the digits contradict each other.

    tables   (256, p)
    numbers  (d,) the number that is written at each entry: a permutation, so that the pictures look like noise
    """
    count, device = len(numbers), tables.device
    low, high = _two_levels(tables, noise / draws**0.5)
    number = torch.from_numpy(numbers).to(device)
    digits = torch.stack([number >> place & 1 for place in range(max(1, (count - 1).bit_length()))])
    pictures = torch.cat([digits, 1 - digits]).bool()
    images = torch.where(pictures, high, low).to(torch.uint8).view(-1, *box.shape)
    released = torch.stack([box(images).flatten(1).float() for _ in range(draws)]).mean(0)
    to_high, to_low = (released - tables[high]).abs(), (released - tables[low]).abs()
    written = to_high < to_low
    one, other = written.chunk(2)
    apart = (tables[high] - tables[low]).abs() > _SEPARATED * noise / draws**0.5
    fits = torch.minimum(to_high, to_low).amax(0) <= 1.5 + 2 * _SEPARATED * noise / draws**0.5
    certain = (one != other).all(0) & apart & (tables[high] != tables[low]) & fits
    weights = 1 << torch.arange(len(digits), device=device)
    found = (one.long() * weights[:, None]).sum(0)
    certain &= found < count
    place_of = torch.empty(count, dtype=torch.long, device=device)
    place_of[number] = torch.arange(count, device=device)
    return torch.where(certain, place_of[found.clamp(max=count - 1)], -1)


def _two_levels(tables: Tensor, error: float) -> tuple[int, int]:
    """The two levels that the most entries show by different values, and of these pairs the farthest apart."""

    def separation(pair: tuple[int, int]) -> tuple[float, float]:
        apart = (tables[pair[0]] - tables[pair[1]]).abs()
        return round(float((apart > max(0.5, _SEPARATED * error)).float().mean()), 2), float(apart.clamp(max=64).mean())

    return max(((low, high) for low in _TRIED for high in _TRIED if low < high), key=separation)


def _order_in_words(origin: Tensor, pixels: int) -> str | None:
    """What the order of the entries is called; None where all are in place."""
    place = torch.arange(len(origin), device=origin.device)
    read = origin >= 0
    missing = "" if bool(read.all()) else f" of which {float((~read).float().mean()):.0%} are hidden"
    if bool((origin == place)[read].all()):
        return f"a fixed mask{missing}" if missing else None
    pixel, channel = origin % pixels, origin // pixels
    if bool((pixel == place % pixels)[read].all()):
        return f"a fixed exchange of channels{missing}"
    planes = pixel.view(3, -1)
    together = bool(((planes == planes[0]) | (planes < 0) | (planes[:1] < 0)).all())
    if together and bool((channel == place // pixels)[read].all()):
        return f"a fixed permutation of pixels{missing}"
    return f"a fixed permutation of pixels and channels{missing}"


def _simplest(tables: Tensor, read: Tensor, error: float) -> tuple[Tensor, str | None]:
    """(1 or d, 256) tables, the same for all entries where they agree, and in words; None: levels stay as they are."""
    levels = torch.arange(_LEVELS, device=tables.device, dtype=tables.dtype)
    tolerance = _SAME + 1.2 * error
    common = tables[:, read].mean(1)
    if float((tables[:, read] - common[:, None]).abs().mean()) < tolerance:
        unchanged = float((common - levels).abs().mean()) < _SAME
        return common[None], None if unchanged else "one table of grey levels for all pixels"
    planes = tables.view(_LEVELS, 3, -1)
    by_channel = planes.mean(2, keepdim=True)
    if float((planes - by_channel).abs().mean()) < tolerance:
        return by_channel.expand_as(planes).reshape(_LEVELS, -1).T, "a table of grey levels for each channel"
    return tables.T, "a table of grey levels for each place (a fixed pad or mask)"


def typical_levels(box: BlackBox) -> Tensor:
    """(256,) how frequent each grey level is among public images; none is impossible."""
    counts = torch.bincount(box.public(64).flatten().long(), minlength=_LEVELS).float()
    return counts / counts.sum() + 1e-5


def _inverse(tables: Tensor, frequency: Tensor, noise: float) -> Tensor:
    """(1 or d, 256) float: the mean of the grey levels that become a value, as frequent as they are among images.

    Values that no grey level becomes take the nearest one's. With noise, levels count by how likely they become it.
    """
    rows, device = len(tables), tables.device
    total, weight = (torch.zeros(rows, _LEVELS, device=device) for _ in range(2))
    values, row = tables.round().long().clamp(0, _LEVELS - 1), torch.arange(rows, device=device)
    for level in range(_LEVELS):
        share = frequency[level].to(device).expand(rows)
        weight.index_put_((row, values[:, level]), share, accumulate=True)
        total.index_put_((row, values[:, level]), share * level, accumulate=True)
    if noise > 0.5:
        offsets = torch.arange(_LEVELS, device=device)
        spread = torch.exp(-((offsets[:, None] - offsets) ** 2) / (2 * noise**2))
        total, weight = total @ spread, weight @ spread
    return _nearest(total / weight.clamp(min=1e-12), weight > 1e-9)


def inverted(origin: Tensor, tables: Bytes, frequency: Tensor, shape: tuple[int, ...]) -> Inverted:
    """The inverse of an order (d,) and of tables (1 or d, 256) that are known exactly."""
    values = tables.float()
    return Inverted(origin, _inverse(values, frequency, 0.0), _ranges(values), shape)


def _ranges(tables: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest and the highest grey level that become a value, both (1 or d, 256) float; 0 where none does."""
    values, row = tables.round().long().clamp(0, _LEVELS - 1), torch.arange(len(tables), device=tables.device)
    low, high = (torch.zeros(len(tables), _LEVELS, device=tables.device) for _ in range(2))
    for level in range(_LEVELS):
        high[row, values[:, level]] = level
    for level in reversed(range(_LEVELS)):
        low[row, values[:, level]] = level
    return low, high


def _nearest(inverse: Tensor, known: Tensor) -> Tensor:
    """Columns that are not known take the value of the nearest known one of their row."""
    columns = torch.arange(inverse.shape[1], device=inverse.device).expand_as(inverse)
    below = torch.where(known, columns, -_LEVELS).cummax(1).values
    above = torch.where(known, columns, 2 * _LEVELS).flip(1).cummin(1).values.flip(1)
    nearest = torch.where(columns - below <= above - columns, below, above).clamp(0, _LEVELS - 1)
    return inverse.gather(1, nearest)
