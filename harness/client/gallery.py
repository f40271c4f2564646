"""The gallery that re-identification ranks: every original that may be scored, among images that no attack has seen.

The distractors come from the `test` role: an adversary knows its own public images, so it could rule them out, and it
may have trained on them. Public images are used only where there is no test image. The order is that of content hashes:
it is the same for every seed and defense, and does not say which images are originals. Near copies show one identity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from harness.errors import HarnessError
from harness.images.near_copies import near_copies
from harness.release import empty
from harness.types import Array, Bytes, Dataset, Scores, Splits

DISTRACTORS = 1000  # at most: as many as there are targets by default
_CHUNK = 256


@dataclass(frozen=True)
class Gallery:
    """The images among which an original is looked up.

    images      (G, 3, H, W) uint8 on the CPU, in scratch space where they are large
    columns     (N,) position of each private image; -1 where it is not in the gallery
    identities  (G,) which identity each image shows, from 0: near copies are one (harness.images.near_copies)
    """

    images: Bytes
    columns: Array
    identities: Array

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def of_private(self) -> Array:
        """(N,) the identity of each private image; negative, and no other's, where it is not in the gallery."""
        alone = -1 - np.arange(len(self.columns))
        return np.where(self.columns < 0, alone, self.identities[self.columns])

    @cached_property
    def copies(self) -> Array:
        """(I,) how many images of the gallery show each identity."""
        return np.bincount(self.identities)

    def by_identity(self, scores: Scores) -> Scores:
        """(n, G) scores of images -> (n, I) of identities, the largest of each one's images."""
        into = torch.from_numpy(self.identities).to(scores.device).expand_as(scores)
        lowest = scores.new_full((len(scores), len(self.copies)), -torch.inf)
        return lowest.scatter_reduce_(1, into, scores, "amax")

    def truth(self, rows: Array) -> Array:
        """(n,) the identities of these private images; HarnessError where one is not in the gallery."""
        found: Array = self.of_private[rows]
        if missing := int((found < 0).sum()):
            raise HarnessError(
                f"the gallery lacks {missing} of {len(rows)} scored originals; it must hold every target"
            )
        return found


def gallery_of(splits: Splits, originals: Array) -> Gallery:
    """The gallery of these originals (rows of the private set), with test images as distractors."""
    others = splits.test if len(splits.test) else splits.public
    drawn = sorted(range(len(others)), key=lambda row: _hash(b"distractor", others.hashes[row]))[:DISTRACTORS]
    return assemble(splits.private, originals, others, np.array(sorted(drawn), np.int64))


def assemble(private: Dataset, originals: Array, others: Dataset, distractors: Array) -> Gallery:
    """The gallery of these rows of both, in the order of a hash of their content."""
    if not len(originals):
        raise HarnessError("a gallery without originals has no image to find; use more --targets")
    if len(distractors) and private.images.shape[1:] != others.images.shape[1:]:
        sizes = " and ".join("x".join(map(str, part.images.shape[2:])) for part in (private, others))
        raise HarnessError(
            f"the originals and the distractors of a gallery differ in size ({sizes}); bring them to one"
        )
    hashes = [*private.hashes[originals], *others.hashes[distractors]]
    if len(set(hashes)) < len(hashes):
        raise HarnessError("a distractor of the gallery is an original, or an image is in it twice; remove the copies")
    order = sorted(range(len(hashes)), key=lambda entry: _hash(b"gallery", hashes[entry]))
    positions = np.empty(len(order), np.int64)
    positions[order] = np.arange(len(order))
    images = empty((len(order), *private.images.shape[1:]), "cpu")
    _copy_rows(images, positions[: len(originals)], private.images, originals)
    _copy_rows(images, positions[len(originals) :], others.images, distractors)
    columns = np.full(len(private), -1, np.int64)
    columns[originals] = positions[: len(originals)]
    return Gallery(images, columns, near_copies(images))


def _copy_rows(images: Bytes, places: Array, source: Array, rows: Array | Sequence[int]) -> None:
    """Copy rows of `source` to their places, a few at a time: a gallery need not fit into memory."""
    for start in range(0, len(rows), _CHUNK):
        some = slice(start, start + _CHUNK)
        images[torch.from_numpy(places[some])] = torch.from_numpy(np.asarray(source[rows[some]]))


def _hash(purpose: bytes, content: Any) -> bytes:
    return hashlib.sha256(purpose + b" " + bytes(content)).digest()
