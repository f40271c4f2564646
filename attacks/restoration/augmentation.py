"""Varied copies of the adversary's images: these are few, and a network trained on them alone remembers them.

Pixels are moved but not interpolated, so that the copies are as sharp as the images. Other scales brought
nothing: with half of the images shrunk to .75-1 of their size (antialiased, mirrored at the borders), dSSIM after
multi_release was .213 instead of .208 on blur_mix and .339 instead of .337 on pixelize_mix, one training each at the
settings of leaderboards/restoration_ablation.md. Reference: Shorten and Khoshgoftaar 2019, A survey on image data
augmentation for deep learning.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from harness.images import to_bytes, to_images
from harness.release import empty
from harness.types import Bytes, Images

_REACH = 8  # an image moves by up to this part of its smaller side, mirrored at its borders
_BRIGHTNESS = 0.08  # added to all channels, at most
_CONTRAST, _TINT = 0.25, 0.1  # logarithms of factors about the image's mean: of all channels, of each channel
_SATURATION = 0.6, 1.3
_CHUNK = 64


def augmented(images: Bytes, rng: np.random.Generator) -> Bytes:
    """(n, 3, H, W) uint8 -> the same, each image mirrored or not, moved, and with other contrast and colours."""
    varied = empty(tuple(images.shape), str(images.device))
    for start in range(0, len(images), _CHUNK):
        some = slice(start, start + _CHUNK)
        varied[some] = to_bytes(_recoloured(_moved(to_images(images[some]), rng), rng))
    return varied


def _moved(images: Images, rng: np.random.Generator) -> Images:
    height, width = images.shape[2:]
    reach = min(height, width) // _REACH
    padded = functional.pad(images, (reach, reach, reach, reach), mode="reflect")
    rows, columns = rng.integers(0, 2 * reach + 1, (2, len(images)))
    moved = [
        image[:, row : row + height, column : column + width]
        for image, row, column in zip(padded, rows, columns, strict=True)
    ]
    mirrored = torch.from_numpy(rng.random(len(images)) < 0.5).to(images.device)
    whole = torch.stack(moved)
    return torch.where(mirrored.view(-1, 1, 1, 1), whole.flip(-1), whole)


def _recoloured(images: Images, rng: np.random.Generator) -> Images:
    def drawn(low: float, high: float, channels: int = 1) -> torch.Tensor:
        values = rng.uniform(low, high, (len(images), channels, 1, 1)).astype(np.float32)
        return torch.from_numpy(values).to(images.device)

    grey = images.mean(1, keepdim=True)
    images = grey + drawn(*_SATURATION) * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    contrast = (drawn(-_CONTRAST, _CONTRAST) + drawn(-_TINT, _TINT, 3)).exp()
    return mean + drawn(-_BRIGHTNESS, _BRIGHTNESS) + contrast * (images - mean)
