"""Tracks: releases of several epochs that share an original, found without knowing who was mixed with whom.

Every release of one epoch and its best matches in the next seed a track each; a track grows over the epochs by the
release that is most like its running sum, in which the shared original adds up and the partners do not. Two tracks
that agree in a third of the epochs are one. Reference: Carlini et al. 2021, section 4 (linking instances).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from attacks.features import unit
from harness.types import Array

_SAME = 1 / 3  # of the epochs
_CHUNK = 1024


@dataclass(frozen=True)
class Tracks:
    """K tracks over T epochs.

    members  (K, T) the row of each epoch's release
    sums     (K, d) sum of their features
    """

    members: Array
    sums: Tensor


def grow(epochs: Sequence[Tensor], originals: int, relatives: int) -> Tracks:
    """At most `originals` tracks, the most coherent first, from the features (N, d) of every epoch.

    relatives  releases of another epoch that share an original with a release: four for two sources, each used twice
    """
    seeds = min(relatives, len(epochs[1]))
    first = torch.arange(len(epochs[0]), device=epochs[0].device).repeat_interleave(seeds)
    members, sums = [first], epochs[0][first]
    for step, features in enumerate(epochs[1:]):
        near = nearest(sums if step else epochs[0], features, 1 if step else seeds)
        members.append(near.flatten())
        sums = sums + features[members[-1]]
    rows = torch.stack(members, 1).cpu().numpy()
    coherent = unit(sums).mul(sum(unit(features)[column] for features, column in zip(epochs, members, strict=True)))
    kept = _distinct(rows, coherent.sum(1).cpu().numpy(), originals, [len(features) for features in epochs])
    return Tracks(rows[kept], sums[torch.from_numpy(kept).to(sums.device)])


def nearest(queries: Tensor, features: Tensor, count: int) -> Tensor:
    """(M, count) rows of the features with the largest cosine, a block of queries at a time."""
    table = unit(features).T
    return torch.cat([(unit(block) @ table).topk(count, dim=1).indices for block in queries.split(_CHUNK)])


def _distinct(rows: Array, quality: Array, most: int, sizes: Sequence[int]) -> Array:
    """Numbers of tracks that agree with no better one in a third of the epochs."""
    epochs = rows.shape[1]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    held = sparse.csr_matrix(
        (np.ones(rows.size, np.int32), (np.repeat(np.arange(len(rows)), epochs), (rows + starts).ravel())),
        shape=(len(rows), int(np.sum(sizes))),
    )
    agreeing = sparse.csr_matrix(held @ held.T)
    least = max(2, int(np.ceil(epochs * _SAME)))
    taken, kept = np.zeros(len(rows), bool), []
    for track in np.argsort(-quality, kind="stable"):
        if taken[track]:
            continue
        kept.append(track)
        if len(kept) == most:
            break
        inside = slice(agreeing.indptr[track], agreeing.indptr[track + 1])
        taken[agreeing.indices[inside][agreeing.data[inside] >= least]] = True
    return np.array(kept)
