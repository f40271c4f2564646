"""Recognition by a network trained on obfuscated images.

`cnn` trains on the adversary's own images, obfuscated afresh every epoch by the defense itself; `cnn_release` trains on
the release and its public labels alone, cross-fitted. Reference: McPherson et al. 2016; Raynal et al. 2020, 4.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from harness.errors import HarnessError, Inapplicable
from harness.observation import Observation
from harness.plugins.attacks.linking.link import along, tracks_of_targets
from harness.randomness import derive, key_from, numpy_generator
from harness.train import Learner, Recipe, batch_for, fit_until_flat, hits, networks, seeded
from harness.train.memo import memoised
from harness.train.networks import RECIPE
from harness.types import Array, Bytes, Generator, Guess, Labels, Release, Secret

_HELD_OUT = 5  # one image in five judges when to stop
_JUDGED = 300  # releases that judge, at least
_MODERN = Recipe("adamw", 1e-3, weight_decay=0.05, flip=True, shift=0.125)


def cnn(observation: Observation, rng: Generator, *, arch: str, train_epochs: int) -> Guess:
    """Class scores of a network trained on rehearsals of the defense, fresh mixtures each epoch.

    arch          mcpherson_face, mcpherson_cifar, or any torchvision or timm network (from scratch)
    train_epochs  passes over the adversary's images, at least; raised to 1,000 steps, and on until the loss is flat
    """
    learner, report = reader(observation, arch, train_epochs)
    return Guess(scores=learner.predict(observation.images[observation.targets]), report=report)


def cnn_linked(observation: Observation, rng: Generator, *, arch: str, train_epochs: int) -> Guess:
    """The network of `cnn` on every release that linking finds the same original in: log scores averaged over a track.

    arch, train_epochs  as for `cnn`
    """
    tracks = tracks_of_targets(observation)
    learner, report = reader(observation, arch, train_epochs)
    return Guess(scores=along(tracks, observation.releases, learner.predict), report=report)


def reader(observation: Observation, arch: str, train_epochs: int) -> tuple[Learner, dict[str, Any]]:
    """A network that reads the public label's class from a release, and how its training went."""

    def train(key: bytes) -> tuple[Learner, dict[str, Any]]:
        labels = lambda release, secret, rows: release.labels  # noqa: E731
        return learn(observation, key, labels, len(observation.classes), arch, train_epochs)

    return memoised(observation, "cnn", (arch, train_epochs), train)


def learn(
    observation: Observation,
    key: bytes,
    answer: Callable[[Release, Secret, Array], Labels],
    classes: int,
    arch: str,
    train_epochs: int,
) -> tuple[Learner, dict[str, Any]]:
    """A network that reads an answer from a release, trained on rehearsals, and how its training went.

    answer   what to read: of a rehearsal, its secret, and the public rows that it was made of; class numbers or shares
    classes  how many answers there are
    """
    public = observation.public
    fit, judge = fit_and_judge(observation, derive(key, "split"))
    images = public.images.to(observation.device)

    def rehearsal(rows: Array, epoch: int) -> tuple[Bytes, Labels]:
        chosen = images[torch.from_numpy(rows).to(images.device)]
        release, secret = observation.rehearse(chosen, public.labels[rows], epoch)
        return release.images, answer(release, secret, rows)

    times = -(-_JUDGED // len(judge))
    judged = [rehearsal(judge, -1 - time) for time in range(times)]
    held_out = torch.cat([images for images, _ in judged]), torch.cat([labels for _, labels in judged])
    batch = batch_for(len(fit), train_epochs, _recipe(arch))
    with seeded(key, observation.device):
        learner = _learner(arch, classes, observation, batch, key)
        report = fit_until_flat(
            learner, lambda epoch: rehearsal(fit, epoch), held_out, rounds=train_epochs, classes=classes
        )
    return learner, {**report, **_held_out_hits(learner, *judged[0])}


def fit_and_judge(observation: Observation, key: bytes) -> tuple[Array, Array]:
    """Public rows to rehearse on, and those held out to judge by; enough of both for the defense to mix."""
    public = observation.public
    if not len(public):
        raise Inapplicable("there are no public images to rehearse on (--public-share 0)")
    alike = observation.sources if observation.defense.mixing["intra_class"] else 1
    fit, judge = _split(public.labels, numpy_generator(key), alike)
    if min(len(fit), len(judge)) < observation.sources:
        raise Inapplicable(f"{len(public)} public images are too few to mix {observation.sources} and to judge by")
    return fit, judge


def cnn_release(observation: Observation, rng: Generator, *, arch: str, train_epochs: int, folds: int) -> Guess:
    """The same network under the paper's own knowledge: no release is scored by a network that saw it.

    Originals are in several releases, so a network may have seen another mixture of the same image: that is the
    attack's luck, and the client's risk.

    arch          as for `cnn`
    train_epochs  passes over the release, at least; raised to 1,000 steps, and on until the loss is flat
    folds         parts of the release; each is scored by a network trained on the others
    """
    labels, classes, key = observation.labels, len(observation.classes), key_from(rng)
    if not 2 <= folds <= len(labels):
        raise HarnessError(f"cnn_release: folds {folds} cannot be cross-fitted; use 2 to {len(labels)}")
    dealt = np.random.Generator(np.random.Philox(int.from_bytes(key[:8], "little"))).permutation(len(labels)) % folds
    scores = torch.zeros(len(labels), classes)
    report: dict[str, float] = {}
    for fold in range(folds):
        seen, fold_key = np.flatnonzero(dealt != fold), derive(key, "fold", fold)
        hard = labels if labels.ndim == 1 else labels.argmax(1)
        fit, judge = _split(hard[torch.from_numpy(seen)].numpy(), numpy_generator(derive(fold_key, "split")))
        rows, held = torch.from_numpy(seen[fit]), torch.from_numpy(seen[judge])
        data, held_out = (observation.images[rows], labels[rows]), (observation.images[held], labels[held])
        with seeded(fold_key, observation.device):
            learner = _learner(arch, classes, observation, batch_for(len(fit), train_epochs, _recipe(arch)), fold_key)
            facts = fit_until_flat(learner, lambda _, data=data: data, held_out, rounds=train_epochs, classes=classes)  # type: ignore[misc]
        facts |= _held_out_hits(learner, *held_out)
        report = {name: report.get(name, 0) + value for name, value in facts.items()}
        unseen = torch.from_numpy(np.flatnonzero(dealt == fold))
        scores[unseen] = learner.predict(observation.images[unseen])
    counted = ("steps", "held_out_hits", "held_out_n")
    return Guess(
        scores=scores, report={name: value if name in counted else value / folds for name, value in report.items()}
    )


def _split(labels: Array, rng: np.random.Generator, least: int = 1) -> tuple[Array, Array]:
    """Rows to train on and rows that judge, by class; `least` of a class in both, where mixtures stay within it."""
    judge = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        judge.append(rows[: max(least, len(rows) // _HELD_OUT)])
    held = np.sort(np.concatenate(judge))
    fit = np.setdiff1d(np.arange(len(labels)), held)
    if min((labels[fit] == label).sum() for label in np.unique(labels)) < least:
        raise Inapplicable(
            f"{len(labels)} images are too few: a class needs {least} to train on and {least} to judge by"
        )
    return fit, held


def _learner(arch: str, classes: int, observation: Observation, batch: int, key: bytes) -> Learner:
    height, width = observation.images.shape[2:]
    model = networks.build(arch, classes, (height, width))
    return Learner(model, _recipe(arch), batch, key, observation.device)


def _recipe(arch: str) -> Recipe:
    return RECIPE if arch in networks.PUBLISHED else _MODERN


def _held_out_hits(learner: Learner, images: Bytes, labels: Labels) -> dict[str, float]:
    hard = labels if labels.ndim == 1 else labels.argmax(1)
    correct = hits(learner.predict(images), hard.numpy())
    commonest = torch.bincount(hard).max() / len(hard)
    return {"held_out_hits": int(correct.sum()), "held_out_n": len(correct), "held_out_chance": float(commonest)}
