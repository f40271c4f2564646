"""Smoothing the release: a Gaussian or a median, its width chosen on rehearsals.

The least that an adversary will do, and a control in one: SSIM flatters smooth guesses (SCIENCE, section 3), so what a
cleverer attack gains is only what it gains beyond this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch

from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.types import Array, Bytes, Generator, Guess


def smooth(observation: Observation, rng: Generator, *, gaussians: Sequence[float], medians: Sequence[int]) -> Guess:
    """The smoothing that brings rehearsed releases nearest to their dominant source; none, where none does.

    gaussians  standard deviations to try, in pixels
    medians    sides of median windows to try, in pixels; odd
    """
    widths = [("gaussian", float(sigma)) for sigma in gaussians] + [("median", int(side)) for side in medians]
    settings: list[tuple[str, float]] = [("gaussian", 0.0), *widths]
    setting, scores = rehearse.best(observation, settings, smoothed)
    return Guess(
        candidates=rehearse.restore(observation, lambda releases: smoothed(releases, setting)),
        report=rehearse.told(setting, scores),
    )


def smoothed(releases: Bytes, setting: tuple[str, float]) -> Bytes:
    """(n, 3, H, W) uint8 smoothed by ("gaussian", sigma) or ("median", side); sigma 0 leaves them as they are."""
    kind, width = setting
    if not width:
        return releases
    if kind == "median":
        return each(releases, partial(cv2.medianBlur, ksize=int(width)))
    return each(releases, partial(cv2.GaussianBlur, ksize=(0, 0), sigmaX=width))


def each(releases: Bytes, function: Callable[..., Array], *arguments: Any) -> Bytes:
    """`function` on one picture after the other: (H, W, 3) uint8 to the same; `arguments` hold a value per picture."""
    pictures = releases.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    made = [function(picture, *more) for picture, *more in zip(pictures, *arguments, strict=True)]
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).contiguous().to(releases.device)
