"""Who is mixed with whom: pairing and weights -> Plan. Reference: Raynal et al. 2020, sections 3.1, 4.4 and 5.1.

The plan depends on the data, the mixing and the key, never on a defense's knobs, so that defenses are compared in
pairs. It is drawn with NumPy whatever the device: CPU and CUDA mix the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import HarnessError
from harness.types import Plan

if TYPE_CHECKING:
    from harness.types import Array

    Distances = Callable[[Array, Array], Array]
    """distances(sources (M, k), weights (M, k)) -> (M, k): dSSIM of each mixture to each of its sources."""

DISTORTION_GRID = (0.3, 0.4, 0.5, 0.6, 0.7)
_REPAIRS = 200


def source_count(mixing: Mapping[str, Any]) -> int:
    """How many sources a mixture has (the paper's n)."""
    weights = mixing["weights"]
    if isinstance(weights, str | Mapping):
        return 2
    first = weights[0]
    return len(first) if isinstance(first, Sequence) else len(weights)


def plan(
    labels: Array, mixing: Mapping[str, Any], rng: np.random.Generator, distances: Distances | None = None
) -> Plan:
    """One epoch's mixtures, in the order of the release.

    labels     (N,) classes of the originals
    mixing     {weights, pairing, intra_class, label} as in registry.yaml
    distances  needed for `weights: distortion` alone
    returns    N mixtures (`permutation`: every original k times) or about N / k (`matching`: at most once)
    """
    k = source_count(mixing)
    groups = [np.arange(len(labels))]
    if mixing["intra_class"]:
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    smallest = min(len(group) for group in groups)
    if smallest < k:
        where = "a class" if mixing["intra_class"] else "the set"
        raise HarnessError(
            f"{where} has {smallest} images, fewer than the {k} sources of a mixture; use a larger --limit"
        )
    pair = _matching if mixing["pairing"] == "matching" else _permutation
    sources = np.concatenate([group[pair(len(group), k, rng)] for group in groups])
    sources = sources[rng.permutation(len(sources))]
    weights = _weights(mixing["weights"], sources, rng, distances)
    by_weight = np.argsort(-weights, axis=1, kind="stable")
    return Plan(
        np.take_along_axis(sources, by_weight, 1),
        np.take_along_axis(weights, by_weight, 1).astype(np.float32),
        rng.random(len(sources), dtype=np.float32),
    )


def _matching(n: int, k: int, rng: np.random.Generator) -> Array:
    """(n // k, k): every image at most once (section 4.4)."""
    return rng.permutation(n)[: n - n % k].reshape(-1, k)


def _permutation(n: int, k: int, rng: np.random.Generator) -> Array:
    """(n, k): row i starts with i; every column is a permutation; all k of a row are different (section 5.1)."""
    columns = [np.arange(n)]
    while len(columns) < k:
        column = _deranged(np.stack(columns, 1), rng)
        if column is None:  # too few images to repair: distinct shifts around a random circle always work
            return _circle(n, k, rng)
        columns.append(column)
    return np.stack(columns, 1)


def _deranged(taken: Array, rng: np.random.Generator) -> Array | None:
    """A permutation that repeats nothing in its row; clashes are swapped with random rows. None after many tries."""
    n = len(taken)
    column = rng.permutation(n)
    for _ in range(_REPAIRS):
        clashes = np.flatnonzero((taken == column[:, None]).any(1))
        if not len(clashes):
            return column
        if taken.shape[1] == 1 and n < 64:  # cheap enough to stay exactly uniform over derangements
            column = rng.permutation(n)
            continue
        for row in clashes:
            other = rng.integers(n)
            column[row], column[other] = column[other], column[row]
    return None


def _circle(n: int, k: int, rng: np.random.Generator) -> Array:
    """(n, k): the images in a random circle; column j is shifted by a distinct step, column 0 by none."""
    order = rng.permutation(n)
    shifts = np.concatenate([[0], 1 + rng.permutation(n - 1)[: k - 1]])
    rows = order[(np.arange(n)[:, None] + shifts) % n]
    ordered: Array = rows[np.argsort(order)]
    return ordered


def _weights(weights: Any, sources: Array, rng: np.random.Generator, distances: Distances | None) -> Array:
    n = len(sources)
    if weights == "distortion":
        if distances is None:
            raise HarnessError("weights distortion needs the metric dssim; keep it in the registry")
        return _most_distorted(sources, distances)
    if isinstance(weights, Mapping):
        share = rng.beta(weights["beta"], weights["beta"], n)
        return np.stack([share, 1 - share], 1)
    vectors = np.atleast_2d(np.asarray(weights, np.float64))
    return vectors[rng.integers(len(vectors), size=n)]


def _most_distorted(sources: Array, distances: Distances) -> Array:
    """Per pair the weight of DISTORTION_GRID with the largest minimum of its two dSSIMs (section 3.1's M)."""
    grid = np.array([[share, 1 - share] for share in DISTORTION_GRID])
    worst = np.stack([distances(sources, np.tile(row, (len(sources), 1))).min(1) for row in grid])
    chosen: Array = grid[worst.argmax(0)]
    return chosen
