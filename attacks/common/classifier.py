"""Training of the classifiers that `cnn`, `clean_cnn`, `attribute` and their linked forms use, and their data split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from harness.errors import Inapplicable
from harness.observation import Observation
from harness.randomness import derive, numpy_generator
from harness.train import Learner, Recipe, batch_for, fit_until_flat, hits, networks, seeded
from harness.train.networks import RECIPE
from harness.types import Array, Bytes, Labels, Release, Secret

_HELD_OUT = 5  # one image in five judges when to stop
_JUDGED = 300  # held-out releases, at least
_MODERN = Recipe("adamw", 1e-3, weight_decay=0.05, flip=True, shift=0.125)


def train_on_rehearsals(
    observation: Observation,
    key: bytes,
    answer: Callable[[Release, Secret, Array], Labels],
    classes: int,
    arch: str,
    train_epochs: int,
) -> tuple[Learner, dict[str, Any]]:
    """A network trained to read an answer from a release, and the facts of its training.

    answer   answer(release, secret, rows) -> (N,) class numbers or (N, classes) shares: what is to be read from each
             rehearsed release; `rows` are the public images that were obfuscated
    classes  how many answers there are
    """
    public = observation.public
    fit, judge = fit_and_judge(observation, derive(key, "split"))
    images = public.images.to(observation.device)

    def rehearsal(rows: Array, epoch: int) -> tuple[Bytes, Labels]:
        chosen = images[torch.from_numpy(rows).to(images.device)]
        release, secret = observation.rehearse(chosen, public.labels[rows], epoch)
        return release.images, answer(release, secret, rows)

    repeats = -(-_JUDGED // len(judge))
    judged = [rehearsal(judge, -1 - repeat) for repeat in range(repeats)]
    held_out = torch.cat([images for images, _ in judged]), torch.cat([labels for _, labels in judged])
    batch = batch_for(len(fit), train_epochs, recipe_of(arch))
    with seeded(key, observation.device):
        learner = new_learner(arch, classes, observation, batch, key)
        report = fit_until_flat(
            learner, lambda epoch: rehearsal(fit, epoch), held_out, rounds=train_epochs, classes=classes
        )
    return learner, {**report, **held_out_hits(learner, *judged[0])}


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


def new_learner(arch: str, classes: int, observation: Observation, batch: int, key: bytes) -> Learner:
    """An untrained network of this name with its recipe."""
    height, width = observation.images.shape[2:]
    model = networks.build(arch, classes, (height, width))
    return Learner(model, recipe_of(arch), batch, key, observation.device)


def recipe_of(arch: str) -> Recipe:
    """McPherson's recipe for their networks, AdamW with flips and shifts for all others."""
    return RECIPE if arch in networks.PUBLISHED else _MODERN


def held_out_hits(learner: Learner, images: Bytes, labels: Labels) -> dict[str, float]:
    """Hits on held-out releases, their number, and the hits of the best constant guess, for the record."""
    hard = labels if labels.ndim == 1 else labels.argmax(1)
    correct = hits(learner.predict(images), hard.numpy())
    commonest = torch.bincount(hard).max() / len(hard)
    return {"held_out_hits": int(correct.sum()), "held_out_n": len(correct), "held_out_chance": float(commonest)}
