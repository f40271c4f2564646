"""Pictures carried by part of an image: by some of its bits, pixels or frequencies, by differences, by residues.

A carrier is unpacked by a fixed rule (`unpackings`), such as "every second pixel" or "sums along the rows". What the
values of the unpacked image then say about the picture is learned from rehearsals: a table for every channel, by least
squares (`ValueTable`), which finds low bits under a random cover, reversed bits, residues or a single channel alike.
References: least significant bits as a carrier, Bender et al. 1996; additive regression on one-hot values, Hastie,
Tibshirani 1990; coherent demodulation, any textbook of communication.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from harness.images import to_bytes, to_images
from harness.types import Bytes

_VALUES = 256
_RIDGE = 10.0  # pixels' worth of shrinkage of a table's entry towards 0
_TILES = 4  # largest number of tiles a side
_LOWEST = 0.15  # cycles per pixel: below it lies the picture itself, not a carrier
_BAND = 0.45  # of the carrier's distance from 0: half the width of what is kept around it


@dataclass(frozen=True)
class Unpacking:
    """A fixed rule that turns a stack of images (n, 3, H, W) uint8 into another of the same shape."""

    said: str
    apply: Callable[[Bytes], Bytes]


@dataclass(frozen=True)
class ValueTable:
    """What each value of each channel adds to each channel of the picture.

    entries  (parities, 3, 256, 3) float32, in units of images in [0, 1]: by the pixel's parity, channel and value
    period   of the parity in pixels: 1 where the place of a pixel does not matter
    """

    entries: Tensor
    period: int

    @classmethod
    def fit(cls, released: Bytes, originals: Bytes, period: int = 1) -> ValueTable:
        """Least squares over all pixels of (n, 3, H, W) uint8 releases and what they shall become."""
        truth = to_images(originals)
        tables = [
            _additive(released[:, :, row::period, column::period], truth[:, :, row::period, column::period])
            for row in range(period)
            for column in range(period)
        ]
        return cls(torch.stack(tables), period)

    def __call__(self, released: Bytes) -> Bytes:
        """(n, 3, H, W) uint8 -> the same shape."""
        sums = torch.zeros(released.shape, device=released.device)
        for parity, table in enumerate(self.entries.to(released.device)):
            row, column = parity // self.period, parity % self.period
            part = released[:, :, row :: self.period, column :: self.period].long()
            looked_up = sum(table[channel][part[:, channel]] for channel in range(3))
            assert isinstance(looked_up, Tensor)
            sums[:, :, row :: self.period, column :: self.period] = looked_up.permute(0, 3, 1, 2)
        return to_bytes(sums)


def unpackings(height: int, width: int) -> Iterator[Unpacking]:
    """Every rule that images of this size allow; the first changes nothing."""
    yield Unpacking("the values of pixels", lambda images: images)
    for dim, along in ((3, "rows"), (2, "columns")):
        yield Unpacking(f"sums modulo 256 along the {along}", partial(_sums, dim=dim))
        yield Unpacking(f"differences modulo 256 along the {along}", partial(_differences, dim=dim))
        yield Unpacking(f"exclusive or along the {along}", partial(_running_xor, dim=dim))
        yield Unpacking(f"exclusive or of neighbours along the {along}", partial(_neighbours_xor, dim=dim))
        yield Unpacking(f"slopes along the {along}", partial(_integrated, dim=dim))
    for said, down, across in (("checkerboard", 1, 1), ("rows", 1, 0), ("columns", 0, 1)):
        yield Unpacking(f"signs that alternate by {said}", partial(_alternated, down=down, across=across))
    yield Unpacking("sums of channels modulo 256", partial(_sums, dim=1))
    yield Unpacking("differences of channels modulo 256", lambda images: images - images.roll(1, 1))
    yield Unpacking("exclusive or of channels", lambda images: images ^ images.roll(1, 1))
    for count in range(2, _TILES + 1):
        if height % count == 0 and width % count == 0:
            yield from _parts(count)
    yield Unpacking("the phases of the spectrum", _phases)
    yield Unpacking("a carrier frequency", _demodulated)


def _parts(count: int) -> Iterator[Unpacking]:
    """A picture in every count-th pixel, row or column, or shrunk into one of count x count tiles."""
    for row in range(count):
        yield Unpacking(f"every {count}th row", partial(_interleaved, by=(count, 1), at=(row, 0)))
        yield Unpacking(f"every {count}th column", partial(_interleaved, by=(1, count), at=(0, row)))
        for column in range(count):
            at = (row, column)
            yield Unpacking(f"every {count}th pixel", partial(_interleaved, by=(count, count), at=at))
            yield Unpacking(f"a tile of {count} x {count}", partial(_tile, count=count, at=at))


def low_bits(images: Bytes, count: int) -> Bytes:
    """(n, 3, H, W) uint8: the lowest bits of every value, as grey levels from 0 to 255."""
    most = 2**count - 1
    return torch.floor_divide((images & most).int() * 255, most).to(torch.uint8)


def _alternated(images: Bytes, down: int, across: int) -> Bytes:
    rows = torch.arange(images.shape[2], device=images.device).unsqueeze(1)
    columns = torch.arange(images.shape[3], device=images.device)
    return images ^ (255 * ((down * rows + across * columns) % 2)).to(torch.uint8)


def _sums(images: Bytes, dim: int) -> Bytes:
    return (images.long().cumsum(dim) % _VALUES).to(torch.uint8)


def _differences(images: Bytes, dim: int) -> Bytes:
    rest = images.shape[dim] - 1
    return torch.cat([images.narrow(dim, 0, 1), images.narrow(dim, 1, rest) - images.narrow(dim, 0, rest)], dim)


def _running_xor(images: Bytes, dim: int) -> Bytes:
    result, step = images.clone(), 1
    while step < images.shape[dim]:
        rest = images.shape[dim] - step
        result.narrow(dim, step, rest).bitwise_xor_(result.narrow(dim, 0, rest).clone())
        step *= 2
    return result


def _neighbours_xor(images: Bytes, dim: int) -> Bytes:
    result, rest = images.clone(), images.shape[dim] - 1
    result.narrow(dim, 1, rest).bitwise_xor_(images.narrow(dim, 0, rest))
    return result


def _integrated(images: Bytes, dim: int) -> Bytes:
    """Slopes around mid grey summed up; lines put at levels where they differ least; contrast set to a typical one."""
    slopes = to_images(images if dim == 3 else images.transpose(2, 3)) * 255 - 128
    lines = slopes.cumsum(3)
    lines = lines - lines.mean(3, keepdim=True)
    steps = (lines[:, :, 1:] - lines[:, :, :-1]).median(3, keepdim=True).values.cumsum(2)
    lines = torch.cat([lines[:, :, :1], lines[:, :, 1:] - steps], 2)
    spread = lines.std((1, 2, 3), keepdim=True).clamp(min=1e-3)
    levels = to_bytes(0.5 + 0.25 * (lines - lines.mean((1, 2, 3), keepdim=True)) / spread)
    return levels if dim == 3 else levels.transpose(2, 3).contiguous()


def _interleaved(images: Bytes, by: tuple[int, int], at: tuple[int, int]) -> Bytes:
    return _enlarged(images[:, :, at[0] :: by[0], at[1] :: by[1]], images)


def _tile(images: Bytes, count: int, at: tuple[int, int]) -> Bytes:
    height, width = images.shape[2] // count, images.shape[3] // count
    top, left = at[0] * height, at[1] * width
    return _enlarged(images[:, :, top : top + height, left : left + width], images)


def _enlarged(part: Bytes, whole: Bytes) -> Bytes:
    size = (whole.shape[2], whole.shape[3])
    return to_bytes(functional.interpolate(to_images(part), size=size, mode="bicubic", align_corners=False))


def _phases(images: Bytes) -> Bytes:
    """The image with its own phases and magnitudes that fall with frequency, as in photographs (Field 1987)."""
    spectrum = torch.fft.fft2(to_images(images))
    frequency = _frequencies(images)
    falling = 1 / frequency.clamp(min=1 / max(images.shape[2:]))
    changed = torch.fft.ifft2(spectrum / spectrum.abs().clamp(min=1e-6) * falling).real
    changed = changed - changed.mean((2, 3), keepdim=True)
    return to_bytes(0.5 + 0.25 * changed / changed.std((1, 2, 3), keepdim=True).clamp(min=1e-6))


def _demodulated(images: Bytes) -> Bytes:
    """What surrounds the strongest frequency above .15 cycles per pixel, moved to frequency 0.

    The strongest is what the picture's mean becomes; its phase makes it positive.
    """
    signal = to_images(images) - 0.5
    spectrum = torch.fft.fft2(signal)
    frequency = _frequencies(images)
    power = spectrum.abs().square().sum(1) * (frequency >= _LOWEST)
    place = power.flatten(1).argmax(1)
    down, across = place // images.shape[3], place % images.shape[3]
    rows = torch.fft.fftfreq(images.shape[2], device=images.device)
    columns = torch.fft.fftfreq(images.shape[3], device=images.device)
    carrier = torch.stack([rows[down], columns[across]], 1)
    peak = spectrum.flatten(2).gather(2, place.view(-1, 1, 1).expand(-1, 3, 1)).sum(1)
    y = torch.arange(images.shape[2], device=images.device).view(1, -1, 1)
    x = torch.arange(images.shape[3], device=images.device).view(1, 1, -1)
    angle = 2 * torch.pi * (carrier[:, :1].unsqueeze(2) * y + carrier[:, 1:].unsqueeze(2) * x)
    wave = torch.exp(-1j * (angle + peak.angle().view(-1, 1, 1))).unsqueeze(1)
    distance = carrier.norm(dim=1).view(-1, 1, 1, 1)
    low = torch.exp(-0.5 * (frequency / (_BAND * distance)).pow(4))
    alternating = (carrier.abs() * 2).round() == carrier.abs() * 2  # frequencies 0 and 1/2: signs, nothing to filter
    low = torch.where(alternating.all(1).view(-1, 1, 1, 1), torch.ones_like(low), low)
    moved = torch.fft.ifft2(torch.fft.fft2(signal * wave) * low).real
    gain = torch.where(alternating.all(1), 1.0, 2.0).view(-1, 1, 1, 1)
    return to_bytes(gain * moved + 0.5)


def _frequencies(images: Bytes) -> Tensor:
    """(H, W) distance from frequency 0 in cycles per pixel."""
    rows = torch.fft.fftfreq(images.shape[2], device=images.device).unsqueeze(1)
    columns = torch.fft.fftfreq(images.shape[3], device=images.device)
    return torch.hypot(rows, columns)


def _additive(released: Bytes, truth: Tensor) -> Tensor:
    """(3, 256, 3) least squares of (n, 3, H, W) float truth on one-hot values of the three channels."""
    values = released.long().permute(1, 0, 2, 3).flatten(1)  # (3, pixels)
    places = values + _VALUES * torch.arange(3, device=values.device).unsqueeze(1)
    outcome = truth.permute(0, 2, 3, 1).flatten(0, 2)
    size = 3 * _VALUES
    gram = torch.zeros(size * size, device=values.device)
    moments = torch.zeros(size, 3, device=values.device)
    for first in range(3):
        moments.index_add_(0, places[first], outcome)
        for second in range(3):
            gram += torch.bincount(places[first] * size + places[second], minlength=size * size)
    system = gram.view(size, size).double() + _RIDGE * torch.eye(size, device=values.device, dtype=torch.float64)
    mean = outcome.mean(0)
    counts = gram.view(size, size).diagonal()
    centred = moments - counts.unsqueeze(1) * mean
    entries = torch.linalg.solve(system, centred.double()).float().view(3, _VALUES, 3)
    return torch.add(entries, mean / 3)
