"""Features of releases that survive a defense, in which two releases that share an original stand out.

Means of small cells, less the mean image, on the principal components of the releases themselves. Along each component
the weight is sqrt(s) / c, where c is the variance of the releases and s what two rehearsed releases of one original
have in common: the first-order optimum for deciding whether two Gaussian vectors share a source (a whitening whose
floor is the defense's own noise). So the similarity is learned from the adversary's own rehearsals.
References: Carlini et al. 2021, "Is private learning possible with instance encoding?"; Fisher 1936 (the weighting).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from harness.images import to_images
from harness.observation import Observation
from harness.randomness import derive
from harness.train import dice
from harness.types import Bytes, Release

COMPONENTS = 400
_FINEST = 32  # cells a side
_SAMPLE = 6000  # releases that the components are found on
_PAIRS = 4000  # rehearsed pairs that weigh them, at least
_CHUNK = 256


@dataclass(frozen=True)
class Features:
    """A linear map from releases to features; linear, so a mixture's features are the mixture of its sources'.

    cell      side of the cells whose means are taken, in pixels
    mean      (d,) cell means of the mean release
    basis     (d, q) components times their weights
    """

    cell: int
    mean: Tensor
    basis: Tensor

    def of(self, images: Bytes) -> Tensor:
        """(N, 3, H, W) uint8 -> (N, q) float32, a chunk at a time."""
        parts = [(cells - self.mean) @ self.basis for cells in _cells(images, self.cell, self.mean.device)]
        return torch.cat(parts)


def learn_features(observation: Observation, key: bytes) -> Features:
    """The features for this defense, from the releases and from rehearsals on the adversary's own images."""
    releases, device = observation.releases, torch.device(observation.device)
    cell = _cell_side(observation)
    sample = torch.cat(list(_cells(_spread(releases), cell, device)))
    mean = sample.mean(0)
    components = min(COMPONENTS, *sample.shape)
    with dice(derive(key, "components"), observation.device):  # it draws from torch's own generator
        _, values, basis = torch.svd_lowrank(sample - mean, q=components, niter=3)
    variance = values.square() / len(sample)
    shared = _shared_variance(observation, cell, basis).clamp(min=0)
    # A release varies at least as much as its original: along components beyond the number of originals the releases
    # hold rounding alone, which must not be taken for precision.
    weight = shared.sqrt() / torch.maximum(variance, shared).clamp(min=1e-12)
    return Features(cell, mean, basis * weight / weight.max().clamp(min=1e-12))


def _shared_variance(observation: Observation, cell: int, basis: Tensor) -> Tensor:
    """(q,) covariance along each component of two rehearsed releases that the same original dominates."""
    public = observation.public
    rounds = max(2, -(-_PAIRS // len(public)))
    sums, count = torch.zeros_like(basis[0]), 0
    before: Tensor | None = None
    for epoch in range(rounds):
        release, secret = observation.rehearse(public.images, public.labels, epoch)
        cells = torch.cat(list(_cells(release.images, cell, basis.device)))
        features = torch.full((len(public), basis.shape[1]), float("nan"), device=basis.device)
        features[torch.from_numpy(secret.dominant_rows).to(basis.device)] = (cells - cells.mean(0)) @ basis
        if before is not None:
            both = ~(features.isnan() | before.isnan()).any(1)
            sums += (features[both] * before[both]).sum(0)
            count += int(both.sum())
        before = features
    return sums / max(count, 1)


def _cell_side(observation: Observation) -> int:
    """Cells as fine as the defense leaves them: a block where pixels are permuted inside blocks, else 2 px."""
    side = min(observation.images.shape[2:])
    if "permutes_in_blocks" in observation.defense.traits:
        return int(observation.defense.params.get("block", 2))
    return max(2, side // _FINEST)


def _spread(releases: Sequence[Release]) -> Bytes:
    """Some releases of every epoch: at most _SAMPLE in all."""
    each = max(1, _SAMPLE // len(releases))
    return torch.cat([release.images[:each] for release in releases])


def _cells(images: Bytes, cell: int, device: torch.device) -> Iterator[Tensor]:
    """(n, 3 h w) means of the cells, a chunk of images at a time, in [0, 1]."""
    for start in range(0, len(images), _CHUNK):
        chunk = to_images(images[start : start + _CHUNK].to(device))
        yield functional.avg_pool2d(chunk, cell, ceil_mode=True, count_include_pad=False).flatten(1)


def unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors, dim=1)
