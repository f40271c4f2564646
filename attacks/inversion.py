"""Inversion learned from rehearsals: a U-Net trained to undo the defense on the adversary's own images.

It needs only the defense's own function, so every new defense meets an adaptive attack. Network and training are in
attacks/restoration.
"""

from __future__ import annotations

import numpy as np
import torch

from harness.errors import HarnessError
from harness.images import average, to_images
from harness.observation import Observation
from harness.plugins.attacks.common.rehearse import split
from harness.plugins.attacks.restoration.augmentation import augmented
from harness.plugins.attacks.restoration.measurement import SAMPLE, Measurement, measure
from harness.plugins.attacks.restoration.training import INGREDIENTS, MOST_PICTURES, Batch, Restorer, fit, in_training
from harness.randomness import derive, numpy_generator
from harness.train.memo import memoised
from harness.types import Array, Bytes, Generator, Guess, Secret

_JUDGED = 128  # held-out releases, at least
_ROUND = 1024  # images rehearsed at a time, at most


def inversion(observation: Observation, rng: Generator, *, train_epochs: int, width: int, batch: int) -> Guess:
    """All sources of every target: as many candidates as sources, the dominant one first where one dominates.

    With more than three sources only the dominant one is restored. Where the network learned nothing, the release as it
    is or the best constant image is answered (attacks.restoration.training).

    train_epochs  passes over the adversary's images, at least; raised to 1,000 steps, and on until the loss is flat
    width         channels of the network's finest level
    batch         images per step
    """
    if min(train_epochs, width, batch) < 1:
        raise HarnessError(f"inversion: train_epochs {train_epochs}, width {width}, batch {batch}; use 1 or more")
    restorer = memoised(
        observation,
        "inversion",
        (train_epochs, width, batch, in_training()),
        lambda key: _train(observation, key, train_epochs, width, batch),
    )
    targets = torch.from_numpy(observation.targets).to(observation.images.device)
    return Guess(candidates=restorer.restore(observation.images[targets]), report=restorer.report)


def _train(observation: Observation, key: bytes, train_epochs: int, width: int, batch: int) -> Restorer:
    train_rows, judge_rows = split(observation.public, observation)
    repeats = -(-_JUDGED // len(judge_rows))
    held_out = [_rehearsal(observation, judge_rows, -1 - repeat, key) for repeat in range(repeats)]
    measurement = _measured(observation, _rehearsal(observation, train_rows, 0, key))
    varied = measurement is not None and INGREDIENTS.augmented
    rounds_per_epoch = -(-len(train_rows) // _ROUND)
    return fit(
        lambda done: _rehearsal(observation, train_rows, done, key, varied),
        Batch(*(torch.cat(parts) for parts in zip(*held_out, strict=True))),
        key=derive(key, "restorer"),
        device=observation.device,
        rounds=train_epochs * rounds_per_epoch,
        width=width,
        batch=batch,
        measurement=measurement,
    )


def _measured(observation: Observation, rehearsed: Batch) -> Measurement | None:
    """What a release holds of the mixture of its sources; None where not all of these are restored."""
    if rehearsed.truths.shape[1] < observation.sources:
        return None
    sources, shares = rehearsed.truths[:SAMPLE], rehearsed.weights[:SAMPLE]
    mixtures = average(to_images(sources), shares.to(sources.device))
    return measure(observation, to_images(rehearsed.inputs[:SAMPLE]), mixtures)


def _rehearsal(observation: Observation, rows: Array, epoch: int, key: bytes, varied: bool = False) -> Batch:
    """A fresh release of some of the rows, half of them mirrored, and its sources.

    varied  whether the images are moved and recoloured too: a defense whose map is fixed adds nothing random that would
            keep a network from remembering them
    """
    rng, public = numpy_generator(derive(key, "rehearsal", epoch)), observation.public
    if len(rows) > _ROUND:
        rows = _enough_of_a_class(rng.choice(rows, _ROUND, replace=False), observation)
    images = public.images[torch.from_numpy(rows)].to(observation.device)
    if varied:
        images = augmented(images, rng)
    else:
        mirrored = torch.from_numpy(rng.random(len(rows)) < 0.5).to(images.device)
        images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
    release, secret = observation.rehearse(images, public.labels[rows], epoch)
    sources, shares = _dominant_first(secret)
    truths: Bytes = images[torch.from_numpy(sources).to(images.device)]
    return Batch(release.images, truths, torch.from_numpy(shares))


def _enough_of_a_class(rows: Array, observation: Observation) -> Array:
    """Without the classes of which the draw holds too few, where mixtures stay within a class."""
    if not observation.defense.mixing["intra_class"]:
        return rows
    labels = observation.public.labels[rows]
    kept: Array = rows[np.bincount(labels)[labels] >= observation.sources]
    return kept


def _dominant_first(secret: Secret) -> tuple[Array, Array]:
    """(n, k) sources and shares, the dominant one first; (n, 1) where there are too many to restore."""
    first = np.arange(secret.shares.shape[1]) == secret.dominant[:, None]
    order = np.argsort(-(secret.shares + first), axis=1, kind="stable")
    if order.shape[1] > MOST_PICTURES:
        order = order[:, :1]
    return np.take_along_axis(secret.sources, order, 1), np.take_along_axis(secret.shares, order, 1)
