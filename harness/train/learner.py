"""Training of a classifier: recipes, seeds, and a learner that trains, predicts and augments.

Images stay uint8 on the device until their batch is due; bf16 where the device is faster with it, channels last, the
loss summed on the device without a synchronisation per step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from harness.errors import HarnessError
from harness.images import to_images
from harness.randomness import derive, numpy_generator, torch_generator
from harness.system.device import low_precision
from harness.train.convergence import LEAST_STEPS, follow_until_flat, must_be_finite
from harness.types import Array, Bytes, Labels, Release


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    rate      learning rate, at its highest
    batch     images per step; None: as large as at least 1,000 steps allow, 16 to 128
    balanced  batches with the classes in equal number
    decay     "cosine" (to zero, after a warm-up of 5 %) or "constant"
    flip      mirror half of the images
    shift     move a batch by up to this share of its side, at random; the border is reflected
    clip      largest norm of a step's gradient; 0: unbounded
    """

    optimizer: str
    rate: float
    batch: int | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0
    balanced: bool = False
    decay: str = "constant"
    flip: bool = False
    shift: float = 0.0
    clip: float = 0.0

    def settings(self) -> dict[str, Any]:
        """The fields, for the record."""
        return asdict(self)


RECIPES = {
    "default": Recipe("adam", 1e-3, decay="cosine", flip=True),
    "paper": Recipe("adam", 1e-3, batch=200, balanced=True),  # Raynal et al. 2020, section 5.1
}


def recipe_named(name: str) -> Recipe:
    """One of RECIPES; HarnessError where there is none of this name."""
    if name not in RECIPES:
        raise HarnessError(f"no recipe called {name!r}; use {' or '.join(RECIPES)}")
    return RECIPES[name]


def batch_for(images: int, epochs: int, recipe: Recipe) -> int:
    """Images per step: the recipe's, or the largest power of two that still gives 1,000 steps, 16 to 128."""
    if recipe.batch:
        return min(recipe.batch, images)
    wanted = max(images * epochs // LEAST_STEPS, 1)
    power = 1 << (wanted.bit_length() - 1)
    return min(max(power, 16), 128, images)


def steps_per_epoch(images: int, batch: int) -> int:
    """Whole batches, and a last one of at least half the size."""
    return images // batch + (images % batch * 2 >= batch)


@dataclass(frozen=True)
class TrainingTask:
    """What utility trains on and is evaluated with.

    release(epoch)  that epoch's release of the whole set, freshly obfuscated
    test_images     (N, 3, H, W) uint8, never obfuscated
    test_labels     (N,) their classes
    key             root of its random generators
    network         (classes, (height, width)) -> the network to train, of one's own; None: the evaluator's
    """

    release: Callable[[int], Release]
    test_images: Bytes
    test_labels: Array
    classes: int
    epochs: int
    key: bytes
    device: str
    network: Callable[[int, tuple[int, int]], nn.Module] | None = None


@contextlib.contextmanager
def seeded(key: bytes, device: str) -> Iterator[None]:
    """Seed torch's own generators (initial weights, dropout) inside the block, and restore them after it."""
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.default_generator.set_state(torch_generator(derive(key, "torch"), "cpu").get_state())
        if device.startswith("cuda"):
            with torch.cuda.device(device):
                torch.cuda.manual_seed(int.from_bytes(derive(key, "cuda")[:7], "little"))
        yield


class Learner:
    """A classifier in training.

    batch        images per step
    key          root of its random generators
    total_steps  length of the training, for a recipe whose rate decays
    """

    def __init__(self, model: nn.Module, recipe: Recipe, batch: int, key: bytes, device: str, total_steps: int = 0):
        self.model = model.to(device=device).to(memory_format=torch.channels_last)
        self.recipe, self.batch, self.device = recipe, batch, device
        self.rng = numpy_generator(derive(key, "batches"))
        self.steps, self._total = 0, total_steps
        self.precision = low_precision(device)
        self.optimizer = _optimizer(self.model, recipe)

    def epoch(self, images: Bytes, labels: Labels) -> float:
        """One pass over (N, 3, H, W) uint8 images; returns the mean loss. NotConverged where it is not finite."""
        self.model.train()
        labels = labels.to(self.device)
        total = torch.zeros((), device=self.device)
        batches = self._batches(labels)
        mirrored = torch.from_numpy(self.rng.random(len(labels)) < 0.5).to(self.device)
        for rows in batches:
            total += self._step(images[rows.to(images.device)], labels[rows], mirrored[rows])
        return must_be_finite(float(total) / len(batches), self.steps)

    def _step(self, stored: Bytes, labels: Labels, mirrored: torch.Tensor) -> torch.Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        images = self._augment(prepare(stored, self.device), mirrored)
        with self._autocast():
            loss = functional.cross_entropy(self.model(images).float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.steps += 1
        return loss.detach()

    def _augment(self, images: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        if self.recipe.flip:
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
        if self.recipe.shift:
            height, width = images.shape[2:]
            reach = round(self.recipe.shift * min(height, width))
            top, left = self.rng.integers(0, 2 * reach + 1, 2)
            padded = functional.pad(images, (reach, reach, reach, reach), mode="reflect")
            images = padded[:, :, top : top + height, left : left + width]
        return images.contiguous(memory_format=torch.channels_last)

    def _rate(self) -> float:
        if self.recipe.decay == "constant":
            return self.recipe.rate
        warm = max(1, self._total // 20)
        if self.steps < warm:
            return self.recipe.rate * (self.steps + 1) / warm
        done = min(1.0, (self.steps - warm) / max(1, self._total - warm))
        return self.recipe.rate * 0.5 * (1 + float(np.cos(np.pi * done)))

    def _batches(self, labels: Labels) -> Sequence[torch.Tensor]:
        """Rows of each batch. A last batch of less than half the size is left out: batch norm suffers from it."""
        if self.recipe.balanced:
            return torch.from_numpy(self._balanced(_hard(labels).cpu().numpy())).to(self.device).unbind()
        order = torch.from_numpy(self.rng.permutation(len(labels))).to(self.device)
        return torch.split(order, self.batch)[: steps_per_epoch(len(labels), self.batch)]

    def _balanced(self, labels: Array) -> Array:
        """(batches, rows) with every class equally often."""
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        each = max(1, self.batch // len(groups))
        count = max(1, len(labels) // (each * len(groups)))
        drawn = [np.resize(self.rng.permutation(group), (count, each)) for group in groups]
        shuffled: Array = self.rng.permuted(np.concatenate(drawn, 1), axis=1)
        return shuffled

    @contextlib.contextmanager
    def _autocast(self) -> Iterator[None]:
        with autocast(self.device, self.precision):
            yield

    @torch.no_grad()
    def predict(self, images: Bytes, batch: int = 256) -> torch.Tensor:
        """(N, K) float32 class probabilities on the CPU; changes no weights and no statistics."""
        self.model.eval()
        parts = []
        for start in range(0, len(images), batch):
            with self._autocast():
                logits = self.model(prepare(images[start : start + batch], self.device))
            parts.append(logits.float().softmax(1).cpu())
        return torch.cat(parts)

    def loss(self, images: Bytes, labels: Labels) -> float:
        """Mean cross-entropy of the predictions, in nats."""
        scores = self.predict(images).clamp_(min=1e-7).log_()
        return float(functional.nll_loss(scores, labels) if labels.ndim == 1 else -(labels * scores).sum(1).mean())

    def state(self) -> dict[str, torch.Tensor]:
        """A copy of the weights."""
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}


_MOST_MOVED = 0.05  # probability: far above bf16's rounding, far below dropout's noise and another batch's statistics
_COMPARED = 256  # images


def require_evaluation_mode(learner: Learner, images: Bytes, predicted: torch.Tensor) -> None:
    """HarnessError where predictions depend on the other images of their batch, or on chance.

    So does a network that is evaluated in training mode: it draws dropout anew and normalises by the batch at hand.
    Accuracy does not show it: statistics of clean test images may even raise it. At most 256 images are predicted
    again, in reverse order and smaller batches; no probability may move by more than .05.

    images     (N, 3, H, W) uint8
    predicted  (N, K) what `learner.predict` said of them
    """
    count = min(len(images), _COMPARED)
    again = learner.predict(images[:count].flip(0), max(2, count // 3)).flip(0)
    moved = float((again - predicted[:count]).abs().max())
    if not moved <= _MOST_MOVED:
        raise HarnessError(
            f"evaluation: a class probability moved by {moved:.2f} with the images predicted beside it; put the "
            "network in eval mode, and use no layer that mixes the images of a batch"
        )


def prepare(stored: Bytes, device: str) -> torch.Tensor:
    """(N, C, H, W) uint8 -> float32 in [-2, 2] on the device, channels last."""
    images = to_images(stored.to(device, non_blocking=True)).sub_(0.5).mul_(4.0)
    return images.contiguous(memory_format=torch.channels_last)


def autocast(device: str, precision: Any) -> Any:
    """torch.autocast in this precision; None: disabled."""
    return torch.autocast(device.split(":")[0], precision or torch.bfloat16, enabled=precision is not None)


def fit_until_flat(
    learner: Learner,
    fresh: Callable[[int], tuple[Bytes, Labels]],
    held_out: tuple[Bytes, Labels],
    *,
    rounds: int,
    classes: int,
) -> dict[str, Any]:
    """Train on fresh(0), fresh(1), ... until the loss on held-out images is flat (see harness.train.convergence).

    The loss of a constant guess is log(classes). Returns the facts for the record; raises NotConverged.

    fresh     fresh(round) -> images (N, C, H, W) uint8 and labels
    held_out  images and labels that the loss is measured on
    rounds    to train, at least
    """
    return follow_until_flat(
        learner,
        lambda done: learner.epoch(*fresh(done)),
        lambda: learner.loss(*held_out),
        rounds=rounds,
        guess=float(np.log(classes)),
    )


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = model.parameters()
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, recipe.rate, recipe.momentum, weight_decay=recipe.weight_decay, fused=True)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, recipe.rate, weight_decay=recipe.weight_decay, fused=True)
    return torch.optim.Adam(parameters, recipe.rate, weight_decay=recipe.weight_decay, fused=True)


def _hard(labels: Labels) -> torch.Tensor:
    return labels if labels.ndim == 1 else labels.argmax(1)


def hits(scores: torch.Tensor, labels: Array) -> Array:
    """(N,) whether the highest positive score is at the label; a row without a positive score is never a hit."""
    best = scores.max(1)
    answered = (best.values > 0).numpy()
    correct: Array = answered & (best.indices.numpy() == labels)
    return correct
