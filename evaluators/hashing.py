"""The DCT hash of an image, bit for bit as imagehash computes it, for many images at once.

Reference: Buchner, imagehash `phash`; Pillow `convert("L")` and its 8-bit LANCZOS `resize`, reproduced exactly.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.plugins.evaluators.compiled import chunk_size, kernels, per_image

if TYPE_CHECKING:
    from harness.types import Array, Images


def hash_bits(images: Images, hash_size: int, highfreq_factor: int) -> Array:
    """(N, hash_size, hash_size) bool bits of the DCT hash of images (N, 3, H, W) in [0, 1]."""
    from scipy.fft import dct

    small = _shrunk(images, hash_size * highfreq_factor)
    low = dct(dct(small, axis=-2)[:, :hash_size], axis=-1)[..., :hash_size]
    bits: Array = low > np.median(low, axis=(1, 2), keepdims=True)
    return bits


def _shrunk(images: Images, side: int) -> Array:
    """(N, side, side) grey levels of the reduced images."""
    compiled = kernels(images)
    if compiled is None:
        return torch.cat([pillow_resize(_grey(some), side) for some in images.split(chunk_size(images))]).cpu().numpy()
    height, width = images.shape[2:]
    settings = (_is_tall(height, width, side), *_taps(height, side), *_taps(width, side))
    return per_image(lambda image: compiled.pillow_shrink(image, *settings), images)


def _grey(images: Images) -> torch.Tensor:
    """(N, H, W) float64, Pillow's convert("L"): in integers below 2**24, exact in float32."""
    red, green, blue = (images * 255).round_().clamp_(0, 255).unbind(1)
    grey = (red * 19595).add_(green, alpha=38470).add_(blue, alpha=7471).add_(0x8000).div_(65536).floor_()
    return grey.double()


def pillow_resize(grey: torch.Tensor, side: int) -> torch.Tensor:
    """Pillow's 8-bit LANCZOS: (N, H, W) grey levels -> (N, side, side). Its integers of 22 bits are exact in float64.

    Columns are reduced first, then rows; since Pillow 13 tall images have rows reduced first, which can change a bit.
    """
    for dim in (1, 2) if _is_tall(grey.shape[1], grey.shape[2], side) else (2, 1):
        if grey.shape[dim] != side:
            matrix = torch.from_numpy(_lanczos(grey.shape[dim], side)).to(grey.device)
            sums = grey @ matrix.T if dim == 2 else matrix @ grey
            grey = sums.add_(2**21).div_(2**22).floor_().clamp_(0, 255)
    return grey


def _is_tall(height: int, width: int, side: int) -> bool:
    """Whether Pillow reduces rows first."""
    return height - side > max(0, 2 * (width - side))


@lru_cache(maxsize=32)
def _taps(length: int, side: int) -> tuple[Array, Array]:
    """`_lanczos` without its zeros: (side,) first columns, and (side, K) int32 coefficients."""
    matrix = _lanczos(length, side)
    first = (matrix != 0).argmax(1)
    count = int((length - (matrix != 0)[:, ::-1].argmax(1) - first).max())
    starts = np.minimum(first, length - count)
    return starts, np.take_along_axis(matrix, starts[:, None] + np.arange(count), 1).astype(np.int32)


@lru_cache(maxsize=32)
def _lanczos(length: int, side: int) -> Array:
    """(side, length) coefficients in units of 2**-22, as Pillow's `precompute_coeffs` rounds them."""
    scale = length / side
    stretch = max(scale, 1.0)
    matrix = np.zeros((side, length))
    for row in range(side):
        centre = (row + 0.5) * scale
        first, last = max(int(centre - 3 * stretch + 0.5), 0), min(int(centre + 3 * stretch + 0.5), length)
        x = (np.arange(first, last) - centre + 0.5) * (1 / stretch)
        kernel = np.where((x >= -3) & (x < 3), np.sinc(x) * np.sinc(x / 3), 0.0)
        scaled = kernel / kernel.sum() * 2**22
        matrix[row, first:last] = np.trunc(scaled + np.copysign(0.5, scaled))
    return matrix
