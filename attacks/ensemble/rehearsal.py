"""Rehearsals of whole attacks on the adversary's own images, to choose between attacks.

A rehearsal is an observation like the real one, made from public images, together with the originals. Its targets are
mixtures dominated by images that no learned attack trains on (attacks.common.rehearse.split). Faults of the protocol,
such as an order that is not shuffled or partners that never change, are rehearsed where they were found in the real
releases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from harness.images import to_bytes, to_images
from harness.mixing import plan
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.ensemble.unshuffled_order import rehearse_in_order
from harness.randomness import derive, numpy_generator, torch_generator
from harness.types import Array, Bytes, Guess, Release

_JUDGED = 64  # held-out images, at most (more only where mixtures stay within a class),
_SINGLE = 48  # and releases of them in one epoch, at least
_TOGETHER = 400  # public images that are mixed together over all epochs, at most
_EPOCH = 1_000_000  # number of the first epoch: none that an attack rehearses itself
_CHUNK = 32


@dataclass(frozen=True)
class Rehearsal:
    """A rehearsed view of an adversary and its solution.

    observation  what an attack sees
    originals    (n, 3, H, W) uint8, the dominant source of each of its targets
    """

    observation: Observation
    originals: Bytes

    @property
    def images(self) -> int:
        """Number of images that were obfuscated for it."""
        return sum(map(len, self.observation.releases))

    def score(self, guess: Guess) -> float:
        """Mean SSIM of the best candidate to the dominant source, of the targets of release 0."""
        answers = guess.candidates[: len(self.originals)]
        scores = [
            rehearse.best_ssim(candidates.to(self.originals.device), originals)
            for candidates, originals in zip(answers.split(_CHUNK), self.originals.split(_CHUNK), strict=True)
        ]
        return float(torch.cat(scores).mean())


def one_epoch(observation: Observation) -> Rehearsal:
    """One epoch of held-out images, mixed with each other: for attacks on single releases."""
    rows = _held_out(observation)
    rehearsed = [_release(observation, rows, number) for number in range(-(-_SINGLE // len(rows)))]
    images, originals = (torch.cat(parts) for parts in zip(*((r.images, o) for r, o in rehearsed), strict=True))
    labels = torch.cat([release.labels for release, _ in rehearsed])
    return Rehearsal(_view(observation, [Release(images, labels)], np.arange(len(images))), originals)


def all_epochs(observation: Observation) -> Rehearsal:
    """T epochs of public images, as many as there are private ones if possible; held-out images are the targets."""
    held = _held_out(observation)
    learned = np.setdiff1d(np.arange(len(observation.public)), held)
    count = min(_TOGETHER, len(observation.images)) - len(held)
    rng = numpy_generator(derive(b"", "stage"))
    others = rng.permutation(learned)[: max(count, 0)]
    rows = np.concatenate([held, others])
    public, releases, first = observation.public, [], None
    own = public.images[torch.from_numpy(rows)].to(observation.device)
    for epoch in range(len(observation.releases)):
        release, secret = observation.rehearse(own, public.labels[rows], _EPOCH + epoch)
        releases.append(Release(release.images.cpu(), release.labels.cpu()))
        first = secret.dominant_rows if first is None else first
    assert first is not None
    targets = np.flatnonzero(first < len(held))
    return Rehearsal(_view(observation, releases, targets), own[torch.from_numpy(first[targets]).to(own.device)])


def unshuffled(observation: Observation) -> Rehearsal:
    """T epochs of held-out images in an order that is not shuffled."""
    rows, public = _held_out(observation), observation.public
    own = public.images[torch.from_numpy(rows)].to(observation.device)
    epochs = range(len(observation.releases))
    releases = [rehearse_in_order(observation, own, public.labels[rows], _EPOCH + epoch) for epoch in epochs]
    return Rehearsal(_view(observation, releases, np.arange(len(rows))), own)


def same_partners(observation: Observation) -> Rehearsal:
    """T epochs of held-out images whose partners never change, while their weights are drawn anew."""
    rows, public = _held_out(observation), observation.public
    own = public.images[torch.from_numpy(rows)].to(observation.device)
    releases, sources = [], np.zeros((0, 0), np.int64)
    for epoch in range(len(observation.releases)):
        key = derive(b"", "same partners", epoch)
        drawn = plan(public.labels[rows], observation.defense.mixing, numpy_generator(key), _any_distances)
        sources = sources if epoch else drawn.sources
        stack = to_images(own[torch.from_numpy(sources).to(own.device)])
        weights = torch.from_numpy(drawn.weights).to(own.device)
        images = observation.apply(stack, weights, torch_generator(key, observation.device))
        labels = torch.from_numpy(public.labels[rows[sources[:, 0]]])
        releases.append(Release(to_bytes(images), labels))
    return Rehearsal(_view(observation, releases, np.arange(len(sources))), own[torch.from_numpy(sources[:, 0])])


def _release(observation: Observation, rows: Array, number: int) -> tuple[Release, Bytes]:
    """A release of some public images, and its dominant sources."""
    own = observation.public.images[torch.from_numpy(rows)].to(observation.device)
    release, secret = observation.rehearse(own, observation.public.labels[rows], _EPOCH - 1 - number)
    return release, own[torch.from_numpy(secret.dominant_rows).to(own.device)]


def _view(observation: Observation, releases: list[Release], targets: Array) -> Observation:
    """The observation with rehearsed releases in place of the real ones."""
    return replace(observation, images=releases[0].images, targets=targets, _releases=releases, _labels=None)


def _held_out(observation: Observation) -> Array:
    """Rows that no attack trains on; enough of each class where mixtures stay within it."""
    _, judge = rehearse.split(observation.public, observation)
    if not observation.defense.mixing["intra_class"]:
        return numpy_generator(derive(b"", "judged")).permutation(judge)[:_JUDGED]
    labels = observation.public.labels[judge]
    classes = np.unique(labels)
    each = max(observation.sources, _JUDGED // len(classes))
    return np.concatenate([judge[labels == label][:each] for label in classes])


def _any_distances(sources: Array, weights: Array) -> Array:
    """Random distances for weights by distortion, which otherwise depend on the images."""
    return numpy_generator(derive(b"", "distances")).random(tuple(weights.shape))
