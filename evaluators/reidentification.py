"""Who is it? The rank of the true original in a gallery, and the fixed eye that ranks reconstructions and releases.

References: closed-set identification and its ranks, Phillips et al. 2000 (FERET); principal components of whole
pictures, Turk and Pentland 1991 (eigenfaces); their whitened cosine, Beveridge et al. 2005 (CSU, "Mahalanobis cosine").
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from harness.errors import HarnessError, NotConverged
from harness.images import to_images
from harness.types import Array, Bytes, Scores

RANKS = (1, 5)
_CHUNK = 64


def reidentification(scores: Scores, truth: Array) -> tuple[dict[str, Array], dict[str, float]]:
    """Whether the true original is among the first of the gallery, and what a blind guess would hit.

    scores   (n, G), or (n, M, G) where there are M candidates: the best rank of them counts
    truth    (n,) column of each release's dominant original
    returns  reid_rank1 and reid_rank5, (n,) of 0 or 1; and the chance of each, min(1, rank M / G)

    Ties do not help: an original stands behind everything that scores as high, so a constant score is never a hit.
    """
    if not torch.isfinite(scores).all():
        raise NotConverged("the attack's scores over the gallery hold NaN or infinity")
    grid = scores if scores.ndim == 3 else scores.unsqueeze(1)
    candidates, size = grid.shape[1:]
    column = torch.from_numpy(truth).to(grid.device).view(-1, 1, 1).expand(-1, candidates, 1)
    best = (grid >= grid.gather(2, column)).sum(2).amin(1).cpu().numpy()
    hits = {f"reid_rank{rank}": (best <= rank).astype(np.float64) for rank in RANKS}
    return hits, {f"reid_rank{rank}": min(1.0, rank * candidates / size) for rank in RANKS}


def identity(images: Bytes, gallery: Bytes, device: str, *, grid: int, floor: float) -> Scores:
    """How much each image looks like each of the gallery: the cosine of whitened thumbnails.

    Low frequencies are what every obfuscation that a network can learn from leaves behind. Without whitening, a few
    of them (bright or dark, left or right) drown all others, and mixtures look like neither of their sources. Of what
    was compared on 400 photographs (thumbnails of 8, 16 and 32 cells, their gradients, high-passed ones, gradient
    histograms) this eye was at least as good as any other on every defense, and alone held at strong blur.

    images   (n, M, 3, H, W) uint8
    gallery  (G, 3, H, W) uint8; its mean and principal components are the eye's own
    grid     cells a side of the thumbnail, area means in colour
    floor    variance added to every component, as a share of the largest: below it is noise
    returns  (n, M, G) float32 in [-1, 1], on the device
    """
    if images.shape[2:] != gallery.shape[1:]:
        raise HarnessError(f"images of {tuple(images.shape[2:])} and a gallery of {tuple(gallery.shape[1:])} differ")
    known = _thumbnails(gallery, grid, device)
    mean = known.mean(0)
    whiten = _whitening(known - mean, floor)
    seen = functional.normalize((_thumbnails(images.flatten(0, 1), grid, device) - mean) @ whiten, dim=1)
    likeness: Scores = (seen @ functional.normalize((known - mean) @ whiten, dim=1).T).float()
    return likeness.view(*images.shape[:2], len(gallery))


def _whitening(centred: torch.Tensor, floor: float) -> torch.Tensor:
    """(F, F) float64 that brings every principal component to unit variance, but for the floor."""
    variances, components = torch.linalg.eigh(centred.T @ centred / len(centred))
    scale = variances.clamp(min=0) + max(floor * float(variances[-1]), torch.finfo(torch.float32).tiny)
    whitening: torch.Tensor = components / scale.sqrt()
    return whitening


def _thumbnails(images: Bytes, grid: int, device: str) -> torch.Tensor:
    """(n, 3 grid^2) float64: area means in colour."""
    parts = [
        functional.adaptive_avg_pool2d(to_images(part.to(device)), grid).flatten(1) for part in images.split(_CHUNK)
    ]
    return torch.cat(parts).double()
