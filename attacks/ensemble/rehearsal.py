"""A rehearsal of whole attacks: what an adversary stages with images of its own, to choose between its attacks.

A stage is an observation like the real one, made from public images, with the originals beside it. Its targets are
mixtures that images dominate which no learned attack learns from (attacks.inversion.split). Faults of a protocol, an
order that is not shuffled or partners that never change, are staged where they were found in the real releases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from harness.images import to_bytes, to_images
from harness.mixing import plan
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.ensemble.unshuffled_order import in_order
from harness.plugins.attacks.inversion import split
from harness.randomness import derive, numpy_generator, torch_generator
from harness.types import Array, Bytes, Guess, Release

_JUDGED = 64  # held-out images that judge, at most (more only where mixtures stay within a class),
_ALONE = 48  # and releases of them alone, at least
_TOGETHER = 400  # public images that are mixed together over all epochs, at most
_EPOCH = 1_000_000  # rehearsals that no attack uses
_CHUNK = 32


@dataclass(frozen=True)
class Rehearsal:
    """observation: what an attack sees; originals (n, 3, H, W) uint8: the dominant source of each of its targets."""

    observation: Observation
    originals: Bytes

    @property
    def images(self) -> int:
        """How many were rehearsed for it."""
        return sum(map(len, self.observation.releases))

    def score(self, guess: Guess) -> float:
        """Mean SSIM of the best candidate to the dominant source."""
        found = [
            rehearse.likeness(guess.candidates[start : start + _CHUNK].to(self.originals.device), originals)
            for start, originals in zip(
                range(0, len(self.originals), _CHUNK), self.originals.split(_CHUNK), strict=True
            )
        ]
        return float(torch.cat(found).mean())


def alone(observation: Observation) -> Rehearsal:
    """One epoch of held-out images, mixed among themselves: for attacks on single releases."""
    rows = _held_out(observation)
    made = [_rehearsed(observation, rows, number) for number in range(-(-_ALONE // len(rows)))]
    images, originals = (torch.cat(parts) for parts in zip(*((r.images, o) for r, o in made), strict=True))
    labels = torch.cat([release.labels for release, _ in made])
    return Rehearsal(_seen(observation, [Release(images, labels)], np.arange(len(images))), originals)


def together(observation: Observation) -> Rehearsal:
    """T epochs of public images, as many as there are private ones if possible; the held-out ones' are the targets."""
    held = _held_out(observation)
    learned = np.setdiff1d(np.arange(len(observation.public)), held)
    count = min(_TOGETHER, len(observation.images)) - len(held)
    rng = numpy_generator(derive(b"", "stage"))
    some = rng.permutation(learned)[: max(count, 0)]
    rows = np.concatenate([held, some])
    public, releases, first = observation.public, [], None
    own = public.images[torch.from_numpy(rows)].to(observation.device)
    for epoch in range(len(observation.releases)):
        release, secret = observation.rehearse(own, public.labels[rows], _EPOCH + epoch)
        releases.append(Release(release.images.cpu(), release.labels.cpu()))
        first = secret.dominant_rows if first is None else first
    assert first is not None
    targets = np.flatnonzero(first < len(held))
    return Rehearsal(_seen(observation, releases, targets), own[torch.from_numpy(first[targets]).to(own.device)])


def standing_still(observation: Observation) -> Rehearsal:
    """T epochs of held-out images in an order that is not shuffled."""
    rows, public = _held_out(observation), observation.public
    own = public.images[torch.from_numpy(rows)].to(observation.device)
    epochs = range(len(observation.releases))
    releases = [in_order(observation, own, public.labels[rows], _EPOCH + epoch) for epoch in epochs]
    return Rehearsal(_seen(observation, releases, np.arange(len(rows))), own)


def same_partners(observation: Observation) -> Rehearsal:
    """T epochs of held-out images whose partners never change, while their weights are drawn anew."""
    rows, public = _held_out(observation), observation.public
    own = public.images[torch.from_numpy(rows)].to(observation.device)
    releases, sources = [], np.zeros((0, 0), np.int64)
    for epoch in range(len(observation.releases)):
        key = derive(b"", "same partners", epoch)
        drawn = plan(public.labels[rows], observation.defense.mixing, numpy_generator(key), _any_distance)
        sources = sources if epoch else drawn.sources
        stack = to_images(own[torch.from_numpy(sources).to(own.device)])
        weights = torch.from_numpy(drawn.weights).to(own.device)
        made = observation.apply(stack, weights, torch_generator(key, observation.device))
        labels = torch.from_numpy(public.labels[rows[sources[:, 0]]])
        releases.append(Release(to_bytes(made), labels))
    return Rehearsal(_seen(observation, releases, np.arange(len(sources))), own[torch.from_numpy(sources[:, 0])])


def _rehearsed(observation: Observation, rows: Array, number: int) -> tuple[Release, Bytes]:
    """A release of some public images, and its dominant sources."""
    own = observation.public.images[torch.from_numpy(rows)].to(observation.device)
    release, secret = observation.rehearse(own, observation.public.labels[rows], _EPOCH - 1 - number)
    return release, own[torch.from_numpy(secret.dominant_rows).to(own.device)]


def _seen(observation: Observation, releases: list[Release], targets: Array) -> Observation:
    """The adversary's view of what it staged: nothing of the real releases is left in it."""
    return replace(observation, images=releases[0].images, targets=targets, _releases=releases, _labels=None)


def _held_out(observation: Observation) -> Array:
    """Rows that no attack learns from; enough of each class where mixtures stay within it."""
    _, judging = split(observation.public, observation)
    if not observation.defense.mixing["intra_class"]:
        return numpy_generator(derive(b"", "judged")).permutation(judging)[:_JUDGED]
    labels = observation.public.labels[judging]
    classes = np.unique(labels)
    each = max(observation.sources, _JUDGED // len(classes))
    return np.concatenate([judging[labels == label][:each] for label in classes])


def _any_distance(sources: Array, weights: Array) -> Array:
    """Weights by distortion depend on pictures that a stage of fixed partners has no use for."""
    return numpy_generator(derive(b"", "distances")).random(tuple(weights.shape))
