"""What a trained network's images are finished with: chosen on held-out rehearsals by the dSSIM that scores the attack.

The mean with the restored mirror image lowers the squared error, and so does the correction towards what was measured;
neither need lower dSSIM, which the network was trained for. Of a defense that treats mirror images differently, the
mirror image is restored wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import permutations, product
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from harness.images import to_images
from harness.plugins.attacks.restoration.loss import ssim
from harness.plugins.attacks.restoration.measurement import Measurement
from harness.types import Bytes

Network: TypeAlias = Callable[[Tensor], Tensor]
"""network(inputs (n, C, H, W)) -> (n, k, 3, H, W) float32 restored images, not clipped."""

STRENGTHS = (0.0, 0.5, 1.0)
"""Of the correction: those that are tried."""


class Finish(NamedTuple):
    """How to finish restored images.

    mirrored  take the mean with the restored mirror image
    strength  share of the correction towards what was measured, 0 to 1
    """

    mirrored: bool = True
    strength: float = 0.0

    def __str__(self) -> str:
        return f"{'mirrored mean' if self.mirrored else 'no mirrored mean'}, correction {self.strength:g}"


AS_TRAINED = Finish(mirrored=False)


def restored(network: Network, inputs: Tensor, finish: Finish, measurement: Measurement | None) -> Tensor:
    """(n, k, 3, H, W) float32 finished images of (n, C, H, W) inputs, not clipped."""
    plain = network(inputs)
    mirrored = _mirrored(network, inputs, plain) if finish.mirrored else plain
    return _finished(plain, mirrored, inputs, finish, measurement)


def choose_finish(
    network: Network, inputs: Tensor, truths: Bytes, chunks: Iterable[slice], measurement: Measurement | None
) -> tuple[Finish, dict[str, Any]]:
    """The finish with the least mean dSSIM of the best of k images to the dominant original; of equals the first.

    inputs   (n, C, H, W) held-out inputs
    truths   (n, k, 3, H, W) uint8 their originals, the dominant one first
    chunks   of the rows, a few dozen each
    returns  for the record: the finish in words, and the mean dSSIM of each that was tried
    """
    tried = [Finish(*each) for each in product((True, False), STRENGTHS if measurement is not None else (0.0,))]
    totals = [0.0] * len(tried)
    for rows in chunks:
        plain = network(inputs[rows])
        mirrored, original = _mirrored(network, inputs[rows], plain), to_images(truths[rows, :1].to(plain.device))
        for at, finish in enumerate(tried):
            images = _finished(plain, mirrored, inputs[rows], finish, measurement).clamp(0, 1)
            totals[at] += float((1 - ssim(images, original, step=1)).amin(1).double().sum())
    means = [total / len(inputs) for total in totals]
    chosen = tried[means.index(min(means))]
    scores = {str(finish): mean for finish, mean in zip(tried, means, strict=True)}
    return chosen, {"finish": str(chosen), "held_out_dssim": scores}


def _finished(
    plain: Tensor, mirrored: Tensor, inputs: Tensor, finish: Finish, measurement: Measurement | None
) -> Tensor:
    images = (plain + mirrored) / 2 if finish.mirrored else plain
    if measurement is None or not finish.strength:
        return images
    corrected = measurement.corrected(images, floats(inputs[:, :3].to(images.device)).unsqueeze(1))
    return torch.lerp(images, corrected, finish.strength)


def _mirrored(network: Network, inputs: Tensor, plain: Tensor) -> Tensor:
    """The restored mirror images, mirrored back, in the order that is nearest to the plain ones."""
    return _matched(network(inputs.flip(-1)).flip(-1), plain)


def _matched(again: Tensor, pictures: Tensor) -> Tensor:
    """(n, k, 3, H, W): `again` in the order in which it is, in all, nearest to the pictures."""
    count = pictures.shape[1]
    if count == 1:
        return again
    distance = (pictures.unsqueeze(2) - again.unsqueeze(1)).abs().mean((-3, -2, -1))  # (n, picture, again)
    orders = torch.tensor(list(permutations(range(count))), device=pictures.device)
    totals = torch.stack([distance[:, torch.arange(count), order].sum(1) for order in orders], 1)
    rows = torch.arange(len(pictures), device=pictures.device).unsqueeze(1)
    return again[rows, orders[totals.argmin(1)]]


def floats(planes: Tensor) -> Tensor:
    """Planes of any type as float32, bytes scaled to [0, 1]."""
    return to_images(planes) if planes.dtype == torch.uint8 else planes.float()
