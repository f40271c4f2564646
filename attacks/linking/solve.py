"""The originals' pixels from the releases of all epochs and their pairing, true or guessed.

Linear defenses: ridge regression over all releases, a block of pixels at a time, so that neither the originals nor the
releases are held as floats as a whole. Grafting keeps pixels of the dominant source: there the most frequent value over
the epochs is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.images import to_bytes, to_images
from harness.observation import Observation, Pairing
from harness.plugins.attacks.linking.features import block_of, sample_public
from harness.plugins.attacks.linking.link import dominated
from harness.plugins.attacks.linking.ridge import Mixing
from harness.randomness import derive, torch_generator
from harness.release import empty
from harness.types import Array, Bytes, Images, Release

_COLUMNS = 2**24  # floats per block of pixels
_TRACKS = 64  # originals at a time
_STRETCH = 4  # factor of deviations, to use the range of a byte
_PROBED = 256  # images that the noise is measured on
_ROUNDING = 12**-0.5 / 255  # standard deviation of what rounding to bytes adds
_MISSING = -1000  # where an original dominates no release of an epoch
_NEAR = 3  # grey levels: within rounding of the value that most epochs agree on


@dataclass(frozen=True)
class Solution:
    """Estimates of the originals, unrounded: bytes would add more noise than is left of some regressions.

    planes  (K, 3 or 6, H, W) float16, the input of a restoring network; in scratch space where they are many
    """

    planes: Tensor

    @property
    def images(self) -> Tensor:
        """(K, 3, H, W) float16, 0 to 1 but for noise, not clipped."""
        return self.planes[:, :3]

    @property
    def spread(self) -> Tensor | None:
        """(K, 3, H, W) float16: how much a pixel, or a block whose pixels a defense permutes, varies over the epochs.

        Four times the standard deviation; None where that says nothing.
        """
        return self.planes[:, 3:] if self.planes.shape[1] > 3 else None

    def bytes(self) -> Bytes:
        """(K, 3, H, W) uint8, a few dozen at a time."""
        rounded = empty(tuple(self.images.shape), "cpu")
        for start in range(0, len(rounded), _TRACKS):
            rounded[start : start + _TRACKS] = to_bytes(self.images[start : start + _TRACKS].float())
        return rounded


def solve(
    observation: Observation, releases: Sequence[Release], pairings: Sequence[Pairing], originals: int
) -> Solution:
    """Estimates of the originals, by the method that suits the defense's traits.

    releases, pairings  one per epoch
    originals           K, how many there are
    """
    known = observation.defense
    if "linear" not in known.traits:
        return pool(observation, releases, pairings, originals)
    block = None if "keeps_pixels" in known.traits else block_of(observation)
    solution = _unfilled(releases, originals, 3 if block is None else 6)
    if "keeps_pixels" in known.traits:
        whole = known.params.get("per") == "pixel"
        _most_frequent(releases, pairings, solution.images, whole, observation.device)
    else:
        _ridge(observation, releases, pairings, solution.images, block or 1)
    if solution.spread is not None and block is not None:
        _spread(releases, pairings, solution.spread, block, observation.device)
    return solution


def _unfilled(releases: Sequence[Release], originals: int, planes: int) -> Solution:
    return Solution(empty((originals, planes, *releases[0].images.shape[2:]), "cpu", torch.float16))


def pool(
    observation: Observation, releases: Sequence[Release], pairings: Sequence[Pairing], originals: int
) -> Solution:
    """Mean and deviation of every pixel over the releases that an original dominates; for any defense."""
    rows = dominated(pairings, originals)
    solution = _unfilled(releases, originals, 6)
    for start in range(0, originals, _TRACKS):
        some = slice(start, start + _TRACKS)
        total = squares = torch.zeros(())
        for layer in _layers(releases, rows[some], observation.device):
            total, squares = total + layer.nan_to_num(), squares + layer.nan_to_num().square()
        count = torch.from_numpy((rows[some] >= 0).sum(1)).clamp(min=1).view(-1, 1, 1, 1).to(total.device)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
        solution.planes[some] = torch.cat([mean, _STRETCH * deviation], 1).to("cpu", torch.float16)
    return solution


def _layers(releases: Sequence[Release], rows: Array, device: str) -> Iterator[Images]:
    """(n, 3, H, W) of every epoch, the release of each row; NaN where it is -1."""
    for epoch, release in enumerate(releases):
        layer = _floats(release.images[torch.from_numpy(np.maximum(rows[:, epoch], 0))], device)
        layer[torch.from_numpy(rows[:, epoch] < 0).to(device)] = float("nan")
        yield layer


def _ridge(
    observation: Observation, releases: Sequence[Release], pairings: Sequence[Pairing], estimates: Tensor, block: int
) -> None:
    """Ridge regression for the means of blocks (block 1: single pixels), some rows of the images at a time.

    estimates  (K, 3, H, W) are filled
    """
    device, originals, width = observation.device, len(estimates), estimates.shape[-1]
    mixing = Mixing(pairings, originals, device)
    ridge = noise_to_signal(observation, block)
    stacks = [release.images.flatten(1) for release in releases]
    pixels, strip = int(np.prod(estimates.shape[1:])), block * width if block > 1 else 1
    step = max(1, _COLUMNS // (strip * max(originals, max(map(len, stacks))))) * strip

    def means(stack: Bytes) -> Tensor:
        values = _floats(stack, device)
        return values if block == 1 else values.view(len(values), -1, block, width // block, block).mean((2, 4))

    for start in range(0, pixels, step):
        columns = slice(start, min(start + step, pixels))
        level = torch.stack([means(stack[:512, columns]).mean(0) for stack in stacks]).mean(0)
        right = torch.zeros(originals, level.numel(), device=device)
        for epoch, stack in enumerate(stacks):
            right += mixing.gather(epoch, (means(stack[:, columns]) - level).flatten(1))
        solved = (mixing.solve(right, ridge).view(originals, *level.shape) + level).to("cpu", estimates.dtype)
        if block > 1:
            solved = solved.repeat_interleave(block, -1).repeat_interleave(block, -2)
        estimates.flatten(1)[:, columns] = solved.flatten(1)


def noise_to_signal(observation: Observation, block: int = 1) -> float:
    """Variance of a release that comes from the defense's random draws and from rounding, over that of the images.

    Of the means of blocks. What a defense removes from every image alike (blur) is no noise; it is restored later.
    """
    public = sample_public(observation, _PROBED)
    secret = observation.rehearse(public.images, public.labels, -3)[1]
    sources = to_images(public.images[torch.from_numpy(secret.sources)].to(observation.device))
    shares = torch.from_numpy(secret.shares).to(observation.device)
    rng = torch_generator(derive(b"", "noise to signal"), observation.device)
    one, other = (functional.avg_pool2d(observation.apply(sources, shares, rng), block) for _ in range(2))
    images = functional.avg_pool2d(to_images(public.images), block)
    signal = float((images - images.mean(0)).square().mean())
    noise = float((one - other).square().mean()) / 2 + (_ROUNDING / block) ** 2
    return noise / max(signal, _ROUNDING**2)


def _block_means(images: Images, block: int) -> Images:
    means = functional.avg_pool2d(images, block)
    return means.repeat_interleave(block, -1).repeat_interleave(block, -2)


def _spread(releases: Sequence[Release], pairings: Sequence[Pairing], spread: Tensor, block: int, device: str) -> None:
    """Fill (K, 3, H, W) with the deviation inside every block, over the releases that an original dominates."""
    rows = dominated(pairings, len(spread))
    for start in range(0, len(spread), _TRACKS):
        some = slice(start, start + _TRACKS)
        variance, count = torch.zeros((), device=device), torch.zeros((), device=device)
        for layer in _layers(releases, rows[some], device):
            there = ~layer[:, :1, :1, :1].isnan()
            inside = _block_means((layer - _block_means(layer, block)).square(), block)
            variance, count = variance + inside.nan_to_num(), count + there
        spread[some] = (_STRETCH * (variance / count.clamp(min=1)).sqrt()).to("cpu", spread.dtype)


def _most_frequent(
    releases: Sequence[Release], pairings: Sequence[Pairing], estimates: Tensor, whole: bool, device: str
) -> None:
    """The most frequent value over the releases that an original dominates; where no two agree, their mean.

    estimates  (K, 3, H, W) are filled
    whole      whether a pixel's three channels are kept together: then they are compared together
    """
    rows = dominated(pairings, len(estimates))
    some = max(1, _COLUMNS // (len(releases) * int(np.prod(estimates.shape[1:]))))
    for start in range(0, len(estimates), some):
        layers = []
        for release, own in zip(releases, rows[start : start + some].T, strict=True):
            layer = release.images[torch.from_numpy(np.maximum(own, 0))].to(device, torch.int16)
            layer[torch.from_numpy(own < 0).to(device)] = _MISSING
            layers.append(layer)
        estimates[start : start + some] = (_mode(torch.stack(layers), whole) / 255).to("cpu", estimates.dtype)


def _mode(stack: Tensor, whole: bool) -> Tensor:
    """(T, n, 3, H, W) int16 grey levels, or _MISSING -> (n, 3, H, W) float grey levels."""
    most, winner = torch.ones_like(stack[0], dtype=torch.int16), torch.full_like(stack[0], _MISSING)
    for layer in stack:
        votes = _near(stack, layer, whole).sum(0, dtype=torch.int16).expand_as(layer)
        better = (votes > most) & (layer != _MISSING)
        most, winner = torch.where(better, votes, most), torch.where(better, layer, winner)
    there = stack != _MISSING
    counted = there & (_near(stack, winner, whole) | (winner == _MISSING))  # where no two agree all count
    count = counted.sum(0)
    total = torch.where(counted, stack, 0).sum(0)
    return torch.where(count > 0, total / count.clamp(min=1), 127.5)


def _near(stack: Tensor, layer: Tensor, whole: bool) -> Tensor:
    far = (stack - layer).abs_()
    return (far.amax(2, keepdim=True) if whole else far) <= _NEAR


def _floats(stored: Bytes, device: str) -> Tensor:
    return stored.to(device).float().div_(255)
