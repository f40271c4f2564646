"""The CPU's way of some verbs in `harness.images`: NumPy, OpenCV, and loops that Numba compiles.

Each gives what the plain torch expression beside its caller gives, but for the last bits of a float32, several times
faster and on any number of threads the same. Where Numba is missing they give the same bytes, slower.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

import cv2
import numpy as np

from harness.types import Array

_PIECE = 2**16  # pixels of planes that are worked on at a time: they stay in a CPU's cache


@lru_cache(maxsize=1)
def compiled() -> Any:
    """The module `harness.compiled`, or None where Numba is missing; on first use, as Numba takes a second to load."""
    try:
        return import_module("harness.compiled")
    except ImportError:
        return None


def shuffled(images: Array, draws: Array, block: int) -> Array:
    """As `harness.images.shuffle_by`; Numba must be there.

    images  (n, channels, H, W) float32
    draws   (n, blocks, block * block) uint32
    """
    made = np.empty_like(images)
    flat = (*images.shape[:2], -1)
    compiled().shuffle(images.reshape(flat), draws, block, images.shape[-1], made.reshape(flat))
    return made


def smallest(rows: Array, count: int) -> Array:
    """(n, values) whether a value is one of the `count` smallest of its row, or equal to the last of these."""
    made = np.empty(rows.shape, bool)
    for row, mask in zip(rows, made, strict=True):
        np.less_equal(row, np.partition(row, count - 1)[count - 1], out=mask)
    return made


def pixelized(planes: Array, grid: int) -> Array:
    """Every plane (n, H, W) float32 averaged down to grid x grid cells and enlarged again.

    Planes stand on top of each other as one tall image: no cell reaches from one into the next.
    """
    count, height, width = planes.shape
    columns, rows = (np.arange(size) * grid // size for size in (width, height))
    made, step = np.empty_like(planes), max(1, _PIECE // (height * width))
    for start in range(0, count, step):
        some = planes[start : start + step]
        cells = cv2.resize(some.reshape(-1, width), (grid, len(some) * grid), interpolation=cv2.INTER_AREA)
        wide = cells.reshape(-1, grid, grid).take(columns, axis=2)
        wide.take(rows, axis=1, out=made[start : start + step], mode="clip")  # "raise" would make a copy first
    return made


def blurred(planes: Array, window: Array) -> Array:
    """Planes (n, H, W) float32 under a symmetric window along both axes, reflected at the border pixels.

    window  (odd,) float32, shorter than twice each side
    """
    half = window[len(window) // 2 :]
    if compiled() is None:
        return _weighed(_weighed(planes, half, 1), half, 2)
    made = np.empty_like(planes)
    compiled().blur(planes, np.concatenate([half, np.zeros(-(len(half) - 1) % 4, np.float32)]), made)
    return made


def _weighed(planes: Array, half: Array, axis: int) -> Array:
    """One axis of the blur, from the middle of the window outwards: the same sums in the same order."""
    size = planes.shape[axis]
    total = half[0] * planes
    for reach in range(1, len(half)):
        before, behind = np.abs(np.arange(size) - reach), np.arange(size) + reach
        behind = np.minimum(behind, 2 * (size - 1) - behind)
        total += half[reach] * (planes.take(before, axis) + planes.take(behind, axis))
    return total
