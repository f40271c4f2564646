"""Which pixels of a grafted release are unmixed, found by expectation-maximisation.

Two smooth surfaces are interleaved in a known ratio: the dominant source, and its mixture. Starting from the 5x5
median, each pixel is assigned to the nearer surface, and both surfaces are refitted by normalised convolution.
References: Raynal et al. 2020, section 3.2 (grafting); Dempster, Laird, Rubin 1977 (EM); Knutsson and Westin 1993
(normalised convolution).
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor

from harness.images import exact_mask, to_images
from harness.types import Bytes, Images

CHUNK = 16  # images at a time: their planes stay in a CPU's cache
_SURFACE = 0.8  # standard deviation of the window that fits a surface, in pixels
_FIRST, _NARROWING = 2.5, 0.75  # it starts wider, since in a small window the rarer kind may be in the majority
_SPREAD = 1.5  # standard deviation of the window in which the variance around it is measured, in pixels
_FLOOR = 0.02  # least deviation: five grey levels, so that rounding does not decide in flat areas
_EVIDENCE = 0.75  # factor of a distance in units of its variance; for three independent channels it would be 1.5


def unmixed(images: Images, p: float, per: str, *, rounds: int) -> Tensor:
    """The probability of every pixel to be unmixed: (N, 1, H, W), or (N, 3, H, W) where channels are grafted alone.

    images  (N, 3, H, W) in [0, 1]
    p       share of unmixed pixels, 0 to 1
    per     "pixel" or "channel": whether a pixel's three channels are grafted together
    rounds  of expectation and maximisation
    """
    p = min(max(p, 1e-6), 1 - 1e-6)
    together = per == "pixel"

    def distance(surface: Images) -> Tensor:
        squared = (images - surface).square()
        return squared.mean(1, keepdim=True) if together else squared

    def spread(weighted: Tensor) -> Tensor:
        return gaussian(weighted, _SPREAD) / gaussian(torch.ones_like(weighted), _SPREAD)

    far = distance(median(images, 5))
    nearest = exact_mask(far.double(), p)
    belief = torch.where(nearest, 0.9, 0.1).to(images)
    prior = math.log(p / (1 - p))
    for done in range(rounds):
        width = max(_SURFACE, _FIRST * _NARROWING**done)
        to_kept = distance(normalised(images, belief, width, others=True))
        to_mixed = distance(normalised(images, 1 - belief, width, others=True))
        variance = spread(belief * to_kept + (1 - belief) * to_mixed) + _FLOOR**2
        belief = torch.sigmoid(prior + _EVIDENCE * (to_mixed - to_kept) / variance)
    return belief


def normalised(images: Images, weights: Tensor, sigma: float, *, others: bool = False) -> Images:
    """The weighted mean of the pixels around each, by a Gaussian window; mid-grey where nothing has weight.

    weights  (N, 1 or 3, H, W), 0 to 1
    sigma    standard deviation of the window, in pixels
    others   leave a pixel out of its own mean, so that its value is no evidence for itself
    """
    least = 1e-6
    return (gaussian(images * weights, sigma, others) + least / 2) / (gaussian(weights, sigma, others) + least)


def gaussian(images: Images, sigma: float, others: bool = False) -> Images:
    """Weighted sum over a Gaussian window, zero beyond the border; `others`: without the pixel itself."""
    reach = math.ceil(2.5 * sigma)
    places = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    line = torch.exp(-places.square() / (2 * sigma**2))
    window = line[:, None] * line
    if others:
        window[reach, reach] = 0
    window = (window / window.sum())[None, None]
    return F.conv2d(images.reshape(-1, 1, *images.shape[2:]), window, padding=reach).view(images.shape)


def median(images: Images, side: int) -> Images:
    """Median over side x side pixels (3 or 5), by OpenCV, of 8-bit values as the release has them."""
    return _per_image(images, lambda image: cv2.medianBlur(image, side))


def inpainted(images: Images, kept: Tensor) -> Images:
    """OpenCV's inpainting (Telea 2004) of every pixel that is not kept.

    kept  (N, 1 or 3, H, W) bool; where it differs between channels, each is inpainted by itself
    """
    holes = (~kept).to(torch.uint8).cpu().numpy()

    def fill(image: Any, hole: Any) -> Any:
        planes = cv2.split(image) if len(hole) > 1 else [image]
        filled = [cv2.inpaint(plane, gap, 2, cv2.INPAINT_TELEA) for plane, gap in zip(planes, hole, strict=True)]
        return cv2.merge(filled) if len(filled) > 1 else filled[0]

    each_hole = iter(holes)
    return _per_image(images, lambda image: fill(image, next(each_hole)))


def _per_image(images: Images, function: Any) -> Images:
    """Apply an OpenCV function of an 8-bit image to every image."""
    stored: Bytes = images.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1).cpu()
    results = np.stack([function(np.ascontiguousarray(image)) for image in stored.numpy()])
    return to_images(torch.from_numpy(results).permute(0, 3, 1, 2)).contiguous().to(images.device)
