"""Richardson-Lucy deconvolution of a known Gaussian blur, all releases at once, with the blur's own mirrored borders.

scikit-image's version pads with zeros, which rings from the borders inwards. References: Richardson 1972; Lucy 1974;
Biggs and Andrews 1997, Acceleration of iterative image restoration algorithms (a few dozen rounds for hundreds).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.images import to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.deconvolution import blur_response, cosines, known_kernel
from harness.types import Bytes, Generator, Guess, Images

_LEAST = 1 / 1024  # a quarter of a grey level: black pixels must be able to grow


def richardson_lucy(observation: Observation, rng: Generator, *, iterations: Sequence[int]) -> Guess:
    """The releases sharpened by as many rounds as served best on rehearsals.

    iterations  numbers of rounds to try; the more, the sharper, and the more of the rounding is taken for detail
    """
    kernel = known_kernel(observation)

    def sharpened(releases: Bytes, rounds: int) -> Bytes:
        return to_bytes(sharpen(to_images(releases), kernel, rounds).clamp_(0, 1))

    rounds, scores = rehearse.best(observation, sorted(map(int, iterations)), sharpened)
    return Guess(
        candidates=rehearse.restore(observation, lambda releases: sharpened(releases, rounds)),
        report=rehearse.told(rounds, scores),
    )


def sharpen(images: Images, kernel: int, rounds: int) -> Images:
    """x <- x B'(y / B x) / B'1, from x = y: it keeps every value positive and heads for the likeliest image.

    Each round starts from where the last two point to, as far as they agree (Biggs and Andrews, equation 11).

    images  (..., H, W) float in [0, 1]; the result may exceed 1
    """
    down = blur_matrix(kernel, images.shape[-2]).to(images)
    across = blur_matrix(kernel, images.shape[-1]).to(images)
    seen = images.clamp(min=_LEAST)
    weight = down.sum(0).unsqueeze(1) * across.sum(0)  # B'1: pixels near a border enter more or fewer windows
    sharp = start = seen
    before = torch.zeros_like(seen)
    for _ in range(rounds):
        quotient = seen / (down @ start @ across.T).clamp_(min=_LEAST)
        found = start * (down.T @ quotient @ across) / weight
        change = found - start
        agree = (change * before).sum((-3, -2, -1), keepdim=True) / (
            before.square().sum((-3, -2, -1), keepdim=True) + 1e-12
        )
        start = (found + agree.clamp_(0, 1) * (found - sharp)).clamp_(min=_LEAST)
        sharp, before = found, change
    return sharp


def _per_image(values: Images) -> Tensor:
    return values.sum((-3, -2, -1), keepdim=True)


def blur_matrix(kernel: int, size: int) -> Tensor:
    """(size, size) float64: the blur of one axis."""
    forth, back = cosines(size)
    return back @ (blur_response(kernel, size).unsqueeze(1) * forth)
