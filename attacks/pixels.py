"""The originals' pixels, once it is known (or guessed) who was mixed with whom.

Linear defenses: ridge regression over all releases, a block of pixels at a time, so that neither the originals nor the
releases are ever held as floats. Grafting keeps whole pixels of the dominant source: there the most frequent value over
the epochs is the pixel itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from attacks.linking import dominated
from attacks.regression import Mixing
from harness.images import to_bytes, to_images
from harness.observation import Observation, Pairing
from harness.release import empty
from harness.types import Array, Bytes, Images, Release

_COLUMNS = 2**24  # floats per block of pixels
_TRACKS = 64
_STRETCH = 4
_NEAR = 3  # grey levels: within rounding of the value that most epochs agree on


@dataclass(frozen=True)
class Solution:
    """The originals as far as regression finds them.

    images  (K, 3, H, W) uint8, in scratch space where they are many
    spread  (K, 3, H, W) uint8: how much a pixel, or a block whose pixels a defense permutes, varies over the epochs
            (four times the standard deviation in grey levels, to use the range); None where that says nothing
    """

    images: Bytes
    spread: Bytes | None = None

    def planes(self) -> Bytes:
        """(K, 3 or 6, H, W): what a restoring network looks at."""
        return self.images if self.spread is None else torch.cat([self.images, self.spread], 1)


def solve(
    observation: Observation, releases: Sequence[Release], pairings: Sequence[Pairing], originals: int
) -> Solution:
    """Estimates of `originals` originals from releases of the observed defense and their pairing, true or guessed."""
    known = observation.defense
    found = empty((originals, *releases[0].images.shape[1:]), "cpu")
    if "linear" not in known.traits:
        return pool(observation, releases, pairings, originals)
    if "keeps_pixels" in known.traits:
        return Solution(_most_frequent(releases, pairings, found, observation.device))
    found = _ridge(observation, releases, pairings, found)
    if "permutes_in_blocks" not in known.traits:
        return Solution(found)
    block = int(known.params.get("block", 2))
    means = _flattened(found, block)
    return Solution(means, _spread(releases, pairings, found, block, observation.device))


def pool(
    observation: Observation, releases: Sequence[Release], pairings: Sequence[Pairing], originals: int
) -> Solution:
    """Mean and deviation of every pixel over the releases that an original dominates: for any defense at all."""
    rows = dominated(pairings, originals)
    means, spread = (empty((originals, *releases[0].images.shape[1:]), "cpu") for _ in range(2))
    for start in range(0, originals, _TRACKS):
        some = slice(start, start + _TRACKS)
        total = squares = torch.zeros(())
        for layer in _layers(releases, rows[some], observation.device):
            total, squares = total + layer.nan_to_num(), squares + layer.nan_to_num().square()
        count = torch.from_numpy((rows[some] >= 0).sum(1)).clamp(min=1).view(-1, 1, 1, 1).to(total.device)
        mean = total / count
        means[some] = to_bytes(mean).cpu()
        spread[some] = to_bytes(_STRETCH * (squares / count - mean.square()).clamp(min=0).sqrt()).cpu()
    return Solution(means, spread)


def _layers(releases: Sequence[Release], rows: Array, device: str) -> Iterator[Images]:
    """(n, 3, H, W) of every epoch, the release of each row; NaN where it is -1."""
    for epoch, release in enumerate(releases):
        layer = _floats(release.images[torch.from_numpy(np.maximum(rows[:, epoch], 0))], device)
        layer[torch.from_numpy(rows[:, epoch] < 0).to(device)] = float("nan")
        yield layer


def _ridge(observation: Observation, releases: Sequence[Release], pairings: Sequence[Pairing], found: Bytes) -> Bytes:
    device, originals = observation.device, len(found)
    mixing = Mixing(pairings, originals, device)
    ridge = noise_to_signal(observation)
    stacks = [release.images.flatten(1) for release in releases]
    pixels = int(np.prod(found.shape[1:]))
    step = max(1, _COLUMNS // max(originals, max(map(len, stacks))))
    for start in range(0, pixels, step):
        columns = slice(start, min(start + step, pixels))
        level = torch.stack([_floats(stack[:512, columns], device).mean(0) for stack in stacks]).mean(0)
        right = torch.zeros(originals, len(level), device=device)
        for epoch, stack in enumerate(stacks):
            right += mixing.gather(epoch, _floats(stack[:, columns], device) - level)
        found.flatten(1)[:, columns] = to_bytes(mixing.solve(right, ridge) + level).cpu()
    return found


def noise_to_signal(observation: Observation) -> float:
    """Variance of what a rehearsed release holds beyond its sources, in units of the images' own variance."""
    public = observation.public
    images = public.images[:256]
    release, secret = observation.rehearse(images, public.labels[:256], -3)
    stack = images[torch.from_numpy(secret.sources)].float()
    shares = torch.from_numpy(secret.shares)
    blank = release.images.cpu().float() - torch.einsum("nk,nkchw->nchw", shares, stack)
    signal = (images.float() - images.float().mean(0)).square().mean()
    return float(blank.square().mean() / signal.clamp(min=1e-6)) + 1e-5


def _flattened(images: Bytes, block: int) -> Bytes:
    """Every block at its mean: the order inside it says nothing."""
    means = empty(tuple(images.shape), "cpu")
    for start in range(0, len(images), _TRACKS):
        means[start : start + _TRACKS] = to_bytes(_block_means(to_images(images[start : start + _TRACKS]), block))
    return means


def _block_means(images: Images, block: int) -> Images:
    means = functional.avg_pool2d(images, block)
    return means.repeat_interleave(block, -1).repeat_interleave(block, -2)


def _spread(releases: Sequence[Release], pairings: Sequence[Pairing], found: Bytes, block: int, device: str) -> Bytes:
    """The deviation inside every block, over the releases that an original dominates."""
    rows, spread = dominated(pairings, len(found)), empty(tuple(found.shape), "cpu")
    for start in range(0, len(found), _TRACKS):
        some = slice(start, start + _TRACKS)
        variance, count = torch.zeros((), device=device), torch.zeros((), device=device)
        for layer in _layers(releases, rows[some], device):
            there = ~layer[:, :1, :1, :1].isnan()
            inside = _block_means((layer - _block_means(layer, block)).square(), block)
            variance, count = variance + inside.nan_to_num(), count + there
        spread[some] = to_bytes(_STRETCH * (variance / count.clamp(min=1)).sqrt()).cpu()
    return spread


def _most_frequent(releases: Sequence[Release], pairings: Sequence[Pairing], found: Bytes, device: str) -> Bytes:
    """The mean of the values near the median over the releases that an original dominates."""
    rows = dominated(pairings, len(found))
    for start in range(0, len(found), _TRACKS):
        stack = torch.stack(list(_layers(releases, rows[start : start + _TRACKS], device)))
        middle = stack.nanmedian(0).values
        near = (stack - middle).abs() <= _NEAR / 255
        value = torch.where(near, stack, 0.0).sum(0) / near.sum(0).clamp(min=1)
        value = torch.where(near.any(0), value, 0.5)  # an original that no release is dominated by
        found[start : start + _TRACKS] = to_bytes(value).cpu()
    return found


def _floats(stored: Bytes, device: str) -> Tensor:
    return stored.to(device).float().div_(255)
