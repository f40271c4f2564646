"""Which images of a set are pictures of one thing: bursts, frames of a film, the same file saved anew.

Whoever is looked up among copies of himself is found where any of them comes first: an identity may have several images
(closed-set identification, Phillips et al. 2000). Without this, rank 1 is shared among the copies.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch.nn import functional

from harness.images.thumbnails import ThumbnailEmbedding, thumbnails
from harness.types import Array, Bytes

_GRID, _FLOOR = 8, 0.01
_ALIKE = 0.8
_FEW, _SHARE = 10, 0.05
_ROWS = 256


def near_copies(images: Bytes) -> Array:
    """(N,) which identity each image of (N, 3, H, W) uint8 shows, numbered from 0: chains of near copies are one.

    Near copies are images whose thumbnails have a cosine of at least .8, both whitened on the set and less the mean of
    each channel: the first leaves out what the set's images have in common, the second what plain images have. Of 1,500
    photographs each of imagenette10_96, cats_vs_dogs, stanford_dogs10 and cifar10, 4 in 6,000 have such a neighbour. Of
    hand-held shots of one scene (shifted 3 %, enlarged 4 %, turned 1.5 degrees, 5 % brighter or darker, noise of 5
    levels, JPEG) 99 in 100 are so alike, of 32 px 95.

    Chains of more than 10 images and a twentieth of the set are taken apart: the images of such a set differ in too
    little to say which show the same.
    """
    device = str(images.device)
    whitened = ThumbnailEmbedding.fit(images, _GRID, _FLOOR, device).transform(images)
    channels = thumbnails(images, _GRID, device).unflatten(1, (3, -1))
    plain = functional.normalize((channels - channels.mean(2, keepdim=True)).flatten(1), dim=1)
    pairs = []
    for start in range(0, len(images), _ROWS):
        rows = slice(start, start + _ROWS)
        alike = (whitened[rows] @ whitened.T >= _ALIKE) & (plain[rows] @ plain.T >= _ALIKE)
        pairs.append(alike.nonzero().cpu().numpy() + np.array([start, 0]))
    rows, columns = np.concatenate(pairs).T
    links = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(images),) * 2)
    _, chains = connected_components(links, directed=False)
    too_many = np.bincount(chains)[chains] > max(_FEW, _SHARE * len(images))
    first = np.unique(chains, return_index=True)[1][chains]
    identities: Array = np.unique(np.where(too_many, np.arange(len(images)), first), return_inverse=True)[1]
    return identities
