"""Training of the classifiers that `cnn`, `clean_cnn`, `attribute` and their linked forms use, and their data split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional

from harness.errors import Inapplicable
from harness.observation import Observation
from harness.plugins.attacks.common.features import PatchFilters, thumbnails_and_hog
from harness.plugins.attacks.common.linear_classifier import (
    Answer,
    Bank,
    Featuriser,
    Trained,
    class_shares,
    fit_classifier,
    folds_of,
    mirrored_bank,
    rehearsal_key,
    rehearsed_bank,
)
from harness.randomness import derive, numpy_generator
from harness.train import Learner, Recipe, batch_for, fit_until_flat, hits, networks, seeded
from harness.train.convergence import compared_with_constant
from harness.train.networks import PATCHES, RECIPE
from harness.types import Array, Bytes, Labels, Scores

_HELD_OUT = 5  # one image in five judges when to stop
_JUDGED = 300  # held-out releases, at least
_MODERN = Recipe("adamw", 1e-3, weight_decay=0.05, flip=True, shift=0.125)


class Classifier(Protocol):
    """What a training returns: (N, 3, H, W) uint8 images -> (N, K) class scores on the CPU."""

    def predict(self, images: Bytes) -> Scores: ...


@dataclass(frozen=True)
class ClassShares:
    """The best constant guess, where nothing was learned: (K,) class shares for every image."""

    shares: Scores

    def predict(self, images: Bytes) -> Scores:
        return self.shares.expand(len(images), -1).clone()


def train_on_rehearsals(
    observation: Observation, key: bytes, answer: Answer, classes: int, arch: str, train_epochs: int
) -> tuple[Classifier, dict[str, Any]]:
    """A classifier trained to read an answer from a release, and the facts of its training.

    Where it learned nothing (harness.train.convergence.compared_with_constant), it answers the class shares.

    answer   answer(release, secret, rows) -> (N,) class numbers or (N, classes) shares: what is to be read from each
             rehearsed release; `rows` are the public images that were obfuscated
    classes  how many answers there are
    """
    if arch == PATCHES:
        bank = rehearsed_bank(observation, rehearsal_key(observation), answer, train_epochs)
        return fit_patches(bank, key, classes)
    public = observation.public
    fit, judge = fit_and_judge(observation, derive(key, "split"))
    images = public.images.to(observation.device)

    def rehearsal(rows: Array, epoch: int) -> tuple[Bytes, Labels, Array]:
        chosen = images[torch.from_numpy(rows).to(images.device)]
        release, secret = observation.rehearse(chosen, public.labels[rows], epoch)
        return release.images, answer(release, secret, rows), rows[secret.dominant_rows]

    repeats = -(-_JUDGED // len(judge))
    judged = [rehearsal(judge, -1 - repeat) for repeat in range(repeats)]
    held_out = torch.cat([part[0] for part in judged]), torch.cat([part[1] for part in judged])
    learner, report = _fit_network(
        observation, key, classes, arch, train_epochs, lambda epoch: rehearsal(fit, epoch)[:2], held_out, len(fit)
    )
    units = np.concatenate([part[2] for part in judged])
    return _checked(learner, report, held_out, rehearsal(fit, 0)[1], classes, judged[0][:2], units)


def train_on_images(
    observation: Observation, key: bytes, images: Bytes, labels: Labels, classes: int, arch: str, train_epochs: int
) -> tuple[Classifier, dict[str, Any]]:
    """The same, trained to read the labels of images as they are.

    images, labels  (N, 3, H, W) uint8 on the device; (N,) class numbers or (N, classes) shares
    """
    hard = (labels if labels.ndim == 1 else labels.argmax(1)).cpu().numpy()
    rng = numpy_generator(derive(key, "split"))
    if arch == PATCHES:
        return fit_patches(mirrored_bank(images, hard, folds_of(hard, rng)), key, classes)
    fit, judge = (torch.from_numpy(rows) for rows in split_classes(hard, rng))
    if not len(fit):
        raise Inapplicable(f"{len(labels)} images are too few to train on and to judge by")
    data, held_out = ((images[rows.to(images.device)], labels[rows.to(labels.device)]) for rows in (fit, judge))
    learner, report = _fit_network(observation, key, classes, arch, train_epochs, lambda _: data, held_out, len(fit))
    return _checked(learner, report, held_out, data[1], classes, held_out)


def fit_patches(bank: Bank, key: bytes, classes: int) -> Trained:
    """Logistic regression on the floor's features, or on these and the responses of filters found by k-means."""
    filters = PatchFilters(bank.images, numpy_generator(derive(key, "patches")))
    floor: list[Featuriser] = [thumbnails_and_hog]
    kinds: dict[str, list[Featuriser]] = {"thumbnails and HOG": floor, "with patches": [*floor, filters]}
    return fit_classifier(bank, kinds, classes)


def _fit_network(
    observation: Observation,
    key: bytes,
    classes: int,
    arch: str,
    train_epochs: int,
    fresh: Callable[[int], tuple[Bytes, Labels]],
    held_out: tuple[Bytes, Labels],
    count: int,
) -> tuple[Learner, dict[str, Any]]:
    """A network of this name, trained on fresh(0), fresh(1), ... of `count` images each."""
    height, width = observation.images.shape[2:]
    with seeded(key, observation.device):
        model = networks.build(arch, classes, (height, width))
        batch = batch_for(count, train_epochs, recipe_of(arch))
        learner = Learner(model, recipe_of(arch), batch, key, observation.device)
        report = fit_until_flat(learner, fresh, held_out, rounds=train_epochs, classes=classes)
    return learner, report


def _checked(
    learner: Learner,
    report: dict[str, Any],
    held_out: tuple[Bytes, Labels],
    trained_on: Labels,
    classes: int,
    first: tuple[Bytes, Labels],
    units: Array | None = None,
) -> tuple[Classifier, dict[str, Any]]:
    """The network, or the class shares where it is no better on held-out releases; and all facts.

    trained_on  labels that the shares are counted on
    first       held-out releases that hits are counted on, one of each image
    units       (n,) the image that each held-out release is of
    """
    hard = trained_on if trained_on.ndim == 1 else trained_on.argmax(1)
    shares = torch.from_numpy(class_shares(hard.cpu().numpy(), classes)).float()
    constant = ClassShares(shares)
    images, labels = held_out
    own, other = (_losses(each.predict(images), labels.cpu()) for each in (learner, constant))
    right = held_out_hits(learner, *first)
    facts = {**report, **compared_with_constant(own, other, units, right), **right}
    return (learner if facts["learned"] else constant), facts


def _losses(scores: Scores, labels: Labels) -> Array:
    """(n,) cross-entropy in nats."""
    logs = scores.clamp(min=1e-7).log()
    losses = functional.nll_loss(logs, labels, reduction="none") if labels.ndim == 1 else -(labels * logs).sum(1)
    found: Array = losses.double().numpy()
    return found


def fit_and_judge(observation: Observation, key: bytes) -> tuple[Array, Array]:
    """Public rows to train on and rows held out to judge by; Inapplicable where they are too few to be mixed."""
    public = observation.public
    if not len(public):
        raise Inapplicable("there are no public images to rehearse on (--public-share 0)")
    least = observation.sources if observation.defense.mixing["intra_class"] else 1
    fit, judge = split_classes(public.labels, numpy_generator(key), least)
    if min(len(fit), len(judge)) < observation.sources:
        raise Inapplicable(f"{len(public)} public images are too few to mix {observation.sources} and to judge by")
    return fit, judge


def split_classes(labels: Array, rng: np.random.Generator, least: int = 1) -> tuple[Array, Array]:
    """Rows to train on and rows held out, one in five of every class.

    least  of a class in both, where mixtures stay within a class; Inapplicable where there are fewer
    """
    judge_parts = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        judge_parts.append(rows[: max(least, len(rows) // _HELD_OUT)])
    judge = np.sort(np.concatenate(judge_parts))
    fit = np.setdiff1d(np.arange(len(labels)), judge)
    if min((labels[fit] == label).sum() for label in np.unique(labels)) < least:
        raise Inapplicable(
            f"{len(labels)} images are too few: a class needs {least} to train on and {least} to judge by"
        )
    return fit, judge


def recipe_of(arch: str) -> Recipe:
    """McPherson's recipe for their networks, AdamW with flips and shifts for all others."""
    return RECIPE if arch in networks.PUBLISHED else _MODERN


def held_out_hits(learner: Classifier, images: Bytes, labels: Labels) -> dict[str, float]:
    """Hits on held-out releases, their number, and the hits of the best constant guess, for the record."""
    hard = labels if labels.ndim == 1 else labels.argmax(1)
    correct = hits(learner.predict(images), hard.numpy())
    commonest = torch.bincount(hard).max() / len(hard)
    return {"held_out_hits": int(correct.sum()), "held_out_n": len(correct), "held_out_chance": float(commonest)}
