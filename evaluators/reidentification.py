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
    scores: Scores, truth: Array, copies: Array | None = None
) -> tuple[dict[str, Array], dict[str, float]]:
    """Whether the true original ranks first or among the first five of the gallery, and the chance of a random guess.

    scores   (n, G), or (n, M, G) where there are M candidates: they share one ranking, by the largest score of each
             image of the gallery, so more candidates are not more answers
    truth    (n,) column of the original of each row
    copies   (G,) how many images each column stands for: near copies of one picture; one each if left out
    returns  reid_rank1 and reid_rank5, (n,) of 0 or 1; and the chance of each: the share of images that show the
             original, on average, times the rank; 1 / G and 5 / G where there are no copies; at most 1

    Ties count against the attack: an original ranks behind all that score as high, so a constant score is never a hit.
    NotConverged where scores are not finite.
    """
    if not torch.isfinite(scores).all():
        raise NotConverged("the attack's scores over the gallery hold NaN or infinity")
    together = scores.amax(1) if scores.ndim == 3 else scores
    column = torch.from_numpy(truth).to(together.device)[:, None]
    place = (together >= together.gather(1, column)).sum(1).cpu().numpy()
    hits = {f"reid_rank{rank}": (place <= rank).astype(np.float64) for rank in RANKS}
    copies = np.ones(together.shape[1], np.int64) if copies is None else copies
    shown, drawn = int(copies[truth].sum()), len(truth) * int(copies.sum())
    return hits, {f"reid_rank{rank}": min(1.0, rank * shown / drawn) for rank in RANKS}


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
