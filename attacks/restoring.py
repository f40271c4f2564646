"""What regression leaves of an image, undone: noise, blur, cells, the order inside blocks.

The adversary rehearses all T epochs on its own images, solves them with the pairing that it knows there, and trains a
network from the solutions to the originals (attacks.restorer). Where the solutions are as good as the originals, or the
network does no better on held-out images than leaving them alone, they are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attacks.inversion import split
from attacks.pixels import Solution, solve
from attacks.restorer import Lesson, fit, restoration_loss
from harness.images import to_images
from harness.observation import Observation, Pairing
from harness.randomness import derive, numpy_generator
from harness.types import Array, Bytes

_BANK = 512  # rehearsed solutions to learn from, about
_GOOD = 0.01  # L1 + 1 - SSIM that needs no restoring
_CHUNK = 64


@dataclass(frozen=True)
class Restored:
    """(K, 3, H, W) uint8, and the facts for the record."""

    images: Bytes
    report: dict[str, Any]


def restore(
    observation: Observation, solution: Solution, key: bytes, *, train_epochs: int, width: int, batch: int
) -> Restored:
    """The solutions of the linked releases, restored.

    train_epochs, width, batch  of the network: see attacks.inversion
    """
    public = observation.public
    learning, judging = split(public, observation, numpy_generator(derive(key, "split")))
    held_out = _rehearsed(observation, judging, -1)
    before = _loss(held_out)
    report: dict[str, Any] = {"held_out_before": before}
    if before < _GOOD:
        return Restored(solution.images, {**report, "restored": False})
    rounds = max(1, -(-_BANK // len(learning)))
    bank = [_rehearsed(observation, learning, number) for number in range(rounds)]

    def lesson(done: int) -> Lesson:
        return _mirrored(bank[done % rounds], numpy_generator(derive(key, "mirror", done)))

    restorer = fit(
        lesson,
        held_out,
        key=derive(key, "restorer"),
        device=observation.device,
        rounds=train_epochs,
        width=width,
        batch=batch,
    )
    report |= {**restorer.report, "restored": restorer.report["held_out_loss"] < before}
    if not report["restored"]:
        return Restored(solution.images, report)
    return Restored(restorer.restore(solution.planes())[:, 0], report)


def _rehearsed(observation: Observation, rows: Array, number: int) -> Lesson:
    """All T epochs on some of the adversary's images, solved with their true pairing."""
    images, labels = observation.public.images[torch.from_numpy(rows)], observation.public.labels[rows]
    epochs = len(observation.releases)
    releases, pairings = [], []
    for epoch in range(epochs):
        release, secret = observation.rehearse(images.to(observation.device), labels, (number + 2) * epochs + epoch)
        releases.append(release)
        pairings.append(Pairing(secret.sources, secret.shares))
    solution = solve(observation, releases, pairings, len(images))
    return Lesson(solution.planes(), images[:, None], torch.ones(len(images), 1))


def _mirrored(lesson: Lesson, rng: np.random.Generator) -> Lesson:
    flip = torch.from_numpy(rng.random(len(lesson.inputs)) < 0.5)
    inputs = torch.where(flip.view(-1, 1, 1, 1), lesson.inputs.flip(-1), lesson.inputs)
    truths = torch.where(flip.view(-1, 1, 1, 1, 1), lesson.truths.flip(-1), lesson.truths)
    return Lesson(inputs, truths, lesson.weights)


def _loss(lesson: Lesson) -> float:
    """Of leaving the solutions as they are."""
    parts: list[Tensor] = []
    for start in range(0, len(lesson.inputs), _CHUNK):
        some = slice(start, start + _CHUNK)
        pictures = to_images(lesson.inputs[some, :3])[:, None]
        parts.append(restoration_loss(pictures, to_images(lesson.truths[some]), lesson.weights[some], True))
    return float(torch.cat(parts).mean())
