"""Some bits of each value carry the picture, by a table for each place; the other bits are random.

Random images show which neighbouring bits those are: given these bits of a release, the variance of the grey level at
the same place is least. Where the table is the same for all places, attacks.fresh_keys.carriers finds it from fewer
images; this finder is for those under a fixed pad or mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.observation import Observation
from harness.plugins.attacks.ensemble.probes import BlackBox
from harness.plugins.attacks.ensemble.undo import Undoing
from harness.types import Bytes, Generator

_LEVELS = 256
_VARIES = 2.0  # grey levels by which releases of one image differ, at least
_SHOWN = 0.5  # correlation of releases with grey levels from which on the values tell them by themselves
_PROBED = 2048  # random images
_FEW = 256  # of them that decide whether bits tell anything, as means over all places
_CALLED = 128  # of them at once
_EXPLAINED = 0.3  # share of the variance of grey levels that the bits explain,
_BY_PLACE = 0.2  # beyond what one table for all places explains


def bit_table(observation: Observation, rng: Generator) -> Undoing | None:
    """A finder (attacks.ensemble.undo): which bits tell the grey levels of each place, or None."""
    box = BlackBox(observation, rng)
    if float(box.repeated(box.public(4), 2).float().std(0).mean()) < _VARIES:
        return None  # attacks.ensemble.entry_maps finds what is not random
    levels = torch.linspace(0, _LEVELS - 1, 32).round()
    flat = box(box.flat(levels)).flatten(1).float()
    if float(_correlation(flat, levels.to(flat.device)).abs().mean()) > _SHOWN:
        return None
    counts, sums = _counted(box, _FEW)
    if _telling(counts, sums) is None:
        return None
    more, sums_of_more = _counted(box, _PROBED - _FEW)
    counts, sums = counts + more, sums + sums_of_more
    mask = _telling(counts, sums)
    if mask is None:
        return None
    count, total = _joined(counts, mask), _joined(sums, mask)
    said = f"the picture in bits {mask:08b} by a table for each place (a fixed pad or mask)"
    return Undoing(said, _Looked(total / count.clamp(min=1) + 127.5 * (count == 0)), frozenset({"keyed"}))


@dataclass(frozen=True)
class _Looked:
    """Looks every value up in the table (d, 256) of its place."""

    table: Tensor

    def __call__(self, released: Bytes) -> Bytes:
        places = torch.arange(len(self.table), device=released.device)
        levels = self.table.to(released.device)[places, released.flatten(1).long()]
        return levels.round().clamp(0, _LEVELS - 1).to(torch.uint8).view(released.shape)


def _correlation(values: Tensor, levels: Tensor) -> Tensor:
    """(d,) of values (n, d) with levels (n,)."""
    ours, theirs = values - values.mean(0), levels - levels.mean()
    size: Tensor = ours.norm(dim=0) * theirs.norm()
    return (ours * theirs[:, None]).sum(0).div(size.clamp(min=1e-6))


def _telling(counts: Tensor, sums: Tensor) -> int | None:
    """The neighbouring bits that explain most of the grey levels, by a table for each place; None where few do."""
    masks = [((1 << length) - 1) << low for length in range(1, 8) for low in range(9 - length)]
    shares = [_share(counts, sums, mask) for mask in masks]
    mask, share = max(zip(masks, shares, strict=True), key=lambda pair: pair[1])
    common = _share(counts.sum(0, keepdim=True), sums.sum(0, keepdim=True), mask)
    return mask if share > max(_EXPLAINED, common + _BY_PLACE) else None


def _counted(box: BlackBox, number: int) -> tuple[Tensor, Tensor]:
    """(d, 256) how often each value was released at each place, and the sum of the grey levels that became it."""
    entries = box.flat(torch.tensor([0])).numel()
    counts, sums = (torch.zeros(entries * _LEVELS, device=box.device) for _ in range(2))
    first = torch.arange(entries, device=box.device) * _LEVELS
    for _ in range(number // _CALLED):
        images = box.random(_CALLED)
        index = (first + box(images).flatten(1).long()).flatten()
        counts += torch.bincount(index, minlength=len(counts))
        sums += torch.bincount(index, images.flatten().float(), minlength=len(sums))
    return counts.view(entries, -1), sums.view(entries, -1)


def _joined(parts: Tensor, mask: int) -> Tensor:
    """(d, 256): sums over all values with equal bits in the mask."""
    values = torch.arange(_LEVELS, device=parts.device) & mask
    total = torch.zeros_like(parts).index_add_(1, values, parts)
    return total[:, values]


def _share(counts: Tensor, sums: Tensor, mask: int) -> float:
    """Share of the variance of uniform grey levels that the bits of the mask explain, less what chance explains."""
    values = torch.arange(_LEVELS, device=counts.device) & mask
    count, total = (torch.zeros_like(part).index_add_(1, values, part) for part in (counts, sums))
    number, classes = count.sum(1), (count > 0).sum(1)
    mean = total.sum(1) / number
    between = (count * (total / count.clamp(min=1) - mean[:, None]).square()).sum(1)
    variance = (_LEVELS**2 - 1) / 12
    return float(((between - (classes - 1) * variance) / (number * variance)).mean())
