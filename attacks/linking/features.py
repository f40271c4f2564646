"""Features of releases that survive a defense, in which two releases that share an original are alike.

Means of small cells, less the mean image, on the principal components of the releases themselves. Along each component
the weight is sqrt(s) / c, where c is the variance of the releases and s = c - n the part of it that comes from their
originals: the first-order optimum for deciding whether two Gaussian vectors share a source, and a whitening whose floor
is the defense's own noise n. The noise is estimated from rehearsals: the variance of releases beyond the covariance of
two releases that one original dominates. N originals span at most N - 1 components; the others hold rounding alone and
get weight zero, since their variance is below what rehearsals can distinguish from noise.
References: Carlini et al. 2021, "Is private learning possible with instance encoding?"; Fisher 1936 (the weighting).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import Inapplicable
from harness.images import to_images
from harness.observation import LabelledImages, Observation
from harness.randomness import derive
from harness.train import seeded
from harness.types import Bytes, Release

COMPONENTS = 400
_FINEST = 32  # cells a side
_SAMPLE = 6000  # releases that the components are computed from
_PAIRS = 4000  # rehearsed pairs that the weights are computed from, at least
_CHUNK = 256
_UNCERTAIN = 0.02  # of a component's variance: the error of an estimate from some thousand rehearsals
_FLAT = 1e-7  # of the largest variance: less is rounding
_TINY = 1e-12


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
    """The features for this defense, from the releases and from rehearsals; Inapplicable with too few public images."""
    releases, device = observation.releases, torch.device(observation.device)
    cell = _cell_side(observation)
    sample = torch.cat(list(_cells(_sample(releases), cell, device)))
    mean = sample.mean(0)
    components = min(COMPONENTS, *sample.shape)
    with seeded(derive(key, "components"), observation.device):  # svd_lowrank draws from torch's own generator
        _, values, basis = torch.svd_lowrank(sample - mean, q=components, niter=3)
    variance = values.square() / len(sample)
    shared = (variance - _noise(observation, cell, basis)).clamp(min=0)
    weight = shared.sqrt() / variance.clamp(min=_FLAT * float(variance.max()) + _TINY)
    return Features(cell, mean, basis * weight / weight.max().clamp(min=_TINY))


def _noise(observation: Observation, cell: int, basis: Tensor) -> Tensor:
    """(q,) variance along each component that does not come from the originals, from rehearsals.

    Two releases that one original dominates share lambda_1^2 of an original's variance; each has the sum of lambda^2.
    """
    public = sample_public(observation, len(observation.public))
    rounds = max(2, -(-_PAIRS // len(public)))
    shared, whole, pairs, ratio = torch.zeros_like(basis[0]), torch.zeros_like(basis[0]), 0, 0.0
    before: Tensor | None = None
    for epoch in range(rounds):
        release, secret = observation.rehearse(public.images, public.labels, epoch)
        cells = torch.cat(list(_cells(release.images, cell, basis.device)))
        features = (cells - cells.mean(0)) @ basis
        whole += features.square().mean(0) / rounds
        ratio += float(((secret.shares**2).sum(1) / secret.shares.max(1) ** 2).mean()) / rounds
        by_original = torch.full((len(public), basis.shape[1]), float("nan"), device=basis.device)
        by_original[torch.from_numpy(secret.dominant_rows).to(basis.device)] = features
        if before is not None:
            both = ~(by_original.isnan() | before.isnan()).any(1)
            shared += (by_original[both] * before[both]).sum(0)
            pairs += int(both.sum())
        before = by_original
    return torch.maximum(whole - ratio * shared / max(pairs, 1), _UNCERTAIN * whole)


def _cell_side(observation: Observation) -> int:
    """Side of the cells in pixels: that of a block where pixels are permuted inside blocks, else 2 or more."""
    side = min(observation.images.shape[2:])
    block = block_of(observation)
    return block * max(1, side // (2 * _FINEST * block)) if block else max(2, side // _FINEST)


def block_of(observation: Observation) -> int | None:
    """Side of the blocks inside which pixels are permuted, in pixels; None where they are not, or it is not declared.

    None as well where it does not divide the images: then the position of the blocks is not known.
    """
    known = observation.defense
    block = known.params.get("block") if "permutes_in_blocks" in known.traits else None
    if not isinstance(block, int) or block < 1 or any(side % block for side in observation.images.shape[2:]):
        return None
    return block


def sample_public(observation: Observation, count: int) -> LabelledImages:
    """About `count` of the adversary's images of all classes, without classes too small to be mixed within.

    Inapplicable where fewer than the sources of a mixture remain.
    """
    public, k = observation.public, observation.sources
    rows = np.unique(np.linspace(0, len(public) - 1, min(count, len(public))).astype(np.int64))
    if observation.defense.mixing["intra_class"]:
        labels = public.labels[rows]
        rows = rows[np.bincount(labels)[labels] >= k]
    if len(rows) < k:
        raise Inapplicable(f"{len(public)} public images are too few to rehearse mixtures of {k}")
    return LabelledImages(public.images[torch.from_numpy(rows)], public.labels[rows])


def _sample(releases: Sequence[Release]) -> Bytes:
    """The first releases of every epoch, at most _SAMPLE in all."""
    each = max(1, _SAMPLE // len(releases))
    return torch.cat([release.images[:each] for release in releases])


def _cells(images: Bytes, cell: int, device: torch.device) -> Iterator[Tensor]:
    """(n, 3 h w) means of the cells, a chunk of images at a time, in [0, 1]."""
    for start in range(0, len(images), _CHUNK):
        chunk = to_images(images[start : start + _CHUNK].to(device))
        yield functional.avg_pool2d(chunk, cell, ceil_mode=True, count_include_pad=False).flatten(1)


def unit(vectors: Tensor) -> Tensor:
    """The rows, scaled to length 1."""
    return functional.normalize(vectors, dim=1)
