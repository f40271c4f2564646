"""Which released images a reconstruction of every original answers: those of release 0, and later ones that add some.

An original is scored by the images that it dominates, or that hold it. In release 0 it may dominate none, because the
weights are equal and chance decides, or because the pairing never gave it the larger share; then a later one is named.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.observation import Observation, Pairing
from harness.types import Array, Labels

_TIE = 1e-3  # of a share: sources this close to the largest may have given the label
_ROUNDS = 3  # of finding the classes: a label that no other source explains counts more
_TRIES = 4  # images named for an original that none of them shows to be dominant


def answered_images(observation: Observation, pairings: Sequence[Pairing], originals: int) -> Array:
    """(P, 2) integers: release and image. Every target of release 0 in order, then what the originals lack.

    The label of an image is the class of its dominant source. An original's class is found from the labels of the
    images where its share is the largest, so a label often says which of several equal shares dominates. An original
    that is certain to dominate a target of release 0 needs no more; another one gets an image where it is certain, or
    up to four where it is possible.

    Labels of -1 (not granted) say nothing: then every original gets four.

    pairings   one per release, true or guessed
    originals  K, how many there are
    """
    epochs, rows, sources, certainty = _leading(observation, pairings, originals)
    is_target = np.zeros(len(observation.images), bool)
    is_target[observation.targets] = True
    named = (epochs == 0) & is_target[np.where(epochs == 0, rows, 0)]
    best = np.zeros(originals, int)
    np.maximum.at(best, sources, certainty)
    wanted = np.where(best == 2, 1, _TRIES)
    counts = np.bincount(sources[named & (certainty == best[sources])], minlength=originals)
    order = np.lexsort((epochs, -certainty, sources))
    order = order[~named[order] & (certainty[order] == best[sources[order]])]
    first = np.searchsorted(sources[order], sources[order])  # where the original's images begin
    order = order[np.arange(len(order)) - first < (wanted - counts)[sources[order]]]
    more = np.unique(np.stack([epochs[order], rows[order]], 1), axis=0)
    targets = np.stack([np.zeros_like(observation.targets), observation.targets], 1)
    return np.concatenate([targets, more]).astype(np.int64)


def _leading(
    observation: Observation, pairings: Sequence[Pairing], originals: int
) -> tuple[Array, Array, Array, Array]:
    """Every known source of every image whose share is the largest: release, image, original, certainty.

    certainty  that it dominates the image: 2 where no other source with the largest share fits the label, 1 where it
               fits the label itself, else 0
    """
    parts: list[tuple[Array, ...]] = []
    for epoch, (pairing, release) in enumerate(zip(pairings, observation.releases, strict=True)):
        largest = pairing.shares >= pairing.shares.max(1, keepdims=True) - _TIE
        rows, columns = np.nonzero(largest & (pairing.sources >= 0))
        alone = largest.sum(1)[rows] == 1
        label = _classes(release.labels)[rows]
        parts.append((np.full(len(rows), epoch), rows, pairing.sources[rows, columns], alone, label))
    epochs, rows, sources, alone, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
    images = epochs * max(map(len, pairings)) + rows
    explained = np.zeros(len(rows), bool)  # by another source of the same image
    for _ in range(_ROUNDS):
        votes = np.zeros((originals, len(observation.classes)))
        np.add.at(votes, (sources, labels), np.where(explained, 1, len(pairings) + 1))
        fits = votes.argmax(1)[sources] == labels
        explained = np.bincount(images, fits)[images] > fits
    return epochs, rows, sources, np.where(alone | (fits & ~explained), 2, fits)


def _classes(labels: Labels) -> Array:
    """(N,) the class of each label; of soft labels the largest share."""
    hard: Array = (labels.argmax(1) if labels.ndim == 2 else labels).cpu().numpy()
    return hard
