"""The DCT hash of an image, bit for bit as imagehash computes it, for many images at once.

Reference: Buchner, imagehash `phash`; Pillow `convert("L")` and its 8-bit LANCZOS `resize`, redone in exact arithmetic.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from harness.types import Array, Images


def hash_bits(images: Images, hash_size: int, highfreq_factor: int) -> Array:
    """(N, hash_size, hash_size) bits of the DCT hash."""
    from scipy.fft import dct

    red, green, blue = (images * 255).round_().clamp_(0, 255).unbind(1)
    # Pillow's convert("L"), in integers below 2**24: exact in float32.
    grey = (red * 19595).add_(green, alpha=38470).add_(blue, alpha=7471).add_(0x8000).div_(65536).floor_()
    small = pillow_resize(grey.double(), hash_size * highfreq_factor).cpu().numpy()
    low = dct(dct(small, axis=-2), axis=-1)[:, :hash_size, :hash_size]
    bits: Array = low > np.median(low, axis=(1, 2), keepdims=True)
    return bits


def pillow_resize(grey: torch.Tensor, side: int) -> torch.Tensor:
    """Pillow's 8-bit LANCZOS. Its 22-bit integers are exact in float64, whatever the order of the sums.

    Across, then down; since Pillow 13 tall images go down first, which can change a bit of theirs.
    """
    height, width = grey.shape[1:]
    tall = height - side > max(0, 2 * (width - side))
    for dim in (1, 2) if tall else (2, 1):
        if grey.shape[dim] != side:
            matrix = torch.from_numpy(_lanczos(grey.shape[dim], side)).to(grey.device)
            sums = grey @ matrix.T if dim == 2 else matrix @ grey
            grey = sums.add_(2**21).div_(2**22).floor_().clamp_(0, 255)
    return grey


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
