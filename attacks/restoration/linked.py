"""Restoration of what regression over linked releases does not undo: noise, blur, cells, the order inside blocks.

The adversary rehearses all T epochs on varied copies of its own images, solves them with their known pairing, and
trains a network from the solutions to the originals (training.py). Where the solutions are as good as the originals, or
the network is no better on held-out images, the solutions stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.images import to_bytes, to_images
from harness.observation import Observation, Pairing
from harness.plugins.attacks.common.rehearse import split
from harness.plugins.attacks.linking.solve import Solution
from harness.plugins.attacks.restoration.augmentation import augmented
from harness.plugins.attacks.restoration.finish import floats
from harness.plugins.attacks.restoration.loss import restoration_loss
from harness.plugins.attacks.restoration.measurement import SAMPLE, measure
from harness.plugins.attacks.restoration.training import INGREDIENTS, Batch, Restorer, fit, in_training
from harness.randomness import derive, numpy_generator
from harness.train.memo import memoised
from harness.types import Array, Bytes, Release

_PASSES = 3  # over one rehearsal
_BANK = 512  # rehearsed solutions to train on, about, where rehearsals are not repeated
_GOOD = 0.01  # L1 + 1 - SSIM below which nothing is restored
_CHUNK = 64

Solver = Callable[[Observation, Sequence[Release], Sequence[Pairing], int], Solution]
"""solver(observation, releases, pairings, originals): see attacks.linking.solve."""


@dataclass(frozen=True)
class Restoration:
    """How to restore solutions: by a trained network, or not at all (None); and the facts of its training."""

    restorer: Restorer | None
    report: dict[str, Any]

    def of(self, solution: Solution) -> Bytes:
        """The restored originals: (K, 3, H, W) uint8."""
        return self.restorer.restore(_planes(solution))[:, 0] if self.restorer else solution.bytes()


def learn_restoration(
    observation: Observation, solver: Solver, *, train_epochs: int, width: int, batch: int
) -> Restoration:
    """Train a network to restore the solutions of this solver.

    train_epochs, width, batch  of the network: see attacks.inversion
    """
    settings = solver.__name__, len(observation.releases), train_epochs, width, batch, in_training()

    def learn(key: bytes) -> Restoration:
        train_rows, judge_rows = split(observation.public, observation)
        held_out = _rehearsed(observation, solver, judge_rows, -1)
        before = _loss(held_out)
        if before < _GOOD:
            return Restoration(None, {"held_out_before": before})
        rehearsals = _Rehearsals(observation, solver, train_rows, key, INGREDIENTS.augmented)
        first = rehearsals.of(0)
        measurement = measure(observation, floats(first.inputs[:SAMPLE]), to_images(first.truths[:SAMPLE, 0]))
        if measurement is None:  # then rehearsals are random enough, and the network does not remember their images
            rehearsals = _Rehearsals(observation, solver, train_rows, key, varied=False)

        def rehearsed(done: int) -> Batch:
            if measurement is not None and not measurement.symmetric:
                return rehearsals.of(done)
            return _mirrored(rehearsals.of(done), numpy_generator(derive(key, "mirror", done)))

        restorer = fit(
            rehearsed,
            held_out,
            measurement=measurement,
            key=derive(key, "restorer"),
            device=observation.device,
            rounds=train_epochs,
            width=width,
            batch=batch,
        )
        helps = restorer.report["answers"] != "release"
        facts = {name: value for name, value in restorer.report.items() if name != "learned"}  # of this step alone
        return Restoration(restorer if helps else None, {"held_out_before": before, **facts})

    return memoised(observation, f"restoration {solver.__name__}", settings, learn)


class _Rehearsals:
    """Rehearsed solutions of public images: a new one every few passes, or a fixed number of them in turn.

    varied  whether the images are varied before each
    """

    def __init__(self, observation: Observation, solver: Solver, rows: Array, key: bytes, varied: bool):
        self._observation, self._solver, self._rows, self._key = observation, solver, rows, key
        self._varied, self._bank = varied, dict[int, Batch]()

    def of(self, done: int) -> Batch:
        """The data of the pass after so many."""
        fresh = INGREDIENTS.fresh
        number = done // _PASSES if fresh else done % max(1, -(-_BANK // len(self._rows)))
        if number not in self._bank:
            if fresh:
                self._bank.clear()  # frees the old one before the new one is made
            rng = numpy_generator(derive(self._key, "augmentation", number)) if self._varied else None
            self._bank[number] = _rehearsed(self._observation, self._solver, self._rows, number, rng)
        return self._bank[number]


def _rehearsed(
    observation: Observation, solver: Solver, rows: Array, number: int, rng: np.random.Generator | None = None
) -> Batch:
    """All T epochs on some public images, solved with their true pairing.

    number  counts the rehearsals
    rng     varies the images
    """
    images, labels = observation.public.images[torch.from_numpy(rows)], observation.public.labels[rows]
    if rng is not None:
        images = augmented(images, rng)
    own, epochs = images.to(observation.device), len(observation.releases)
    rehearsed = [observation.rehearse(own, labels, (number + 2) * epochs + epoch) for epoch in range(epochs)]
    pairings = [Pairing(secret.sources, secret.shares) for _, secret in rehearsed]
    solution = solver(observation, [release for release, _ in rehearsed], pairings, len(images))
    return Batch(_planes(solution), images[:, None], torch.ones(len(images), 1))


def _planes(solution: Solution) -> Tensor:
    return solution.planes if INGREDIENTS.floats else to_bytes(solution.planes.float())


def _mirrored(data: Batch, rng: np.random.Generator) -> Batch:
    """Half of the solved images mirrored, chosen at random: for defenses that treat both sides alike."""
    flip = torch.from_numpy(rng.random(len(data.inputs)) < 0.5)
    inputs = torch.where(flip.view(-1, 1, 1, 1), data.inputs.flip(-1), data.inputs)
    truths = torch.where(flip.view(-1, 1, 1, 1, 1), data.truths.flip(-1), data.truths)
    return Batch(inputs, truths, data.weights)


def _loss(data: Batch) -> float:
    """Mean loss of the solutions as they are."""
    parts: list[Tensor] = []
    for start in range(0, len(data.inputs), _CHUNK):
        some = slice(start, start + _CHUNK)
        pictures = floats(data.inputs[some, :3])[:, None]
        parts.append(restoration_loss(pictures, to_images(data.truths[some]), data.weights[some], True))
    return float(torch.cat(parts).mean())
