"""Richardson-Lucy deconvolution of a known Gaussian blur, all releases at once, with the blur's own mirrored borders.

References: Richardson 1972; Lucy 1974. Differences to the originals: the acceleration of Biggs and Andrews 1997,
Acceleration of iterative image restoration algorithms, which needs a few dozen rounds where the original needs
hundreds; mirrored borders (scikit-image's version pads with zeros, which rings from the borders inwards).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harness.images import to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.common.gaussian_blur import blur_matrix, known_kernel
from harness.types import Bytes, Generator, Guess, Images

_LEAST = 1 / 1024  # a quarter of a grey level: black pixels must be able to grow


def richardson_lucy(observation: Observation, rng: Generator, *, iterations: Sequence[int]) -> Guess:
    """The releases sharpened by the number of rounds that did best on rehearsals.

    iterations  numbers of rounds to try; more rounds sharpen more, and amplify the rounding more
    """
    kernel = known_kernel(observation)

    def sharpened(releases: Bytes, rounds: int) -> Bytes:
        return to_bytes(sharpen(to_images(releases), kernel, rounds).clamp_(0, 1))

    rounds, scores = rehearse.best_setting(observation, sorted(map(int, iterations)), sharpened)
    return Guess(
        candidates=rehearse.restore(observation, lambda releases: sharpened(releases, rounds)),
        report=rehearse.report_of(rounds, scores),
    )


def sharpen(images: Images, kernel: int, rounds: int) -> Images:
    """x <- x B'(y / B x) / B'1, from x = y: every value stays positive, and the likelihood rises.

    Each round starts from an extrapolation of the last two, as far as their changes agree (Biggs and Andrews, equation
    11).

    images  (..., H, W) float in [0, 1]; the result may exceed 1
    kernel  side of the blur's kernel, in pixels
    """
    down = blur_matrix(kernel, images.shape[-2]).to(images)
    across = blur_matrix(kernel, images.shape[-1]).to(images)
    observed = images.clamp(min=_LEAST)
    weight = down.sum(0).unsqueeze(1) * across.sum(0)  # B'1: pixels near a border enter more or fewer windows
    estimate = start = observed
    last_change = torch.zeros_like(observed)
    for _ in range(rounds):
        quotient = observed / (down @ start @ across.T).clamp_(min=_LEAST)
        updated = start * (down.T @ quotient @ across) / weight
        change = updated - start
        agreement = (change * last_change).sum((-3, -2, -1), keepdim=True) / (
            last_change.square().sum((-3, -2, -1), keepdim=True) + 1e-12
        )
        start = (updated + agreement.clamp_(0, 1) * (updated - estimate)).clamp_(min=_LEAST)
        estimate, last_change = updated, change
    return estimate
