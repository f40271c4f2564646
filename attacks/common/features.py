"""Features of images for linear classifiers: colour thumbnails and HOG, and responses of filters found by k-means.

References:
    Dalal, Triggs 2005, Histograms of oriented gradients for human detection (scikit-image's)
    Coates, Lee, Ng 2011, An analysis of single-layer networks in unsupervised feature learning

Differences to the originals: HOG has four by four cells whatever the image's size; k-means is the spherical one of
Coates and Ng 2012, on images reduced to 32 pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from skimage.feature import hog
from torch import Tensor
from torch.nn import functional

from harness.images import to_images
from harness.types import Array, Bytes

_CELLS = 4  # of HOG a side
_SMALL = 8  # pixels a side below which an image has no HOG
_SIDE = 32  # pixels a side that patches are taken at; larger images are reduced by area means
_PATCH, _FILTERS, _GRID = 6, 200, 2  # pixels a side of a patch; filters; cells a side that responses are pooled to
_SEEN, _ROUNDS = 20_000, 10  # patches that filters are found on, and rounds of k-means
_CONTRAST = 10 / 255**2  # added to a patch's variance
_FLOOR = 0.1  # added to the variances that patches are whitened by
_THRESHOLD = 0.5  # of a response
_CHUNK = 32


def thumbnails_and_hog(images: Bytes, *, grid: int = 8, orientations: int = 9) -> Array:
    """(n, 3 grid^2 + 36 orientations) float32: area means in [0, 1], then HOG (blocks of 2x2 of 4x4 cells, L2-Hys).

    images  (n, 3, H, W) uint8; below 8 pixels a side they have thumbnails only
    """
    small = torch.cat([functional.adaptive_avg_pool2d(to_images(part), grid).flatten(1) for part in images.split(256)])
    thumbnails: Array = small.cpu().numpy()
    height, width = images.shape[2:]
    if min(height, width) < _SMALL:
        return thumbnails
    cell = height // _CELLS, width // _CELLS
    shape = slice(cell[0] * _CELLS), slice(cell[1] * _CELLS)
    gradients = [
        hog(image[shape], orientations, pixels_per_cell=cell, cells_per_block=(2, 2), channel_axis=-1)
        for image in images.permute(0, 2, 3, 1).cpu().numpy()
    ]
    return np.concatenate([thumbnails, np.stack(gradients).astype(np.float32)], 1)


class PatchFilters:
    """A convolutional layer of 200 filters, found without labels by k-means on whitened patches of images.

    images  (n, 3, H, W) uint8 to find them on
    rng     draws the patches and the first filters
    """

    def __init__(self, images: Bytes, rng: np.random.Generator):
        self.side = min(_PATCH, *images.shape[2:])
        chosen = images[torch.from_numpy(np.sort(rng.permutation(len(images))[:1000])).to(images.device)]
        each = -(-_SEEN // len(chosen))
        parts = []
        for part in chosen.split(_CHUNK):
            patches, _ = self._patches(part)
            rows = rng.integers(0, patches.shape[1], (len(patches), each))
            parts.append(patches[torch.arange(len(patches))[:, None], torch.from_numpy(rows)].flatten(0, 1))
        seen = torch.cat(parts)
        self.mean = seen.mean(0)
        variances, axes = torch.linalg.eigh((seen - self.mean).T @ (seen - self.mean) / len(seen))
        whiten = axes * (variances + _FLOOR).rsqrt() @ axes.T
        self.matrix = whiten @ _spherical_k_means((seen - self.mean) @ whiten, rng).T

    def __call__(self, images: Bytes) -> Array:
        """(n, 2 * 200 * 4) float32: responses above a threshold and below its negative, pooled to 2x2 cells."""
        parts = []
        for part in images.split(_CHUNK):
            patches, shape = self._patches(part)
            responses = ((patches - self.mean) @ self.matrix).transpose(1, 2).unflatten(2, shape)
            both = torch.cat([functional.relu(responses - _THRESHOLD), functional.relu(-responses - _THRESHOLD)], 1)
            parts.append(functional.adaptive_avg_pool2d(both, _GRID).flatten(1).cpu())
        features: Array = torch.cat(parts).numpy()
        return features

    def _patches(self, images: Bytes) -> tuple[Tensor, tuple[int, int]]:
        """(n, places, 3 side^2) patches of mean 0 and variance 1, and how many places there are down and across."""
        floats = to_images(images)
        if max(images.shape[2:]) > _SIDE:
            floats = functional.adaptive_avg_pool2d(floats, _SIDE)
        height, width = floats.shape[2:]
        patches = functional.unfold(floats, self.side).transpose(1, 2)
        centred = patches - patches.mean(2, keepdim=True)
        scaled: Tensor = centred * (centred.var(2, keepdim=True) + _CONTRAST).rsqrt()
        return scaled, (height - self.side + 1, width - self.side + 1)


def _spherical_k_means(points: Tensor, rng: np.random.Generator) -> Tensor:
    """(filters, d) unit vectors: each the direction of the points that are nearest to it, by their projections."""
    centres = functional.normalize(points[torch.from_numpy(rng.permutation(len(points))[:_FILTERS])], dim=1)
    for _ in range(_ROUNDS):
        products = points @ centres.T
        best = products.max(1)
        share = functional.one_hot(best.indices, len(centres)).to(points.dtype) * best.values[:, None]
        moved = share.T @ points  # a matrix product: repeatable on every device
        centres = torch.where(moved.norm(dim=1, keepdim=True) > 0, functional.normalize(moved, dim=1), centres)
    return centres
