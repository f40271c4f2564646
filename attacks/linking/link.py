"""Who was mixed with whom, found from the releases of several epochs alone: one guessed `Pairing` per epoch.

Features are learned on rehearsals (features.py), tracks are grown through the epochs (tracks.py), then two steps
alternate: assign originals to every release (assignment.py) and solve for the originals' features (ridge.py). Releases
that stay unexplained are searched for originals that no track found.
Reference: Carlini et al. 2021, "Is private learning possible with instance encoding?" Differences to the original: it
has no sign flips to undo, learns a linear map to features instead of a network on pairs, and grows tracks instead of
clustering a similarity graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.errors import Inapplicable
from harness.observation import Observation, Pairing
from harness.plugins.attacks.linking.assignment import assign
from harness.plugins.attacks.linking.features import learn_features, sample_public, unit
from harness.plugins.attacks.linking.ridge import Mixing
from harness.plugins.attacks.linking.tracks import grow
from harness.train.memo import memoised
from harness.types import Array, Bytes, Release, Scores

_RIDGE = 0.05  # in units of the features: it matters only for originals that are in few releases
_ROUNDS = 5  # of the two steps, at most; with few epochs more are needed
_POOR = 6.0  # deviations above the median residual from which a release counts as unexplained,
_LEAST = 0.1  # if also above this share of its squared norm: half the residual of one unknown source of two
_TRIES = 3  # tracks tried for every original that is missing
_RELATIVES = 16  # tracks started at a release, at most
_SOURCES = 8  # of a release, at most
_KNOWN = 0.7  # cosine from which a track counts as an original that is known already
_FLOOR = 1e-7  # least probability, before the logarithm
_PROBED = 256  # images rehearsed to read the shares
_VECTORS = 8  # share vectors that are distinguished, at most
_AGREE = 0.02  # largest L1 distance of a release's shares to its vector


@dataclass(frozen=True)
class Protocol:
    """What the adversary knows of the mixing.

    vectors    (S, k) float32, the share vectors that occur, each sorted downwards
    most       releases of one epoch that an original may be in
    originals  how many originals there are
    """

    vectors: Tensor
    most: int
    originals: int


def link(observation: Observation) -> list[Pairing]:
    """Which originals (numbered from 0) each release of each epoch mixes; -1 where nothing explains a release.

    The first column is the source with the largest share. Needs the grants releases, defense and public. Inapplicable
    with one epoch, or with more than eight sources.
    """
    if len(observation.releases) < 2:
        raise Inapplicable("one epoch links to nothing; use --epochs 2 or more")
    if observation.sources > _SOURCES:
        raise Inapplicable(f"{observation.sources} sources a release are too many to search; it takes up to {_SOURCES}")

    def compute(key: bytes) -> list[Pairing]:
        features = learn_features(observation, key)
        return link_features([features.of(release.images) for release in observation.releases], protocol(observation))

    return memoised(observation, "links", (), compute, seen=(release.images for release in observation.releases))


def tracks_of_targets(observation: Observation) -> Array:
    """(n, T) for every target the row of each epoch's release that the same original dominates; -1 where unknown."""
    pairings = link(observation)
    originals = 1 + max(int(pairing.sources.max()) for pairing in pairings)
    first, rows = dominant(pairings[0]), observation.targets
    tracks = np.where(first[rows, None] >= 0, dominated(pairings, originals)[first[rows]], -1)
    tracks[:, 0] = rows  # the release itself, whatever linking found
    return tracks


def average_over_tracks(tracks: Array, releases: Sequence[Release], predict: Callable[[Bytes], Scores]) -> Scores:
    """(n, K) probabilities for every track: the mean logarithm of the probabilities of its releases, renormalised.

    tracks   (n, T) rows of each epoch's release, -1 where there is none
    predict  predict(images (m, 3, H, W) uint8) -> (m, K) probabilities
    """
    total, count = torch.zeros(()), torch.zeros(len(tracks), 1)
    for rows, release in zip(tracks.T, releases, strict=True):
        there = torch.from_numpy(rows >= 0)
        scores = predict(release.images[torch.from_numpy(rows[rows >= 0])]).clamp(min=_FLOOR).log()
        total = total + scores.new_zeros(len(tracks), scores.shape[1]).masked_scatter(there[:, None], scores)
        count += there[:, None]
    return (total / count).softmax(1)


def dominant(pairing: Pairing) -> Array:
    """(N,) the original with the largest share in each release; -1 where it is not known."""
    first: Array = pairing.sources[np.arange(len(pairing)), pairing.shares.argmax(1)]
    return first


def dominated(pairings: Sequence[Pairing], originals: int) -> Array:
    """(K, T) the release of each epoch in which an original has the largest share; -1 where there is none."""
    rows = np.full((originals, len(pairings)), -1)
    for epoch, pairing in enumerate(pairings):
        first = dominant(pairing)
        rows[first[first >= 0], epoch] = np.flatnonzero(first >= 0)
    return rows


def link_features(epochs: Sequence[Tensor], known: Protocol) -> list[Pairing]:
    """Like `link`, from the features (N, q) of every epoch."""
    relatives = min(known.vectors.shape[1] * known.most, _RELATIVES)
    tracks = grow(epochs, known.originals, relatives)
    originals = tracks.sums / (len(epochs) * float(known.vectors[:, 0].mean()))
    pairings, residuals = _explain(epochs, originals, known)
    for _ in range(_ROUNDS):
        originals = _solve(epochs, pairings, len(originals))
        poor = [_worst_half(features, residual) for features, residual in zip(epochs, residuals, strict=True)]
        missing = known.originals - len(originals)
        if missing > 0:
            originals = torch.cat([originals, _missing_originals(epochs, originals, pairings, poor, missing, known)])
        before = pairings
        pairings, residuals = _explain(epochs, originals, known)
        if all(np.array_equal(old.sources, new.sources) for old, new in zip(before, pairings, strict=True)):
            break
    return [_only_first(p, _unexplained(*both)) for p, *both in zip(pairings, epochs, residuals, strict=True)]


def protocol(observation: Observation) -> Protocol:
    """The protocol, from the published mixing and from the shares of rehearsals, which any defense returns."""
    public, mixing = sample_public(observation, _PROBED), observation.defense.mixing
    shares = np.concatenate([observation.rehearse(public.images, public.labels, epoch)[1].shares for epoch in (-1, -2)])
    shares = np.sort(shares, 1)[:, ::-1]
    vectors = np.unique(shares.round(3), axis=0)
    if len(vectors) > _VECTORS or np.abs(shares[:, None] - vectors).sum(2).min(1).max() > _AGREE:
        order = shares[np.argsort(shares[:, 0])]
        vectors = np.stack([part.mean(0) for part in np.array_split(order, _VECTORS)])
    matched = mixing["pairing"] == "matching"
    releases = max(len(release) for release in observation.releases)
    device = observation.device
    return Protocol(
        torch.tensor(vectors.astype(np.float32).copy(), device=device),
        1 if matched else observation.sources,
        releases * observation.sources if matched else releases,
    )


def _explain(epochs: Sequence[Tensor], originals: Tensor, known: Protocol) -> tuple[list[Pairing], list[Tensor]]:
    assigned = [assign(features, originals, known.vectors, known.most) for features in epochs]
    pairings = [Pairing(sources.cpu().numpy(), shares.cpu().numpy()) for sources, shares, _ in assigned]
    return pairings, [residual for *_, residual in assigned]


def _solve(epochs: Sequence[Tensor], pairings: Sequence[Pairing], originals: int) -> Tensor:
    mixing = Mixing(pairings, originals, str(epochs[0].device))
    right = torch.zeros(originals, epochs[0].shape[1], device=epochs[0].device)
    for epoch, features in enumerate(epochs):
        right += mixing.gather(epoch, features)
    return mixing.solve(right, _RIDGE)


def _missing_originals(
    epochs: Sequence[Tensor],
    originals: Tensor,
    pairings: Sequence[Pairing],
    poor: Sequence[Tensor],
    missing: int,
    known: Protocol,
) -> Tensor:
    """Features of originals that no track found: from tracks through unexplained releases less their first source."""
    rests = []
    for features, pairing, rows in zip(epochs, pairings, map(torch.nonzero, poor), strict=True):
        rows = rows.flatten()
        if not len(rows):
            return originals[:0]
        first = torch.from_numpy(pairing.sources[:, 0]).to(rows.device)[rows]
        share = torch.from_numpy(pairing.shares).to(rows.device)[rows]
        rest = features[rows] - share[:, :1] * originals[first]
        rests.append(rest / share[:, -1:].clamp(min=0.05) if share.shape[1] > 1 else features[rows])
    sums = grow(rests, _TRIES * missing, known.most).sums / len(epochs)
    new = (unit(sums) @ unit(originals).T).amax(1) < _KNOWN
    return sums[new][:missing]


def _unexplained(features: Tensor, residual: Tensor) -> Tensor:
    """(N,) bool, the releases that the known originals do not explain."""
    middle = residual.median()
    spread = 1.4826 * (residual - middle).abs().median()
    return residual > torch.maximum(middle + _POOR * spread, _least(features))


def _worst_half(features: Tensor, residual: Tensor) -> Tensor:
    """(N,) bool, the half that is explained worst: where many originals are missing, no residual is an outlier."""
    return residual > torch.maximum(residual.median(), _least(features))


def _least(features: Tensor) -> Tensor:
    return _LEAST * features.square().sum(1).median()


def _only_first(pairing: Pairing, poor: Tensor) -> Pairing:
    """The pairing with all sources but the first unknown in poorly explained releases: the first explains most."""
    sources = pairing.sources.copy()
    sources[poor.cpu().numpy(), 1:] = -1
    return Pairing(sources, pairing.shares)
