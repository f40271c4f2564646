"""A mask that is drawn anew for each call of a defense and added to all images of that call.

That it is shared shows in probes: what varies over draws varies alike in all images of a call. In a release, images of
one call are those whose fine detail correlates. Their mean is the mask and the mean of natural images; without it, and
with the contrast that probes show, the images remain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from harness.observation import Observation
from harness.plugins.attacks.ensemble.probes import BlackBox
from harness.plugins.attacks.ensemble.undo import Undoing
from harness.types import Bytes, Generator

_SHARED = 0.5  # correlation over images of what varies over draws, from which on it is shared
_VARIES = 2.0  # grey levels that it varies by, at least
_LEAST_GAIN = 0.05  # of the contrast of an image: less cannot be restored from bytes
_ADDED = 0.1  # share of the variance that may remain beside a mask and a gain
_TOGETHER = 0.3  # correlation of the fine detail of images of one call
_FEWEST = 4  # images of one call whose mean shows its mask


def call_mask(observation: Observation, rng: Generator) -> Undoing | None:
    """A finder (attacks.ensemble.undo): the mask that the images of each call share, or None."""
    box = BlackBox(observation, rng)
    images = box.public(8)
    released = box.repeated(images, 4).float().flatten(2)
    deviation = released - released.mean(0)
    if float(deviation.std()) < _VARIES:
        return None
    alike = functional.cosine_similarity(deviation[:, :-1], deviation[:, 1:], dim=2)
    if float(alike.mean()) < _SHARED:
        return None
    plain = images.flatten(1).float()
    ours, theirs = (part - part.mean(-2, keepdim=True) for part in (released, plain))
    gain = float((ours * theirs).sum() / (len(released) * theirs.square().sum()))
    if gain < _LEAST_GAIN or float((ours - gain * theirs).square().mean() / ours.square().mean()) > _ADDED:
        return None
    mean = box.public(256).float().mean(0)
    return Undoing(
        "noise drawn anew for each call and added to all of its images", _Unmasked(gain, mean), together=True
    )


@dataclass(frozen=True)
class _Unmasked:
    """Takes the mask out of the images of each call.

    gain  contrast that is left of an image
    mean  (3, H, W) the mean of natural images, in grey levels
    """

    gain: float
    mean: Tensor

    def __call__(self, released: Bytes) -> Bytes:
        restored = released.clone()
        for rows in calls(released):
            values = released[rows].float()
            images = (values - values.mean(0)) / self.gain + self.mean.to(values.device)
            restored[rows] = images.round().clamp(0, 255).to(torch.uint8)
        return restored


def calls(released: Bytes) -> Iterator[Tensor]:
    """Rows of the images of each call, the largest first, from what their fine detail has in common."""
    detail = torch.cat([_detail(part) for part in released.split(256)])
    left = torch.ones(len(detail), dtype=torch.bool, device=detail.device)
    alike = detail @ detail.T > _TOGETHER
    while int(left.sum()) >= _FEWEST:
        count = (alike & left).sum(1) * left
        seed = int(count.argmax())
        if int(count[seed]) < _FEWEST:
            return
        rows = (alike[seed] & left).nonzero()[:, 0]
        left[rows] = False
        yield rows


def _detail(images: Bytes) -> Tensor:
    """(n, d) what differs from the mean of 3 x 3 pixels, less its mean over the places, of length 1."""
    values = images.float()
    fine = values - functional.avg_pool2d(values, 3, 1, 1, count_include_pad=False)
    return functional.normalize(fine.flatten(1), dim=1)
