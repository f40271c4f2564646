"""Tracks: releases of several epochs that share an original, found without knowing who was mixed with whom.

Every release of an epoch starts one track with each of its best matches in the next. A track grows over the epochs by
the release most like its running sum, in which the shared original adds up and the partners do not. Of two tracks that
share many releases, or whose sums are alike, the less coherent one is dropped.
Reference: Carlini et al. 2021, section 4 (linking instances).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.plugins.attacks.linking.features import unit
from harness.types import Array

_STARTS = 3  # epochs that tracks begin in: an original with a small share in one of them may start no track there
_SAME = 0.4  # of the epochs, from which two tracks count as one
_ALIKE = 0.7  # cosine from which two tracks count as one; two originals mixed twice in six epochs have .55
_CHUNK = 1024
_BLOCK = 512


@dataclass(frozen=True)
class Tracks:
    """K tracks over T epochs.

    members  (K, T) the row of each epoch's release
    sums     (K, d) sums of their features
    """

    members: Array
    sums: Tensor


def grow(epochs: Sequence[Tensor], originals: int, relatives: int) -> Tracks:
    """At most `originals` tracks, the most coherent first, from the features (N, d) of every epoch.

    relatives  releases of another epoch that share an original with a release: four for two sources, each used twice
    """
    starts = [_grown_from(start, epochs, relatives) for start in range(min(_STARTS, len(epochs)))]
    members, sums = (torch.cat(parts) for parts in zip(*starts, strict=True))
    directions, columns = unit(sums), zip(epochs, members.T, strict=True)
    likeness = [(unit(features)[column] * directions).sum(1) for features, column in columns]
    quality = sum(likeness, torch.zeros_like(sums[:, 0]))
    rows = members.cpu().numpy()
    kept = _distinct(rows, sums, quality.cpu().numpy(), originals, [len(features) for features in epochs])
    return Tracks(rows[kept], sums[torch.from_numpy(kept).to(sums.device)])


def _grown_from(start: int, epochs: Sequence[Tensor], relatives: int) -> tuple[Tensor, Tensor]:
    """Members (M, T) and sums (M, d) of the tracks that begin in this epoch and go cyclically through the others."""
    order = [(start + step) % len(epochs) for step in range(len(epochs))]
    first, second = epochs[order[0]], epochs[order[1]]
    seeds = min(relatives, len(second))
    rows = torch.arange(len(first), device=first.device).repeat_interleave(seeds)
    members = {order[0]: rows, order[1]: nearest(first, second, seeds).flatten()}
    sums = first[rows] + second[members[order[1]]]
    for epoch in order[2:]:
        members[epoch] = nearest(sums, epochs[epoch], 1).flatten()
        sums = sums + epochs[epoch][members[epoch]]
    return torch.stack([members[epoch] for epoch in range(len(epochs))], 1), sums


def nearest(queries: Tensor, features: Tensor, count: int) -> Tensor:
    """(M, count) rows of the features (N, d) with the largest cosine to each query (M, d)."""
    table = unit(features).T
    return torch.cat([(unit(block) @ table).topk(count, dim=1).indices for block in queries.split(_CHUNK)])


def _distinct(rows: Array, sums: Tensor, quality: Array, most: int, sizes: Sequence[int]) -> Array:
    """Numbers of the tracks that neither share many releases with a better one nor are like it, at most `most`."""
    order = np.argsort(-quality, kind="stable")
    sharing = _SharedReleases(rows, sizes)
    kept: list[int] = []
    known = unit(sums[:0])
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        directions = unit(sums[torch.from_numpy(block).to(sums.device)])
        taken = ((directions @ known.T) > _ALIKE).any(1).cpu().numpy()
        alike = (directions @ directions.T > _ALIKE).cpu().numpy()
        fresh = []
        for place, track in enumerate(block):
            if taken[place] or sharing.taken[track]:
                continue
            kept.append(track)
            fresh.append(place)
            if len(kept) == most:
                return np.array(kept)
            taken |= alike[place]
            sharing.take(track)
        known = torch.cat([known, directions[fresh]])
    return np.array(kept)


class _SharedReleases:
    """Which tracks share many releases with a selected one, without a track x track matrix."""

    def __init__(self, rows: Array, sizes: Sequence[int]):
        self.taken = np.zeros(len(rows), bool)
        self._least = max(2, int(np.ceil(rows.shape[1] * _SAME)))
        self._rows = rows + np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._order = np.argsort(self._rows.ravel(), kind="stable") // rows.shape[1]
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(self._rows.ravel(), minlength=int(np.sum(sizes))))])

    def take(self, track: int) -> None:
        """Mark every track that shares many releases with this one."""
        inside = [self._order[self._starts[row] : self._starts[row + 1]] for row in self._rows[track]]
        sharing, times = np.unique(np.concatenate(inside), return_counts=True)
        self.taken[sharing[times >= self._least]] = True
