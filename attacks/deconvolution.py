"""Wiener deconvolution of a known Gaussian blur, with the blur's own mirrored borders.

A symmetric kernel on an image that is mirrored at its border pixels (reflect 101) is a product in the basis of the
cosine transform DCT-I, exactly. Reference: Wiener 1949; Martucci 1994, Symmetric convolution and the discrete sine and
cosine transforms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.errors import Inapplicable
from harness.images import gaussian_window, separable, to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.types import Bytes, Generator, Guess, Images


def deconvolution(observation: Observation, rng: Generator, *, noise: Sequence[float]) -> Guess:
    """The releases with the blur divided out, as far as rounding left anything to divide.

    noise  noise-to-signal ratios to try, at the highest frequency: rehearsals on public images choose
    """
    kernel = known_kernel(observation)

    def sharpened(releases: Bytes, ratio: float) -> Bytes:
        return to_bytes(deconvolved(to_images(releases), kernel, ratio).clamp_(0, 1))

    ratio, scores = rehearse.best(observation, sorted(map(float, noise), reverse=True), sharpened)
    return Guess(
        candidates=rehearse.restore(observation, lambda releases: sharpened(releases, ratio)),
        report=rehearse.told(ratio, scores),
    )


def known_kernel(observation: Observation) -> int:
    """Side of the Gaussian kernel that the defense says it blurs with."""
    known = observation.defense
    kernel = known.params.get("kernel")
    if "blurs" not in known.traits or not isinstance(kernel, int):
        raise Inapplicable("there is no known blur to undo: the defense has no trait `blurs` with a knob `kernel`")
    return kernel


def deconvolved(images: Images, kernel: int, ratio: float) -> Images:
    """Each frequency times g / (g^2 + ratio f^2): g is the blur's response, f runs from 0 to 1 along each side.

    Natural images have about 1 / f^2 of their power at f (Field 1987), so `ratio` is noise over signal at f = 1.

    images  (..., H, W), before or after rounding
    """
    height, width = images.shape[-2:]
    (rows, rows_back), (columns, columns_back) = cosines(height), cosines(width)
    response = torch.outer(blur_response(kernel, height), blur_response(kernel, width))
    frequency = (steps(height).square().unsqueeze(1) + steps(width).square()) / 2
    gain = (response / (response.square() + ratio * frequency)).to(images.device)
    spectrum = separable(images.double(), rows, columns) * gain
    return separable(spectrum, rows_back, columns_back).to(images.dtype)


def cosines(size: int) -> tuple[Tensor, Tensor]:
    """DCT-I and its inverse: (size, size) float64 each."""
    place = torch.arange(size, dtype=torch.float64)
    twice = torch.full((size,), 2.0, dtype=torch.float64)
    twice[[0, -1]] = 1  # an image's first and last rows are their own mirror images
    forth = torch.cos(torch.pi * torch.outer(place, place) / (size - 1)) * twice
    return forth, forth / (2 * (size - 1))


def blur_response(kernel: int, size: int) -> Tensor:
    """(size,) what the blur leaves of each frequency of an axis, 1 at frequency 0."""
    offsets = torch.arange(kernel, dtype=torch.float64) - kernel // 2
    return torch.cos(torch.pi * torch.outer(steps(size), offsets)) @ gaussian_window(kernel)


def steps(size: int) -> Tensor:
    """(size,) frequencies of an axis, 0 to 1 (one period in two pixels)."""
    return torch.linspace(0, 1, size, dtype=torch.float64)
