"""Recognition by a network trained on obfuscated images.

`cnn` trains on the adversary's own images, obfuscated afresh every epoch by the defense itself; `cnn_release` trains on
the release and its public labels alone, cross-fitted; `cnn_linked` applies `cnn` to linked releases.
References: McPherson et al. 2016; Raynal et al. 2020, section 4.4. Difference to the originals: training goes on until
the held-out loss is flat (harness.train.convergence), and the gradient's norm is bounded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from harness.errors import HarnessError
from harness.observation import Observation
from harness.plugins.attacks.common.classifier import (
    held_out_hits,
    new_learner,
    recipe_of,
    split_classes,
    train_on_rehearsals,
)
from harness.plugins.attacks.linking.link import average_over_tracks, tracks_of_targets
from harness.randomness import derive, key_from, numpy_generator
from harness.train import Learner, batch_for, fit_until_flat, seeded
from harness.train.memo import memoised
from harness.types import Array, Generator, Guess, Labels, Release, Secret


def cnn(observation: Observation, rng: Generator, *, arch: str, train_epochs: int) -> Guess:
    """Class scores of a network trained on rehearsals of the defense, fresh mixtures each epoch.

    arch          mcpherson_face, mcpherson_cifar, or any torchvision or timm network (from scratch)
    train_epochs  passes over the adversary's images, at least; raised to 1,000 steps, and on until the loss is flat
    """
    learner, report = _trained(observation, arch, train_epochs)
    return Guess(scores=learner.predict(observation.images[observation.targets]), report=report)


def cnn_linked(observation: Observation, rng: Generator, *, arch: str, train_epochs: int) -> Guess:
    """The network of `cnn` on every release that linking finds the same original in; log scores averaged over a track.

    arch, train_epochs  as for `cnn`
    """
    tracks = tracks_of_targets(observation)
    learner, report = _trained(observation, arch, train_epochs)
    return Guess(scores=average_over_tracks(tracks, observation.releases, learner.predict), report=report)


def _trained(observation: Observation, arch: str, train_epochs: int) -> tuple[Learner, dict[str, Any]]:
    """A network that reads the public label's class from a release, and the facts of its training."""

    def labels(release: Release, secret: Secret, rows: Array) -> Labels:
        return release.labels

    def train(key: bytes) -> tuple[Learner, dict[str, Any]]:
        return train_on_rehearsals(observation, key, labels, len(observation.classes), arch, train_epochs)

    return memoised(observation, "cnn", (arch, train_epochs), train)


def cnn_release(observation: Observation, rng: Generator, *, arch: str, train_epochs: int, folds: int) -> Guess:
    """Class scores of networks trained on the release and its labels alone: no release is scored by one trained on it.

    An original is in several releases, so a network may have been trained on another mixture of the same image. An
    adversary has that advantage too.

    arch          as for `cnn`
    train_epochs  passes over the release, at least; raised to 1,000 steps, and on until the loss is flat
    folds         parts of the release; each is scored by a network trained on the others. HarnessError unless 2 to N
    """
    labels, classes, key = observation.labels, len(observation.classes), key_from(rng)
    if not 2 <= folds <= len(labels):
        raise HarnessError(f"cnn_release: folds {folds} cannot be cross-fitted; use 2 to {len(labels)}")
    shuffled = np.random.Generator(np.random.Philox(int.from_bytes(key[:8], "little"))).permutation(len(labels))
    fold_of = shuffled % folds
    scores = torch.zeros(len(labels), classes)
    report: dict[str, float] = {}
    for fold in range(folds):
        others, fold_key = np.flatnonzero(fold_of != fold), derive(key, "fold", fold)
        hard = labels if labels.ndim == 1 else labels.argmax(1)
        fit, judge = split_classes(hard[torch.from_numpy(others)].numpy(), numpy_generator(derive(fold_key, "split")))
        rows, held = torch.from_numpy(others[fit]), torch.from_numpy(others[judge])
        data, held_out = (observation.images[rows], labels[rows]), (observation.images[held], labels[held])
        with seeded(fold_key, observation.device):
            batch = batch_for(len(fit), train_epochs, recipe_of(arch))
            learner = new_learner(arch, classes, observation, batch, fold_key)
            facts = fit_until_flat(learner, lambda _, data=data: data, held_out, rounds=train_epochs, classes=classes)  # type: ignore[misc]
        facts |= held_out_hits(learner, *held_out)
        report = {name: report.get(name, 0) + value for name, value in facts.items()}
        scored = torch.from_numpy(np.flatnonzero(fold_of == fold))
        scores[scored] = learner.predict(observation.images[scored])
    counted = ("steps", "held_out_hits", "held_out_n")
    return Guess(
        scores=scores, report={name: value if name in counted else value / folds for name, value in report.items()}
    )
