"""A fixed embedding of images: whitened thumbnails, whose cosine says how alike two images are.

Low frequencies survive every obfuscation that a network can still learn from. Without whitening, a few of them (bright
or dark, left or right) dominate all others, and mixtures are like neither of their sources.
References: principal components of whole images, Turk and Pentland 1991 (eigenfaces); their whitened cosine,
Beveridge et al. 2005 (CSU, "Mahalanobis cosine").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from harness.images.ops import to_images
from harness.types import Bytes

_CHUNK = 64


@dataclass(frozen=True)
class ThumbnailEmbedding:
    """Thumbnails less a mean, on principal components scaled to variance 1; both fitted to a set of images.

    grid    cells a side of a thumbnail
    mean    (3 grid^2,) float64
    whiten  (3 grid^2, 3 grid^2) float64
    """

    grid: int
    device: str
    mean: torch.Tensor
    whiten: torch.Tensor

    @classmethod
    def fit(cls, images: Bytes, grid: int, floor: float, device: str) -> ThumbnailEmbedding:
        """Fit mean and components to (N, 3, H, W) uint8 images.

        grid   cells a side of the thumbnails, area means in colour
        floor  variance added to every principal component, as a share of the largest: components below it are noise
        """
        cells = thumbnails(images, grid, device)
        return cls(grid, device, *whitening(cells, floor))

    def transform(self, images: Bytes) -> torch.Tensor:
        """(N, 3, H, W) uint8 -> (N, 3 grid^2) float64 of length 1, so that inner products are cosines."""
        return functional.normalize((thumbnails(images, self.grid, self.device) - self.mean) @ self.whiten, dim=1)


def whitening(features: torch.Tensor, floor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (F,) of (N, F) float64 features, and the matrix (F, F) that scales their components to variance 1.

    floor  variance added to every principal component, as a share of the largest
    """
    mean = features.mean(0)
    variances, components = torch.linalg.eigh((features - mean).T @ (features - mean) / len(features))
    scale = variances.clamp(min=0) + max(floor * float(variances[-1]), torch.finfo(torch.float32).tiny)
    return mean, components / scale.sqrt()


def thumbnails(images: Bytes, grid: int, device: str) -> torch.Tensor:
    """(N, 3, H, W) uint8 -> (N, 3 grid^2) float64, area means channel by channel, in [0, 1]."""
    parts = []
    for start in range(0, len(images), _CHUNK):
        chunk = to_images(images[start : start + _CHUNK].to(device))
        parts.append(functional.adaptive_avg_pool2d(chunk, grid).flatten(1))
    return torch.cat(parts).double()
