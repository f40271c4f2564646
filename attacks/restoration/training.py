"""Training of a network that restores originals from releases, on an adversary's rehearsals.

The input is any stack of planes (a release, or estimates with their deviations), the output any number of images. The
loss is in loss.py. The weights that are evaluated and kept are a running average of the trained ones (Polyak and
Juditsky 1992), which makes a learning rate schedule unnecessary in a training of unknown length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from harness.images import to_bytes, to_images
from harness.plugins.attacks.restoration.loss import dominated, restoration_loss
from harness.plugins.attacks.restoration.unet import UNet
from harness.randomness import derive, numpy_generator
from harness.release import empty
from harness.system.device import low_precision
from harness.train import autocast, seeded
from harness.train.convergence import follow_until_flat, must_be_finite
from harness.types import Bytes

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]

MOST_PICTURES = 3
"""All assignments of so many images to sources are tried; of more sources only the dominant one is restored."""

_RATE = 1e-3
_AVERAGED = 0.995  # decay of the running average, once there were enough steps
_CLIP = 0.1  # largest norm of a step's gradient: on graft_mix 1,250 steps then reach what 1,500 reached with 1
_CHUNK = 32


class Batch(NamedTuple):
    """Rehearsed inputs and their originals.

    inputs   (n, C, H, W) float in [0, 1], or uint8; the first three planes are the image to restore
    truths   (n, k, 3, H, W) uint8 originals, the dominant one first; k up to MOST_PICTURES
    weights  (n, k) float, how much each original counts, its share for example
    """

    inputs: Tensor
    truths: Bytes
    weights: Tensor


@dataclass(frozen=True)
class Restorer:
    """A trained network and the facts of its training.

    images  number of images that it restores from one input
    """

    network: nn.Module
    images: int
    device: str
    report: Mapping[str, Any]

    @torch.no_grad()
    def restore(self, inputs: Tensor) -> Bytes:
        """(n, C, H, W) as in training -> (n, k, 3, H, W) uint8, a few dozen at a time."""
        restored = empty((len(inputs), self.images, 3, *inputs.shape[2:]), self.device)
        for rows in _chunks(len(inputs)):
            restored[rows] = to_bytes(_forward(self.network, inputs[rows], self.images, self.device))
        return restored


def fit(
    rehearsed: Callable[[int], Batch],
    held_out: Batch,
    *,
    key: bytes,
    device: str,
    rounds: int,
    width: int,
    batch: int,
) -> Restorer:
    """Train on rehearsed(0), rehearsed(1), ... until the loss on the held-out data is flat (harness.train.convergence).

    NotConverged where the loss is not flat in time, or not finite.

    rehearsed  rehearsed(round) -> the data of one round
    rounds     to train, at least
    width      channels of the network's finest level
    batch      inputs per step
    """
    with seeded(key, device):
        trainer = _Trainer(held_out, key, device, width, batch)
        guess, untrained = guess_loss(held_out, device, trainer.ordered), trainer.loss(held_out)
        report = follow_until_flat(
            trainer,
            lambda done: trainer.learn(rehearsed(done)),
            lambda: trainer.loss(held_out),
            rounds=rounds,
            guess=guess,
        )
    facts = {"guess_loss": guess, "untrained_loss": untrained, **report}
    return Restorer(trainer.model.eval(), trainer.images, device, facts)


class _Trainer:
    """A U-Net in training, and the running average of its weights (`model`)."""

    def __init__(self, example: Batch, key: bytes, device: str, width: int, batch: int):
        self.images, self.device, self.batch, self.steps = example.truths.shape[1], device, batch, 0
        self.ordered = dominated(example.weights)
        network = UNet(example.inputs.shape[1], self.images, width).to(device)
        self._network: nn.Module = network.to(memory_format=torch.channels_last)
        self._averaged = AveragedModel(self._network, multi_avg_fn=self._average)
        self.model: nn.Module = self._averaged.module
        self._optimizer = torch.optim.Adam(self._network.parameters(), _RATE, fused=True)
        self._rng = numpy_generator(derive(key, "batches"))

    def learn(self, data: Batch) -> float:
        """One pass over the data; returns the mean loss. A last batch of less than half the size is left out."""
        order = torch.from_numpy(self._rng.permutation(len(data.inputs)))
        batches = [rows for rows in order.split(self.batch) if 2 * len(rows) >= min(self.batch, len(order))]
        total = torch.zeros((), device=self.device)
        for rows in batches:
            total += self._step(*(part[rows.to(part.device)] for part in data))
        return must_be_finite(float(total) / len(batches), self.steps)

    def _step(self, inputs: Tensor, truths: Bytes, weights: Tensor) -> Tensor:
        loss = _batch_loss(self._network, Batch(inputs, truths, weights), self.device, self.ordered).mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), _CLIP)
        self._optimizer.step()
        self.steps += 1
        self._averaged.update_parameters(self._network)
        return loss.detach()

    def _average(self, averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        get_ema_multi_avg_fn(min(_AVERAGED, self.steps / (self.steps + 9)))(averaged, current, count)

    @torch.no_grad()
    def loss(self, data: Batch) -> float:
        """Mean loss of the averaged network on the data."""
        parts = [
            _batch_loss(self.model, Batch(*(part[rows] for part in data)), self.device, self.ordered)
            for rows in _chunks(len(data.inputs))
        ]
        return float(torch.cat(parts).mean())

    def state(self) -> dict[str, Tensor]:
        """A copy of the averaged weights."""
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}


def _batch_loss(network: nn.Module, data: Batch, device: str, ordered: bool) -> Tensor:
    """(n,) loss of each input."""
    truths, weights = to_images(data.truths.to(device)), data.weights.to(device, torch.float32)
    return restoration_loss(_forward(network, data.inputs, truths.shape[1], device), truths, weights, ordered)


def _forward(network: nn.Module, inputs: Tensor, images: int, device: str) -> Tensor:
    """(n, k, 3, H, W) float32 restored images, not clipped."""
    planes = _floats(inputs.to(device, non_blocking=True)).contiguous(memory_format=torch.channels_last)
    with autocast(device, low_precision(device)):
        restored = network(planes)
    pictures: Tensor = restored.float().unflatten(1, (images, 3))
    return pictures


def _floats(planes: Tensor) -> Tensor:
    return to_images(planes) if planes.dtype == torch.uint8 else planes.float()


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, count, _CHUNK))


def guess_loss(data: Batch, device: str, ordered: bool) -> float:
    """The loss of a constant guess: the mean original of the data, for every source."""
    mean = torch.stack([_mean(data.truths[:, i], device) for i in range(data.truths.shape[1])]).mean(0)
    parts = []
    for rows in _chunks(len(data.truths)):
        truths = to_images(data.truths[rows].to(device))
        parts.append(restoration_loss(mean.expand_as(truths), truths, data.weights[rows].to(device), ordered))
    return float(torch.cat(parts).mean())


def _mean(images: Bytes, device: str) -> Tensor:
    total = torch.zeros(images.shape[1:], device=device)
    for rows in _chunks(len(images)):
        total += to_images(images[rows].to(device)).sum(0)
    return total / len(images)
