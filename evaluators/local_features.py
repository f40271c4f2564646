"""Re-identification by local features: finds pictures that were zoomed, turned, tiled, warped and recoloured.

`evaluators.reidentification` has the embedding by thumbnails and the ranks, `evaluators.identities` the embeddings by
amplitudes and by colours: none of these survives a change of scale together with a change of colours.
References: SIFT and the ratio of the nearest two distances, Lowe 2004; votes of single features for images, without a
geometric model, Sivic and Zisserman 2003; descriptors that mirroring and negation leave in place: MI-SIFT, Ma 2010.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch.nn import functional

from harness.errors import HarnessError
from harness.types import Array, Bytes, Scores

_CHUNK = 256  # images whose descriptors are held at a time
_BLOCK = (512, 32)  # keypoints, and images of the gallery, that are compared at a time: what a core's cache holds
_VOTE = 1024  # of a keypoint whose nearest other image is infinitely farther; integers, so no order changes a sum
_NO_KEYPOINT = 2.0**23  # squared length of what is not there; beyond that of any descriptor


def identity_local(
    images: Bytes,
    gallery: Bytes,
    device: str,
    *,
    keypoints: int,
    cells: int,
    per_cell: int,
    smallest: int,
    largest: int,
) -> Scores:
    """Likeness by SIFT: each keypoint votes for the image of the gallery that has the most similar one.

    Of colours on their first principal component, which the sign, order, brightness and contrast of the channels leave
    in place. A vote is 1 - (distance to that image) / (distance to the next image). Descriptors are compared without
    regard to mirroring and negation. An image without keypoints (one grey) is like none.

    Of an image of the gallery the strongest keypoints are kept. Of the images they are kept cell by cell: what stands
    in one part of an image (dots, stripes, a frame) takes no keypoint from a picture in another part. Rank 1 of 40 in a
    gallery of 700 at 64 px, of a picture at half size among dots: the 40 strongest .03-.05, all (139) .80-.85, two in
    each of 8 x 8 cells (90) .80-.88, eight in each of 4 x 4 (105) .80-.85; the same enlarged to 80 px .90-.92.

    Rank 1 of 100 originals in a gallery of 700 (imagenette10_96, 64 px): a picture at half size tiled 2 x 2 with fresh
    colours .99, zoomed .97, turned by 10-80 degrees 1.00, sheared .93, in perspective .94, at half size in noise .76.
    Compared, on 60: luminance (.65 for .98 where each channel has its own sign), descriptors as they are (negatives
    .00, mirrored .20), votes for several near images (no better), 30 and 60 keypoints (a third of the size tiled: .54
    and .72), cifar10 at its 32 px (.65 for .98 enlarged to 64).

    images     (n, M, 3, H, W) uint8
    gallery    (G, 3, H, W) uint8
    keypoints  of an image of the gallery at most, those of the strongest contrast
    cells      down and along an image of `images`
    per_cell   keypoints of each cell at most, those of the strongest contrast
    smallest   pixels of the shorter side that smaller images are enlarged to
    largest    and that larger images are reduced to
    returns    (n, M, G) float32, at least 0, on the device

    Descriptors are integers, whose inner products are exact in float32, and so are votes: likenesses are the same on
    every device and on any number of threads.
    """
    if images.shape[2:] != gallery.shape[1:]:
        raise HarnessError(f"images of {tuple(images.shape[2:])} and a gallery of {tuple(gallery.shape[1:])} differ")
    known, lengths = _known(_Gallery.of(gallery), keypoints, smallest, largest, device)
    votes = []
    for some in images.flatten(0, 1).split(_CHUNK):
        found, counts = _descriptors(some, cells**2 * per_cell, smallest, largest, _Grid(cells, per_cell))
        features = _symmetric(found[torch.arange(found.shape[1]) < counts[:, None]]).to(device)
        owners = torch.repeat_interleave(torch.arange(len(some)), counts).to(device)
        votes.append(_votes(features, owners, len(some), known, lengths.view(len(gallery), keypoints)))
    return torch.cat(votes).view(*images.shape[:2], len(gallery))


@dataclass(frozen=True)
class _Grid:
    """Cells over an image, each of which keeps a few keypoints."""

    cells: int
    per_cell: int

    def kept(self, places: Array, size: tuple[int, int]) -> Array:
        """(m,) which of these keypoints are kept, in their order.

        places  (n, 2) along and down, the strongest first
        size    height and width
        """
        along, down = np.clip(places * self.cells // np.array(size[::-1]), 0, self.cells - 1).astype(np.int64).T
        cell = down * self.cells + along
        order = np.argsort(cell, kind="stable")
        rank = np.arange(len(cell)) - np.searchsorted(cell[order], cell[order])
        kept: Array = np.sort(order[rank < self.per_cell])
        return kept


@dataclass(frozen=True)
class _Gallery:
    """Images that are the same where their content is."""

    digest: bytes
    images: Bytes = field(compare=False, repr=False)

    @classmethod
    def of(cls, images: Bytes) -> _Gallery:
        digest = hashlib.sha256(repr(tuple(images.shape)).encode())
        for some in images.split(_CHUNK):
            digest.update(some.cpu().contiguous().numpy())
        return cls(digest.digest(), images)


@lru_cache(maxsize=1)
def _known(
    gallery: _Gallery, keypoints: int, smallest: int, largest: int, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """(G keypoints, 64) float32 features of a gallery, and (G keypoints,) their squared lengths.

    A run looks up every attack's guesses in one gallery, so the last one is kept.
    """
    parts, lengths = [], []
    for some in gallery.images.split(_CHUNK):
        found, counts = _descriptors(some, keypoints, smallest, largest)
        features = _symmetric(found)
        there = torch.arange(keypoints) < counts[:, None]
        parts.append(features.flatten(0, 1))
        lengths.append(torch.where(there, features.square().sum(2), _NO_KEYPOINT).flatten())
    return torch.cat(parts).to(device), torch.cat(lengths).to(device)


def _votes(
    features: torch.Tensor, owners: torch.Tensor, count: int, known: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """(count, G) float32 votes of features (f, 64) for images of the gallery.

    owners   (f,) which of the `count` images each feature is of
    known    (G K, 64) float32
    lengths  (G, K) their squared lengths
    """
    votes = torch.zeros(count * len(lengths), dtype=torch.int64, device=features.device)
    blocks = list(zip(known.view(*lengths.shape, -1).split(_BLOCK[1]), lengths.split(_BLOCK[1]), strict=True))
    for rows in torch.arange(len(features), device=features.device).split(_BLOCK[0]):
        some = features[rows]
        # 2 x.y - y.y, from which x.x - this is the squared distance
        closeness = torch.cat(
            [
                torch.addmm(-length.flatten(), some, block.flatten(0, 1).T, alpha=2).unflatten(1, length.shape).amax(2)
                for block, length in blocks
            ],
            1,
        )
        nearest = functional.pad(closeness, (0, 1), value=-_NO_KEYPOINT).topk(2, 1)
        away = (some.square().sum(1, keepdim=True) - nearest.values).clamp(min=0).double().sqrt()
        vote = (_VOTE * (away[:, 1] - away[:, 0]) / away[:, 1].clamp(min=1)).long()
        place = nearest.indices[:, 0].clamp(max=len(lengths) - 1)
        votes.scatter_add_(0, owners[rows] * len(lengths) + place, vote)
    return (votes.view(count, len(lengths)).double() / _VOTE).float()


def _symmetric(descriptors: torch.Tensor) -> torch.Tensor:
    """(..., 128) SIFT descriptors -> (..., 64) integers that mirroring and negation of the image leave in place.

    4 rows, 4 columns and 8 directions, relative to the keypoint's own. Mirrored across that axis, rows and directions
    are reversed; of a negative the axis is turned by half, so rows and columns are. The sums and differences of the
    four numbers that these exchange, without their signs: an orthogonal map of twice the length, then absolute values.
    Of the four results two are kept: the others change rank 1 by .03 at most either way, and cost as much again.
    """
    cells = descriptors.unflatten(-1, (4, 4, 8))
    mirrored = cells.flip(-3)[..., (-torch.arange(8)) % 8]
    negative, both = cells.flip(-3, -2), mirrored.flip(-3, -2)
    parts = [
        cells + negative + mirrored + both,
        (cells + negative - mirrored - both).abs(),
    ]
    return torch.cat([part.flatten(-3)[..., _one_of_each()] for part in parts], -1)


@lru_cache(maxsize=1)
def _one_of_each() -> torch.Tensor:
    """(32,) the first of every four numbers of a descriptor that mirroring and negation exchange."""
    cells = torch.arange(128).view(4, 4, 8)
    mirrored = cells.flip(0)[..., (-torch.arange(8)) % 8]
    exchanged = torch.stack([cells, mirrored, cells.flip(0, 1), mirrored.flip(0, 1)])
    first: torch.Tensor = exchanged.amin(0).unique()
    return first


def _descriptors(
    images: Bytes, keypoints: int, smallest: int, largest: int, grid: _Grid | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 3, H, W) uint8 -> (N, keypoints, 128) float32, 0 where there are fewer, and (N,) how many there are.

    grid  keeps the strongest of each cell; None: the strongest of the whole image
    """
    side = min(images.shape[2:])
    scale = min(max(side, smallest), largest) / side

    def found(image: Array) -> Array:
        plane = _principal(image)
        if scale != 1:
            how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
            plane = cv2.resize(plane, None, fx=scale, fy=scale, interpolation=how)
        points, values = cv2.SIFT.create(nfeatures=0 if grid else keypoints).detectAndCompute(plane, None)
        if not points:  # `values` is None
            return np.empty((0, 128), np.float32)
        strongest = np.argsort([-point.response for point in points], kind="stable")
        if grid:
            places = np.array([points[at].pt for at in strongest])
            strongest = strongest[grid.kept(places, plane.shape)]
        strongest = strongest[:keypoints]
        chosen: Array = values[strongest]
        return chosen

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        every = list(pool.map(found, images.cpu().numpy()))
    values = torch.zeros(len(images), keypoints, 128)
    for at, some in enumerate(every):
        values[at, : len(some)] = torch.from_numpy(some)
    return values, torch.tensor([len(some) for some in every], dtype=torch.int64)


def _principal(image: Array) -> Array:
    """(3, H, W) uint8 -> (H, W) uint8: colours on their first principal component, stretched to 0..255."""
    flat = image.reshape(3, -1).astype(np.int64)
    sums = flat.sum(1)
    covariance = flat.shape[1] * (flat @ flat.T) - np.outer(sums, sums)  # exact, whatever the order of the sum
    axis = np.linalg.eigh(covariance.astype(np.float64))[1][:, -1]
    axis *= 1 if axis.sum() >= 0 else -1
    red, green, blue = image
    plane = axis[0] * red + axis[1] * green + axis[2] * blue
    low, high = plane.min(), plane.max()
    levels: Array = np.rint((plane - low) * (255 / max(high - low, 1))).astype(np.uint8)
    return levels
