"""Training of a network that restores originals from releases, on an adversary's rehearsals.

The input is any stack of planes (a release, or a solution with its deviations), the output any number of images. The
loss is in loss.py, what is known in closed form in measurement.py. The weights that are evaluated and kept are a
running average of the trained ones (Polyak and Juditsky 1992), which makes a learning rate schedule unnecessary in a
training of unknown length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from harness.images import to_bytes, to_images
from harness.plugins.attacks.restoration.finish import AS_TRAINED, Finish, choose_finish, floats, restored
from harness.plugins.attacks.restoration.loss import dominated, restoration_loss
from harness.plugins.attacks.restoration.measurement import MeasuredUNet, Measurement
from harness.plugins.attacks.restoration.unet import UNet
from harness.randomness import derive, numpy_generator
from harness.release import empty
from harness.system.device import low_precision
from harness.train import autocast, seeded
from harness.train.convergence import below, compared_with_constant, follow_until_flat, must_be_finite
from harness.types import Array, Bytes

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]

MOST_PICTURES = 3
"""All assignments of so many images to sources are tried; of more sources only the dominant one is restored."""

_RATE = 1e-3
_SHARE_RATE = 10  # times the rate: from 1 to 0 in a tenth of the least steps
_AVERAGED = 0.995  # decay of the running average, once there were enough steps
_CLIP = 0.1  # largest norm of a step's gradient: on graft_mix 1,250 steps then reach what 1,500 reached with 1
_CHUNK = 32
_NEAR = 0.02  # of a constant guess's loss: how near an input is to the originals where nothing is left to restore


@dataclass
class Ingredients:
    """What a restoration has beside its network. All are on; an ablation switches them off one by one.

    floats      solutions are floats, not rounded to bytes
    estimates   linear estimates of least squared error beside the input (measurement.py)
    corrected   restored images are corrected towards what was measured, where that helps (finish.py)
    fresh       rehearsals are repeated during the training
    augmented   the adversary's images are varied before each rehearsal (augmentation.py)
    mirrored    the mean of a restored image and of its restored mirror image, where that helps (finish.py)
    """

    floats: bool = True
    estimates: bool = True
    corrected: bool = True
    fresh: bool = True
    augmented: bool = True
    mirrored: bool = True


INGREDIENTS = Ingredients()


def in_training() -> tuple[bool, ...]:
    """The ingredients that a trained network depends on: all but those that come after it."""
    return astuple(replace(INGREDIENTS, corrected=True, mirrored=True))


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
    report  `answers` says what it restores with: the network, the first three planes of the input as they are
            (release), or one image for all (constant), where these are better on held-out images
    constant  (3, H, W) the best constant guess
    finish    what a network's images are finished with
    measurement  what an input holds exactly, if anything
    """

    network: nn.Module
    images: int
    device: str
    report: Mapping[str, Any]
    constant: Tensor
    finish: Finish = AS_TRAINED
    measurement: Measurement | None = None

    @torch.no_grad()
    def restore(self, inputs: Tensor) -> Bytes:
        """(n, C, H, W) as in training -> (n, k, 3, H, W) uint8, a few dozen at a time."""
        answers = empty((len(inputs), self.images, 3, *inputs.shape[2:]), self.device)
        for rows in _chunks(len(inputs)):
            answers[rows] = to_bytes(self._answer(inputs[rows]))
        return answers

    @torch.no_grad()
    def with_finish(self, held_out: Batch, measurement: Measurement | None) -> Restorer:
        """With the finish that is best on held-out data; what was measured of a mixture corrects no single source."""
        known, chunks = measurement if self.images == 1 else None, _chunks(len(held_out.inputs))
        finish, facts = choose_finish(self._network, held_out.inputs, held_out.truths, chunks, known)
        return replace(self, finish=finish, measurement=known, report={**self.report, **facts})

    def _network(self, inputs: Tensor) -> Tensor:
        return _forward(self.network, inputs, self.device)

    def _answer(self, inputs: Tensor) -> Tensor:
        """(n, k, 3, H, W) float32."""
        if self.report["answers"] == "network":
            strength = self.finish.strength if INGREDIENTS.corrected else 0.0
            finish = Finish(self.finish.mirrored and INGREDIENTS.mirrored, strength)
            return restored(self._network, inputs, finish, self.measurement)
        as_is = self.report["answers"] == "release"
        one = floats(inputs[:, :3].to(self.device)) if as_is else self.constant.expand(len(inputs), -1, -1, -1)
        return one[:, None].expand(-1, self.images, -1, -1, -1)


def fit(
    rehearsed: Callable[[int], Batch],
    held_out: Batch,
    *,
    key: bytes,
    device: str,
    rounds: int,
    width: int,
    batch: int,
    measurement: Measurement | None = None,
) -> Restorer:
    """Train on rehearsed(0), rehearsed(1), ... until the loss on the held-out data is flat (harness.train.convergence).

    NotConverged where the loss is not flat in time, not finite, or significantly above that of the best constant guess:
    the mean or the pixelwise median of the originals of round 0. Where it is not significantly below it, or below that
    of the input as it is, nothing was learned (`learned` in the report): the better of these two is then answered.

    rehearsed  rehearsed(round) -> the data of one round
    rounds     to train, at least
    width      channels of the network's finest level
    batch      inputs per step
    measurement  what an input holds exactly, if anything
    """
    with seeded(key, device):
        constant, constant_losses = best_constant(rehearsed(0).truths, held_out, device)
        as_is = _losses_of(held_out, device, dominated(held_out.weights))
        # where the input is nearer to the originals, the share's large steps would only shake it
        blended = float(as_is.mean()) > float(constant_losses.mean())
        trainer = _Trainer(held_out, key, device, width, batch, constant, blended, measurement)
        untrained = trainer.loss(held_out)
        report = follow_until_flat(
            trainer,
            lambda done: trainer.learn(rehearsed(done)),
            lambda: trainer.loss(held_out),
            rounds=rounds,
            guess=float(constant_losses.mean()),
        )
    own, units = trainer.losses(held_out), image_numbers(held_out.truths[:, 0])
    facts = {"untrained_loss": untrained, **report, **_verdict(own, constant_losses, as_is, units)}
    restorer = Restorer(trainer.model.eval(), trainer.images, device, facts, constant)
    return restorer.with_finish(held_out, measurement) if facts["answers"] == "network" else restorer


def _verdict(losses: Tensor, constant: Tensor, as_is: Tensor, units: Array) -> dict[str, Any]:
    """Whether anything was learned, and what is the best answer; (n,) losses of the three on held-out data."""
    own, guess, release = (part.double().cpu().numpy() for part in (losses, constant, as_is))
    facts = compared_with_constant(own, guess, units)
    if release.mean() > _NEAR * guess.mean():  # else there is nothing to restore, and so nothing to be learned
        facts["learned"] &= below(own, release, units)
    means = {"network": own.mean(), "release": release.mean(), "constant": guess.mean()}
    if not facts["learned"]:
        del means["network"]
    return {**facts, "release_loss": float(release.mean()), "answers": min(means, key=lambda name: means[name])}


class _Trainer:
    """A U-Net in training, and the running average of its weights (`model`)."""

    def __init__(
        self,
        example: Batch,
        key: bytes,
        device: str,
        width: int,
        batch: int,
        constant: Tensor,
        blended: bool,
        measurement: Measurement | None,
    ):
        self.images, self.device, self.batch, self.steps = example.truths.shape[1], device, batch, 0
        self.ordered = dominated(example.weights)
        estimating = measurement if INGREDIENTS.estimates else None
        planes = example.inputs.shape[1] + (0 if estimating is None else estimating.planes)
        network = UNet(planes, self.images, width, constant=constant)
        whole = MeasuredUNet(network, estimating).to(device)
        self._network: nn.Module = whole.to(memory_format=torch.channels_last)
        self._averaged = AveragedModel(self._network, multi_avg_fn=self._average)
        self.model: nn.Module = self._averaged.module
        network.share.requires_grad_(blended)
        others = [weights for weights in network.parameters() if weights is not network.share]
        groups: list[dict[str, Any]] = [{"params": others}, {"params": [network.share], "lr": _SHARE_RATE * _RATE}]
        self._optimizer = torch.optim.Adam(groups, _RATE, fused=True)
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

    def loss(self, data: Batch) -> float:
        """Mean loss of the averaged network on the data."""
        return float(self.losses(data).mean())

    @torch.no_grad()
    def losses(self, data: Batch) -> Tensor:
        """(n,) loss of the averaged network on each input."""
        parts = [
            _batch_loss(self.model, Batch(*(part[rows] for part in data)), self.device, self.ordered)
            for rows in _chunks(len(data.inputs))
        ]
        return torch.cat(parts)

    def state(self) -> dict[str, Tensor]:
        """A copy of the averaged weights."""
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}


def _batch_loss(network: nn.Module, data: Batch, device: str, ordered: bool) -> Tensor:
    """(n,) loss of each input."""
    truths, weights = to_images(data.truths.to(device)), data.weights.to(device, torch.float32)
    return restoration_loss(_forward(network, data.inputs, device), truths, weights, ordered)


def _forward(network: nn.Module, inputs: Tensor, device: str) -> Tensor:
    """(n, k, 3, H, W) float32 restored images, not clipped."""
    with autocast(device, low_precision(device)):
        pictures: Tensor = network(floats(inputs.to(device, non_blocking=True)))
    return pictures


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, count, _CHUNK))


def best_constant(own: Bytes, held_out: Batch, device: str) -> tuple[Tensor, Tensor]:
    """(3, H, W) the constant guess with the least mean loss on the held-out data, and its (n,) losses.

    own  (m, k, 3, H, W) uint8 originals to take the mean and the pixelwise median of: not the held-out ones
    """
    dominant, ordered = own[:, 0].to(device), dominated(held_out.weights)
    guesses = [_mean(dominant, device), to_images(dominant.median(0).values)]
    losses = [_losses_of(held_out, device, ordered, guess) for guess in guesses]
    best = int(torch.stack(losses).mean(1).argmin())
    return guesses[best], losses[best]


@torch.no_grad()
def _losses_of(data: Batch, device: str, ordered: bool, guess: Tensor | None = None) -> Tensor:
    """(n,) loss of one guess (3, H, W) for every source of every input; None: the input's first three planes."""
    parts = []
    for rows in _chunks(len(data.truths)):
        truths = to_images(data.truths[rows].to(device))
        one = floats(data.inputs[rows, :3].to(device))[:, None] if guess is None else guess
        parts.append(restoration_loss(one.expand_as(truths), truths, data.weights[rows].to(device), ordered))
    return torch.cat(parts)


def image_numbers(images: Bytes) -> Array:
    """(n,) a number for every distinct picture of (n, 3, H, W) images; a mirrored picture is the same one."""
    pairs = ((image.numpy().tobytes(), image.flip(-1).numpy().tobytes()) for image in images.cpu())
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(min(pair), len(numbers)) for pair in pairs])


def _mean(images: Bytes, device: str) -> Tensor:
    total = torch.zeros(images.shape[1:], device=device)
    for rows in _chunks(len(images)):
        total += to_images(images[rows].to(device)).sum(0)
    return total / len(images)
