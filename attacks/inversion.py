"""Inversion learned from rehearsals: a U-Net trained to undo the defense on the adversary's own images.

It needs nothing but the defense's own function, so that every new defense meets an adaptive attack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from harness.errors import HarnessError, Inapplicable, NotConverged
from harness.observation import Labelled, Observation
from harness.plugins.attacks.restoration.training import MOST_PICTURES, Batch, Restorer, fit
from harness.randomness import derive, numpy_generator
from harness.train.memo import memoised
from harness.types import Array, Bytes, Generator, Guess, Secret

_NEAR, _LEARNED = 0.02, 0.002  # of a constant guess's loss: what is near enough, and the least that must be learned
_HELD_OUT = 5  # one image in five judges when to stop
_JUDGED = 128  # releases that judge, at least
_ROUND = 1024  # images rehearsed at a time, at most


def inversion(observation: Observation, rng: Generator, *, train_epochs: int, width: int, batch: int) -> Guess:
    """All sources of every target: as many candidates as sources, the dominant one first where one dominates.

    With more than three sources only the dominant one is restored.

    train_epochs  passes over the adversary's images, at least; raised to 1,000 steps, and on until the loss is flat
    width         channels of the network's finest level
    batch         images per step
    """
    if min(train_epochs, width, batch) < 1:
        raise HarnessError(f"inversion: train_epochs {train_epochs}, width {width}, batch {batch}; use 1 or more")
    restorer = memoised(
        observation,
        "inversion",
        (train_epochs, width, batch),
        lambda key: _learn(observation, key, train_epochs, width, batch),
    )
    targets = torch.from_numpy(observation.targets).to(observation.images.device)
    return Guess(candidates=restorer.restore(observation.images[targets]), report=restorer.report)


def _learn(observation: Observation, key: bytes, train_epochs: int, width: int, batch: int) -> Restorer:
    public = observation.public
    learning, judging = split(public, observation)
    times = -(-_JUDGED // len(judging))
    held_out = [_rehearsal(observation, judging, -1 - time, key) for time in range(times)]
    each = -(-len(learning) // _ROUND)  # rounds that make an epoch
    restorer = fit(
        lambda done: _rehearsal(observation, learning, done, key),
        Batch(*(torch.cat(parts) for parts in zip(*held_out, strict=True))),
        key=derive(key, "restorer"),
        device=observation.device,
        rounds=train_epochs * each,
        width=width,
        batch=batch,
    )
    _must_have_learned(restorer.report)
    return restorer


def _must_have_learned(report: Mapping[str, Any]) -> None:
    """The network starts as the identity. Where that is far from the originals, staying there is learning nothing."""
    guess, untrained, trained = (report[name] for name in ("guess_loss", "untrained_loss", "held_out_loss"))
    if untrained > _NEAR * guess and trained > untrained - _LEARNED * guess:
        raise NotConverged(f"the held-out loss is {trained:.3f} where the untrained network has {untrained:.3f}")


def split(public: Labelled, observation: Observation) -> tuple[Array, Array]:
    """Rows to learn from and rows that judge, by class; enough of each class where mixtures stay within it.

    The same for every attack, so that what none of them learned from can judge between them.
    """
    rng = numpy_generator(derive(b"", "split"))
    if not len(public):
        raise Inapplicable("there are no public images to rehearse on (--public-share 0)")
    k = observation.sources
    alike = k if observation.defense.mixing["intra_class"] else 1
    judging = []
    for label in np.unique(public.labels):
        rows = rng.permutation(np.flatnonzero(public.labels == label))
        if len(rows) < 2 * alike:
            if alike == 1:
                continue
            raise Inapplicable(f"a class has {len(rows)} public images; to mix {k} and to judge by takes {2 * k}")
        judging.append(rows[: max(alike, len(rows) // _HELD_OUT)])
    judge = np.sort(np.concatenate([np.zeros(0, np.int64), *judging]))
    learn = np.setdiff1d(np.arange(len(public)), judge)
    if min(len(learn), len(judge)) < k:
        raise Inapplicable(f"{len(public)} public images are too few to mix {k} and to judge by")
    return learn, judge


def _rehearsal(observation: Observation, rows: Array, epoch: int, key: bytes) -> Batch:
    """A fresh release of some of the rows, half of them mirrored, and what it was made of."""
    rng, public = numpy_generator(derive(key, "rehearsal", epoch)), observation.public
    if len(rows) > _ROUND:
        rows = _enough_alike(rng.choice(rows, _ROUND, replace=False), observation)
    images = public.images[torch.from_numpy(rows)].to(observation.device)
    mirrored = torch.from_numpy(rng.random(len(rows)) < 0.5).to(images.device)
    images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
    release, secret = observation.rehearse(images, public.labels[rows], epoch)
    sources, shares = _ordered(secret)
    truths: Bytes = images[torch.from_numpy(sources).to(images.device)]
    return Batch(release.images, truths, torch.from_numpy(shares))


def _enough_alike(rows: Array, observation: Observation) -> Array:
    """Without the classes of which the draw holds too few, where mixtures stay within a class."""
    if not observation.defense.mixing["intra_class"]:
        return rows
    labels = observation.public.labels[rows]
    kept: Array = rows[np.bincount(labels)[labels] >= observation.sources]
    return kept


def _ordered(secret: Secret) -> tuple[Array, Array]:
    """(n, k) sources and shares, the dominant one first; it alone where there are too many to restore."""
    first = np.arange(secret.shares.shape[1]) == secret.dominant[:, None]
    order = np.argsort(-(secret.shares + first), axis=1, kind="stable")
    if order.shape[1] > MOST_PICTURES:
        order = order[:, :1]
    return np.take_along_axis(secret.sources, order, 1), np.take_along_axis(secret.shares, order, 1)
