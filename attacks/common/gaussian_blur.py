"""A known Gaussian blur in the basis of the cosine transform, and its Wiener deconvolution.

A symmetric kernel on an image that is mirrored at its border pixels (reflect 101) is a product in the basis of the
cosine transform DCT-I, exactly. References: Martucci 1994, Symmetric convolution and the discrete sine and cosine
transforms; Wiener 1949.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.errors import Inapplicable
from harness.images import gaussian_window, separable
from harness.observation import Observation
from harness.types import Images


def known_kernel(observation: Observation) -> int:
    """Side of the Gaussian kernel that the defense says it blurs with, in pixels; Inapplicable without one."""
    known = observation.defense
    kernel = known.params.get("kernel")
    if "blurs" not in known.traits or not isinstance(kernel, int):
        raise Inapplicable("there is no known blur to undo: the defense has no trait `blurs` with a knob `kernel`")
    return kernel


def deconvolved(images: Images, kernel: int, ratio: float) -> Images:
    """Multiply each frequency by g / (g^2 + ratio f^2): g is the blur's response, f runs from 0 to 1 along each side.

    Natural images have about 1 / f^2 of their power at f (Field 1987), so `ratio` is noise over signal at f = 1.

    images  (..., H, W) float in [0, 1], before or after rounding; the result is not clipped
    kernel  side of the blur's kernel, in pixels
    """
    height, width = images.shape[-2:]
    (rows, rows_back), (columns, columns_back) = cosines(height), cosines(width)
    response = torch.outer(blur_response(kernel, height), blur_response(kernel, width))
    frequency = (frequencies(height).square().unsqueeze(1) + frequencies(width).square()) / 2
    gain = (response / (response.square() + ratio * frequency)).to(images.device)
    spectrum = separable(images.double(), rows, columns) * gain
    return separable(spectrum, rows_back, columns_back).to(images.dtype)


def cosines(size: int) -> tuple[Tensor, Tensor]:
    """The matrices of DCT-I and of its inverse, (size, size) float64 each."""
    index = torch.arange(size, dtype=torch.float64)
    twice = torch.full((size,), 2.0, dtype=torch.float64)
    twice[[0, -1]] = 1  # an image's first and last rows are their own mirror images
    forward = torch.cos(torch.pi * torch.outer(index, index) / (size - 1)) * twice
    return forward, forward / (2 * (size - 1))


def blur_response(kernel: int, size: int) -> Tensor:
    """(size,) the factor by which the blur multiplies each frequency of an axis, 1 at frequency 0."""
    offsets = torch.arange(kernel, dtype=torch.float64) - kernel // 2
    return torch.cos(torch.pi * torch.outer(frequencies(size), offsets)) @ gaussian_window(kernel)


def frequencies(size: int) -> Tensor:
    """(size,) frequencies of an axis, 0 to 1 (one period in two pixels)."""
    return torch.linspace(0, 1, size, dtype=torch.float64)


def blur_matrix(kernel: int, size: int) -> Tensor:
    """(size, size) float64: the blur of one axis."""
    forward, back = cosines(size)
    return back @ (blur_response(kernel, size).unsqueeze(1) * forward)
