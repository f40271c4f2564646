"""Re-identification: the rank of the true original in a gallery, and the embedding that ranks images.

Reference: closed-set identification and its ranks, Phillips et al. 2000 (FERET). The embedding:
harness.images.thumbnails.
"""

from __future__ import annotations

import numpy as np
import torch

from harness.errors import HarnessError, NotConverged
from harness.images.thumbnails import ThumbnailEmbedding
from harness.types import Array, Bytes, Scores

RANKS = (1, 5)


def reidentification(
    scores: Scores, truth: Array, groups: Array | None = None
) -> tuple[dict[str, Array], dict[str, float]]:
    """Whether the true original ranks first or among the first five of the gallery, and the chance of a random guess.

    One ranking per group, whatever the number of its rows and candidates: see `pooled`.

    scores   (n, G), or (n, M, G) where there are M candidates
    truth    (n,) column of the original that each row is an image of; one and the same within a group
    groups   (n,) which rows show the same original, any integers; None: every row is a group
    returns  reid_rank1 and reid_rank5, (m,) of 0 or 1, in the order of `numpy.unique(groups)` (of the rows without
             groups); and the chance of each, min(1, rank / G)

    Ties count against the attack: an original ranks behind all that score as high, so a constant score is never a hit.
    NotConverged where scores are not finite.
    """
    if not torch.isfinite(scores).all():
        raise NotConverged("the attack's scores over the gallery hold NaN or infinity")
    groups = np.arange(len(scores)) if groups is None else groups
    together, size = pooled(scores, groups), scores.shape[-1]
    column = torch.from_numpy(truth[np.unique(groups, return_index=True)[1]]).to(together.device)[:, None]
    place = (together >= together.gather(1, column)).sum(1).cpu().numpy()
    hits = {f"reid_rank{rank}": (place <= rank).astype(np.float64) for rank in RANKS}
    return hits, {f"reid_rank{rank}": min(1.0, rank / size) for rank in RANKS}


def pooled(scores: Scores, groups: Array) -> Scores:
    """One ranking per group: the largest likeness to each image of the gallery over the group's rows and candidates.

    scores   (n, G) or (n, M, G)
    groups   (n,) integers
    returns  (m, G), in the order of `numpy.unique(groups)`
    """
    best = scores if scores.ndim == 2 else scores.amax(1)
    names, index = np.unique(groups, return_inverse=True)
    rows = torch.from_numpy(index).to(best.device)[:, None].expand_as(best)
    return best.new_zeros(len(names), best.shape[1]).scatter_reduce_(0, rows, best, "amax", include_self=False)


def identity(images: Bytes, gallery: Bytes, device: str, *, grid: int, floor: float) -> Scores:
    """Likeness of each image to each of the gallery: cosine of thumbnails whitened on the gallery.

    Of the embeddings compared on three sets (thumbnails of 8, 16 and 32 cells a side, plain, whitened and high-passed,
    their gradients, gradient histograms), whitened thumbnails of 8 cells were best or near it on every defense:
    plain ones confuse half of the blurred photographs with others, gradient histograms nearly all pixelized ones.

    images   (n, M, 3, H, W) uint8
    gallery  (G, 3, H, W) uint8
    grid     cells a side of a thumbnail
    floor    variance added to every principal component of the gallery, as a share of the largest
    returns  (n, M, G) float32 in [-1, 1], on the device
    """
    if images.shape[2:] != gallery.shape[1:]:
        raise HarnessError(f"images of {tuple(images.shape[2:])} and a gallery of {tuple(gallery.shape[1:])} differ")
    embedding = ThumbnailEmbedding.fit(gallery, grid, floor, device)
    likeness: Scores = (embedding.transform(images.flatten(0, 1)) @ embedding.transform(gallery).T).float()
    return likeness.view(*images.shape[:2], len(gallery))
