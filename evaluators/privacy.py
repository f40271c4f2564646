"""How far an image is from its original: dSSIM, dHaar, MSE, pHash and Inception features, one number per image.

Every metric is `metric(images, originals, *, knobs) -> (N,)`, larger is farther. Both stacks are (N, 3, H, W) float
in [0, 1], of one shape and on one device; the published constants are in registry.yaml. Only sums, differences and
products of whole planes are used, so neither TF32 nor autocast changes a figure; `fid` alone runs a network.
The functions here are plain torch, a few images at a time, and run on any device; evaluators.kernels has faster ones
for float32 images on a CPU, and evaluators.compiled says when they are used.

References:
    Wang, Bovik, Sheikh, Simoncelli 2004, Image quality assessment: from error visibility to structural similarity
    Reisenhofer, Bosse, Kutyniok, Wiegand 2018, A Haar wavelet-based perceptual similarity index
    Buchner, imagehash (pHash); Heusel et al. 2017, GANs trained by a two time-scale update rule (features)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

from harness.errors import HarnessError
from harness.plugins.evaluators.compiled import chunk_size, kernels, per_image
from harness.plugins.evaluators.hashing import hash_bits

if TYPE_CHECKING:
    from harness.types import Array, Images

Compare: TypeAlias = "Callable[[Images, Images], torch.Tensor]"


def dssim(images: Images, originals: Images, *, window: int, sigma: float, k1: float, k2: float) -> torch.Tensor:
    """1 - SSIM: 0 for equal images, about 1 for unrelated ones, above 1 for inverted ones.

    Per channel, then the mean, over whole windows only. No downsampling at any size (piq averages down from 384 px up).

    window  side of the Gaussian window, in pixels
    sigma   its standard deviation, in pixels
    k1, k2  stabilise the quotients, relative to the range of the pixels
    """
    check_pair("dssim", images, originals, least=window)
    compiled = kernels(images)
    if compiled:
        settings = ssim_settings(window, sigma, k1, k2)
        return _figures(lambda x, y: compiled.ssim_loss(x, y, *settings), images, originals)
    taps = _taps(window, sigma)
    return _in_chunks(lambda x, y: 1 - _ssim(x, y, taps, k1**2, k2**2), images, originals)


def ssim_settings(window: int, sigma: float, k1: float, k2: float) -> tuple[tuple[Any, ...], Any, Any]:
    """What the kernel `ssim_loss` takes beside a pair of images."""
    return tuple(map(np.float32, _taps(window, sigma))), np.float32(k1**2), np.float32(k2**2)


def _taps(window: int, sigma: float) -> list[float]:
    place = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    bell = torch.exp(-place.square() / (2 * sigma**2))
    taps: list[float] = (bell / bell.sum()).tolist()
    return taps


def _ssim(x: Images, y: Images, taps: list[float], c1: float, c2: float) -> torch.Tensor:
    """Wang's equation 13. Four filtered fields suffice, since the two variances occur only as their sum.

    Each plane's mean is taken off first, so that float32 keeps the small variances of flat areas.
    """
    level_x, level_y = x.mean((2, 3), keepdim=True), y.mean((2, 3), keepdim=True)
    x, y = x - level_x, y - level_y
    mean_x, mean_y, square, product = _smooth(torch.stack([x, y, x * x + y * y, x * y]), taps).unbind()
    covariance = product.sub_(mean_x * mean_y)
    variances = square.sub_(mean_x * mean_x + mean_y * mean_y)
    mean_x, mean_y = mean_x.add_(level_x), mean_y.add_(level_y)
    likeness = (mean_x * mean_y).mul_(2).add_(c1).mul_(covariance.mul_(2).add_(c2))
    return likeness.div_((mean_x * mean_x + mean_y * mean_y).add_(c1).mul_(variances.add_(c2))).mean((1, 2, 3))


def _smooth(fields: torch.Tensor, taps: list[float]) -> torch.Tensor:
    """Both passes of a separable filter, whole windows only."""
    for dim in (-2, -1):
        length = fields.shape[dim] - len(taps) + 1
        total = fields.narrow(dim, 0, length) * taps[0]
        for start, tap in enumerate(taps[1:], start=1):
            total.add_(fields.narrow(dim, start, length), alpha=tap)
        fields = total
    return fields


def dhaar(images: Images, originals: Images, *, c: float, alpha: float) -> torch.Tensor:
    """1 - HaarPSI, in colour (YIQ, 0-255) and halved in size first, as its authors do.

    c      stabilises the similarity of two coefficients, in grey levels squared
    alpha  slope of the logistic function that the similarities pass through
    """
    check_pair("dhaar", images, originals, least=16)
    compiled = kernels(images)
    if compiled:
        return _figures(lambda x, y: compiled.haar_loss(x, y, np.float32(c), np.float32(alpha)), images, originals)
    return _in_chunks(lambda x, y: _dhaar(x, y, c, alpha), images, originals)


def _dhaar(x: Images, y: Images, c: float, alpha: float) -> torch.Tensor:
    (down_x, along_x, colour_x), (down_y, along_y, colour_y) = _haar(x), _haar(y)
    weights, missing = [], []
    for left, right in ((down_x, down_y), (along_x, along_y)):  # scales 1 and 2 are compared, scale 3 is the weight
        missing.append((_unlike(left[0], right[0], c) + _unlike(left[1], right[1], c)) / 2)
        weights.append(torch.maximum(left[2], right[2]))
    missing.append(_unlike(colour_x, colour_y, c).mean(1))
    weights.append((weights[0] + weights[1]) / 2)

    # The paper's score is the logit of the weighted mean of logistic(alpha s). With s = 1 - d, k = exp(-alpha) and
    # e = exp(alpha d) - 1, logistic(alpha) - logistic(alpha s) is k e / ((1 + k)(1 + k + k e)): 0 for equal images.
    k, top = math.exp(-alpha), 1 / (1 + math.exp(-alpha))
    loss = total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for weight, distance in zip(weights, missing, strict=True):
        e = distance.mul_(alpha).exp_().sub_(1)
        loss = loss + (e / e.mul(k).add_(1 + k)).mul_(weight).sum((1, 2)).double()
        total = total + weight.sum((1, 2)).double()
    share = top - loss * (k * top) / (total + torch.finfo(x.dtype).eps)
    score = (torch.log(share / (1 - share)) / alpha).square()
    return (1 - score).clamp_(min=0).to(x.dtype)


def _haar(images: Images) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    """Magnitudes of the Haar coefficients of Y down and along, scales 1 to 3, and of the 2x2 means of I and Q."""
    images = F.pad(images, (0, images.shape[3] % 2, 0, images.shape[2] % 2))
    rows_summed = images[..., ::2, :] + images[..., 1::2, :]
    red, green, blue = (rows_summed[..., ::2] + rows_summed[..., 1::2]).mul_(255 / 4).unbind(1)
    luma = red * 0.299 + green * 0.587 + blue * 0.114
    in_phase = red * 0.5959 - green * 0.2746 - blue * 0.3213
    quadrature = red * 0.2115 - green * 0.5227 + blue * 0.3112

    height, width = luma.shape[1:]
    sums, down, along = F.pad(luma, (3, 4, 3, 4)), [], []
    for half in (1, 2, 4):  # a Haar filter of side 2 * half is made of four box sums of side half
        both, across = sums[..., :-half] + sums[..., half:], sums[..., :-half] - sums[..., half:]
        rows, columns = slice(4 - half, 4 - half + height), slice(4 - half, 4 - half + width)
        down.append((both[:, :-half] - both[:, half:])[:, rows, columns].abs() / (2 * half))
        along.append((across[:, :-half] + across[:, half:])[:, rows, columns].abs() / (2 * half))
        sums = both[:, :-half] + both[:, half:]

    colour = F.pad(torch.stack([in_phase, quadrature], 1), (0, 1, 0, 1))
    colour = colour[..., :-1] + colour[..., 1:]
    return down, along, (colour[..., :-1, :] + colour[..., 1:, :]).abs_() / 4


def _unlike(a: torch.Tensor, b: torch.Tensor, c: float) -> torch.Tensor:
    """1 - (2ab + c) / (a^2 + b^2 + c)"""
    return (a - b).square_().div_((a * a).add_(b * b).add_(c))


def mse(images: Images, originals: Images) -> torch.Tensor:
    """Mean squared error, in grey levels (0-255) squared."""
    check_pair("mse", images, originals, least=1)
    compiled = kernels(images)
    if compiled:
        scale = 255**2 / (3 * images.shape[2] * images.shape[3])
        squares = per_image(compiled.squared_difference, images, originals, threads=1)  # the memory limits it
        return torch.from_numpy(squares * scale).to(images.dtype)
    return _in_chunks(lambda x, y: (x - y).mul_(255).square_().mean((1, 2, 3)), images, originals)


def phash(images: Images, originals: Images, *, hash_size: int, highfreq_factor: int) -> torch.Tensor:
    """Share of the bits in which the DCT hashes differ: multiples of 1/64 for 8x8 bits.

    The bits are those of `imagehash.phash` on the images rounded to uint8. The small DCT runs on the CPU (scipy, as
    there: the same rounding, hence the same bits even for constant images), the rest on the images' device.

    hash_size        side of the hash, in bits
    highfreq_factor  the image is shrunk to hash_size * highfreq_factor pixels a side
    """
    check_pair("phash", images, originals, least=1)
    if not len(images):
        return images.new_zeros(0)
    ours, theirs = (hash_bits(stack, hash_size, highfreq_factor) for stack in (images, originals))
    return torch.from_numpy((ours != theirs).mean((1, 2))).to(images)


def fid(images: Images, originals: Images) -> torch.Tensor:
    """Squared distance of the two images' pooled Inception-v3 features; `Skipped` where its weights are missing.

    The features of FID, under whose key it is recorded; a Fréchet distance is one of two distributions, not of a pair.
    """
    from harness.plugins.evaluators.inception import features

    check_pair("fid", images, originals, least=1)
    return _in_chunks(lambda x, y: (features(x) - features(y)).square().sum(1), images, originals)


def check_pair(metric: str, images: Images, originals: Images, least: int) -> None:
    """HarnessError unless both are float stacks of one shape with at least `least` pixels a side."""
    if images.shape != originals.shape:
        raise HarnessError(f"{metric}: {tuple(images.shape)} images against {tuple(originals.shape)} originals")
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype not in (torch.float32, torch.float64):
        raise HarnessError(f"{metric}: expected (N, 3, H, W) float in [0, 1], got {tuple(images.shape)} {images.dtype}")
    if min(images.shape[2:]) < least:
        raise HarnessError(f"{metric}: images of {images.shape[3]}x{images.shape[2]} px; it needs {least} px a side")


def _figures(compare: Callable[[Array, Array], float], images: Images, originals: Images) -> torch.Tensor:
    return torch.from_numpy(per_image(compare, images, originals)).to(images.dtype)


def _in_chunks(compare: Compare, images: Images, originals: Images) -> torch.Tensor:
    if not len(images):
        return images.new_zeros(0)
    size = chunk_size(images)
    with torch.no_grad():
        return torch.cat([compare(x, y) for x, y in zip(images.split(size), originals.split(size), strict=True)])
