"""Recognition by a network trained on obfuscated images.

By default the network is one convolutional layer whose filters are found by k-means without labels, and a linear layer
on its pooled responses and the features of `linear`, trained to the optimum (Coates, Lee and Ng 2011): on some hundred
images it reads more than networks trained by descent, McPherson's among them. It is `linear` wherever held-out images
say that the responses add nothing, so it is not below that floor by more than what choosing costs.

`cnn` trains on the adversary's own images, obfuscated afresh every epoch by the defense itself; `cnn_release` trains on
the release and its public labels alone, cross-fitted; `cnn_linked` applies `cnn` to linked releases.
References: McPherson et al. 2016; Raynal et al. 2020, section 4.4. Difference to the originals: training goes on until
the held-out loss is flat (harness.train.convergence), and the gradient's norm is bounded; where it is no better than
the class shares, these are answered.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from harness.errors import HarnessError
from harness.observation import Observation
from harness.plugins.attacks.common.classifier import Classifier, fit_patches, train_on_images, train_on_rehearsals
from harness.plugins.attacks.common.linear_classifier import fit_or_any_source
from harness.plugins.attacks.linking.link import average_over_tracks, tracks_of_targets
from harness.randomness import derive, key_from
from harness.train.memo import memoised
from harness.train.networks import PATCHES
from harness.types import Array, Generator, Guess, Labels, Release, Secret


def cnn(observation: Observation, rng: Generator, *, arch: str, train_epochs: int) -> Guess:
    """Class scores of a network trained on rehearsals of the defense, fresh mixtures each epoch.

    arch          kmeans_patches, mcpherson_face, mcpherson_cifar, or any torchvision or timm network (from scratch)
    train_epochs  passes over the adversary's images: exactly so many for kmeans_patches; for a network at least, raised
                  to 1,000 steps, and on until the loss is flat
    """
    classifier, report = _trained(observation, arch, train_epochs)
    return Guess(scores=classifier.predict(observation.images[observation.targets]), report=report)


def cnn_linked(observation: Observation, rng: Generator, *, arch: str, train_epochs: int) -> Guess:
    """The network of `cnn` on every release that linking finds the same original in; log scores averaged over a track.

    arch, train_epochs  as for `cnn`
    """
    tracks = tracks_of_targets(observation)
    classifier, report = _trained(observation, arch, train_epochs)
    return Guess(scores=average_over_tracks(tracks, observation.releases, classifier.predict), report=report)


def _trained(observation: Observation, arch: str, train_epochs: int) -> tuple[Classifier, dict[str, Any]]:
    """A network that reads the public label's class from a release, and the facts of its training.

    Filters found by k-means read the class of any source where little can be learned of the public label.
    """

    def labels(release: Release, secret: Secret, rows: Array) -> Labels:
        return release.labels

    def train(key: bytes) -> tuple[Classifier, dict[str, Any]]:
        classes = len(observation.classes)
        if arch == PATCHES:
            fit = partial(fit_patches, key=key, classes=classes)
            return fit_or_any_source(observation, train_epochs, labels, fit)
        return train_on_rehearsals(observation, key, labels, classes, arch, train_epochs)

    return memoised(observation, "cnn", (arch, train_epochs), train)


def cnn_release(observation: Observation, rng: Generator, *, arch: str, train_epochs: int, folds: int) -> Guess:
    """Class scores of networks trained on the release and its labels alone: no release is scored by one trained on it.

    An original is in several releases, so a network may have been trained on another mixture of the same image. An
    adversary has that advantage too.

    arch          as for `cnn`
    train_epochs  passes over the release, at least; raised to 1,000 steps, and on until the loss is flat
                  (kmeans_patches sees every release twice, mirrored once)
    folds         parts of the release; each is scored by a network trained on the others. HarnessError unless 2 to N
    """
    labels, classes, key = observation.labels, len(observation.classes), key_from(rng)
    if not 2 <= folds <= len(labels):
        raise HarnessError(f"cnn_release: folds {folds} cannot be cross-fitted; use 2 to {len(labels)}")
    shuffled = np.random.Generator(np.random.Philox(int.from_bytes(key[:8], "little"))).permutation(len(labels))
    fold_of = shuffled % folds
    scores, facts = torch.zeros(len(labels), classes), []
    for fold in range(folds):
        others = torch.from_numpy(np.flatnonzero(fold_of != fold))
        data = observation.images[others.to(observation.images.device)], labels[others.to(labels.device)]
        classifier, report = train_on_images(observation, derive(key, "fold", fold), *data, classes, arch, train_epochs)
        scored = torch.from_numpy(np.flatnonzero(fold_of == fold))
        scores[scored] = classifier.predict(observation.images[scored.to(observation.images.device)])
        facts.append(report)
    return Guess(scores=scores, report=_together(facts))


def _together(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """The facts of several trainings: counts in sum, figures in the mean; learned where any was."""
    found: dict[str, Any] = {"learned": any(report["learned"] for report in reports)}
    for name, value in reports[0].items():
        if name == "learned" or isinstance(value, str):
            continue
        total = sum(report[name] for report in reports)
        found[name] = total if name in ("steps", "held_out_hits", "held_out_n") else total / len(reports)
    return found
