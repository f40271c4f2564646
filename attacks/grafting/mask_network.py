"""A network of some thousand parameters that classifies pixels as unmixed or mixed, trained on rehearsals.

Its input is the 15 x 15 pixels around a pixel, and their differences to a 3x3 median.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor, nn

from harness.errors import HarnessError, Inapplicable
from harness.images import to_images
from harness.observation import Observation
from harness.plugins.attacks.grafting.masks_em import CHUNK, median
from harness.randomness import derive, numpy_generator
from harness.train import seeded
from harness.train.convergence import compared_with_constant
from harness.types import Array, Bytes, Images, Secret

_WIDTH = 16  # channels
_CROP, _BATCH = 32, 8  # pixels a side, and crops per step
_FRESH = 50  # steps on one rehearsal
_RATE = 5e-3
_HELD_OUT = 5  # one public image in five is held out


class MaskNetwork(nn.Module):
    """(N, 3, H, W) releases and their 3x3 medians -> (N, 1 or 3, H, W) log odds of being unmixed."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        reaches = (1, 2, 3)
        layers: list[nn.Module] = [nn.Conv2d(6, _WIDTH, 3, padding=1), nn.ReLU()]
        for reach in reaches:
            layers += [nn.Conv2d(_WIDTH, _WIDTH, 3, padding=reach, dilation=reach), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(_WIDTH, outputs, 1))

    def forward(self, images: Images, medians: Images) -> Tensor:
        odds: Tensor = self.layers(torch.cat([images - 0.5, 4 * (images - medians)], 1))
        return odds


def trained(
    observation: Observation, key: bytes, *, p: float, per: str, steps: int
) -> tuple[Callable[[Images], Tensor], dict[str, Any]]:
    """A function from images (N, 3, H, W) to the probability of every pixel to be unmixed; and the facts of training.

    Where it classifies no more of the held-out pixels rightly than the best constant answer, nothing was learned and p
    is answered for all; NotConverged where it classifies significantly fewer (harness.train.convergence).

    p      share of unmixed pixels
    per    "pixel" or "channel": whether a pixel's three channels are grafted together
    steps  of training
    """
    if steps < 1:
        raise HarnessError(f"interpolation_learned: steps {steps} train nothing; use 1,000 or so")
    fit, judge = _split(observation, numpy_generator(derive(key, "split")))
    outputs, device = 3 if per == "channel" else 1, observation.device
    with seeded(key, device):
        network = MaskNetwork(outputs).to(device)
    optimizer = torch.optim.Adam(network.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    losses = []
    for images, medians, kept in _crops(observation, fit, outputs, steps, numpy_generator(derive(key, "crops"))):
        loss = F.binary_cross_entropy_with_logits(network(images, medians), kept)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())

    @torch.no_grad()
    def belief(images: Images) -> Tensor:
        return torch.sigmoid(network(images, median(images, 3)))

    figures = _evaluated(belief, *_rehearsed(observation, judge, -1, outputs))
    last = float(torch.stack(losses[-max(1, steps // 10) :]).mean())
    parameters = sum(weights.numel() for weights in network.parameters())
    facts = {"steps": steps, "parameters": parameters, "train_loss": last, **figures}
    if not figures["learned"]:
        return lambda images: torch.full_like(images[:, :outputs], p), facts
    return belief, facts


def _split(observation: Observation, rng: np.random.Generator) -> tuple[Array, Array]:
    """Public rows to train on and held-out rows, in every class; enough of each class where mixtures stay within it."""
    labels = observation.public.labels
    least = observation.sources if observation.defense.mixing["intra_class"] else 1
    fit, judge = [], []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        held = max(least, len(rows) // _HELD_OUT)
        judge.append(rows[:held])
        fit.append(rows[held:])
    if not fit or min(map(len, fit)) < least or min(sum(map(len, part)) for part in (fit, judge)) < observation.sources:
        raise Inapplicable(f"{len(labels)} public images are too few to learn from and to judge by")
    return np.concatenate(fit), np.concatenate(judge)


def _rehearsed(observation: Observation, rows: Array, epoch: int, outputs: int) -> tuple[Bytes, Tensor]:
    """A rehearsed release, and (n, 1 or 3, H, W) bool where it equals its dominant original."""
    public = observation.public
    images = public.images[torch.from_numpy(rows)].to(observation.device)
    release, secret = observation.rehearse(images, public.labels[rows], epoch)
    return release.images, _equal(release.images, images, secret, outputs)


def _equal(released: Bytes, originals: Bytes, secret: Secret, outputs: int) -> Tensor:
    dominant = originals[torch.from_numpy(secret.dominant_rows).to(originals.device)]
    # Originals are whole grey levels, which rounding leaves as they are: an unmixed value is equal, not merely near.
    same = released == dominant
    return same if outputs == 3 else same.all(1, keepdim=True)


def _crops(
    observation: Observation, rows: Array, outputs: int, steps: int, rng: np.random.Generator
) -> Iterator[tuple[Images, Images, Tensor]]:
    """Batches of crops, a fresh rehearsal every so many steps."""
    height, width = observation.images.shape[2:]
    tall, wide = min(_CROP, height), min(_CROP, width)
    for step in range(steps):
        if step % _FRESH == 0:
            drawn = rows if observation.defense.mixing["intra_class"] else rng.permutation(rows)[: _FRESH * _BATCH]
            released, kept = _rehearsed(observation, drawn, step // _FRESH, outputs)
        chosen = torch.from_numpy(rng.integers(len(released), size=_BATCH)).to(released.device)
        top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
        window = (slice(None), slice(None), slice(top, top + tall), slice(left, left + wide))
        images = to_images(released[chosen][window])
        yield images, median(images, 3), kept[chosen][window].float()


def _evaluated(belief: Callable[[Images], Tensor], released: Bytes, kept: Tensor) -> dict[str, Any]:
    """Accuracy on held-out pixels, that of the better constant answer, whether it is learned, and the precision."""
    wrong, positive, true = [], 0, 0
    for start in range(0, len(released), CHUNK):
        truth = kept[start : start + CHUNK]
        answer = belief(to_images(released[start : start + CHUNK])) >= 0.5
        wrong.append((answer != truth).flatten(1).double().mean(1))
        positive += int(answer.sum())
        true += int((answer & truth).sum())
    errors, mixed = torch.cat(wrong).cpu().numpy(), 1 - kept.flatten(1).double().mean(1).cpu().numpy()
    constant = min(mixed, 1 - mixed, key=lambda shares: float(shares.mean()))
    learned = compared_with_constant(errors, constant)
    return {
        "learned": learned["learned"] or not constant.any(),  # else there is nothing to be learned
        "held_out_accuracy": 1 - float(errors.mean()),
        "held_out_chance": 1 - float(constant.mean()),
        "held_out_precision": true / max(positive, 1),
        "held_out_pixels": kept.numel(),
    }
