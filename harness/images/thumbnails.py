"""How much two pictures look alike to a fixed eye: the cosine of whitened thumbnails.

Low frequencies are what every obfuscation that a network can learn from leaves behind. Without whitening, a few of
them (bright or dark, left or right) drown all others, and mixtures look like neither of their sources.
References: principal components of whole pictures, Turk and Pentland 1991 (eigenfaces); their whitened cosine,
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
    """An eye that is used to certain pictures: it subtracts their mean and weighs all their variations alike."""

    grid: int
    device: str
    mean: torch.Tensor
    whiten: torch.Tensor

    @classmethod
    def fit(cls, images: Bytes, grid: int, floor: float, device: str) -> ThumbnailEmbedding:
        """Made from (N, 3, H, W) uint8 pictures.

        grid   cells a side of the thumbnails, area means in colour
        floor  variance added to every principal component, as a share of the largest: below it is noise
        """
        cells = _thumbnails(images, grid, device)
        mean = cells.mean(0)
        variances, components = torch.linalg.eigh((cells - mean).T @ (cells - mean) / len(cells))
        scale = variances.clamp(min=0) + max(floor * float(variances[-1]), torch.finfo(torch.float32).tiny)
        return cls(grid, device, mean, components / scale.sqrt())

    def transform(self, images: Bytes) -> torch.Tensor:
        """(N, 3, H, W) uint8 -> (N, 3 grid^2) float64 of length 1: their products are cosines."""
        return functional.normalize((_thumbnails(images, self.grid, self.device) - self.mean) @ self.whiten, dim=1)


def _thumbnails(images: Bytes, grid: int, device: str) -> torch.Tensor:
    """(N, 3 grid^2) float64."""
    parts = []
    for start in range(0, len(images), _CHUNK):
        shown = to_images(images[start : start + _CHUNK].to(device))
        parts.append(functional.adaptive_avg_pool2d(shown, grid).flatten(1))
    return torch.cat(parts).double()
