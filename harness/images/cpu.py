"""CPU implementations of some operations in `harness.images.ops`: NumPy, OpenCV, and loops that Numba compiles.

Each gives the result of the plain torch expression beside its caller, up to the last bits of a float32, several times
faster and the same on any number of threads. Without Numba the results are the same, slower.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from harness.types import Array


@lru_cache(maxsize=1)
def loops() -> Any:
    """The module `numba_loops`, or None where Numba is missing; on first use, as Numba takes a second to load."""
    try:
        from harness.images import numba_loops
    except ImportError:
        return None
    return numba_loops


def fill(state: Array, words: Array) -> None:
    """Fill words (n, lanes) uint64 from one SFC64 per lane; advances `state` (4, lanes) uint64 in place."""
    if loops() is not None:
        loops().fill(state, words)
        return
    bits = np.random.SFC64(0)
    for lane in range(words.shape[1]):
        lane_state: Any = {
            "bit_generator": "SFC64",
            "state": {"state": state[:, lane].copy()},
            "has_uint32": 0,
            "uinteger": 0,
        }
        bits.state = lane_state
        words[:, lane] = bits.random_raw(len(words))
        state[:, lane] = bits.state["state"]["state"]


def gathered(images: Array, rows: Array) -> Array:
    """The given rows of uint8 images (N, ...) as float32 in [0, 1]; rows of any shape."""
    flat = rows.reshape(-1)
    inside = flat.size > 0 and flat.min() >= 0 and flat.max() < len(images)
    if loops() is None or not inside or not images.flags.c_contiguous:
        return np.asarray(np.divide(images[rows], np.float32(255), dtype=np.float32))
    output = np.empty((*rows.shape, *images.shape[1:]), np.float32)
    loops().gather(images.reshape(len(images), -1), flat.astype(np.int64), output.reshape(len(flat), -1))
    return output


def rounded(images: Array) -> Array:
    """As `ops.to_bytes`, to the last bit: OpenCV multiplies, rounds (half to even) and converts in one pass."""
    levels: Array = cv2.convertScaleAbs(images.clip(0, 1).reshape(1, -1), alpha=255)
    return levels.reshape(images.shape)


def round_and_check(images: Array, levels: Array) -> bool:
    """Whether float32 images, in C order, are all finite; if so, `levels` (uint8, the same shape) gets them rounded."""
    if loops() is not None and levels.flags.c_contiguous:
        return bool(loops().round_and_check(images.reshape(-1), levels.reshape(-1)))
    if not np.isfinite(images).all():
        return False
    levels[...] = rounded(images)
    return True


def shuffled(images: Array, draws: Array, block: int) -> Array:
    """As `harness.images.ops.shuffle_by`; requires Numba.

    images  (n, channels, H, W) float32
    draws   (n, blocks, block * block) uint32
    """
    output = np.empty_like(images)
    flat = (*images.shape[:2], -1)
    loops().shuffle(images.reshape(flat), draws, block, images.shape[-1], output.reshape(flat))
    return output


def smallest(rows: Array, count: int) -> Array:
    """(n, values) bool: whether a value is one of the `count` smallest of its row, or equal to the last of these."""
    output = np.empty(rows.shape, bool)
    if loops() is not None and rows.dtype == np.uint32:
        loops().smallest(np.ascontiguousarray(rows), count, output)
        return output
    for row, mask in zip(rows, output, strict=True):
        np.less_equal(row, np.partition(row, count - 1)[count - 1], out=mask)
    return output


def pixelized(planes: Array, grid: int) -> Array:
    """Planes (n, H, W) float32 averaged down to grid x grid cells and enlarged again by nearest neighbour."""
    height, width = planes.shape[1:]
    down, across = _cells(height, grid), _cells(width, grid)
    if loops() is None:
        cells: Array = _averaged(_averaged(planes, *down, 1), *across, 2)
        rows, columns = (np.arange(size) * grid // size for size in (height, width))
        return np.ascontiguousarray(cells.take(rows, 1).take(columns, 2))
    output = np.empty_like(planes)
    loops().pixelize(planes, down, across, output)
    return output


@lru_cache(maxsize=32)
def _cells(size: int, grid: int) -> tuple[Array, Array]:
    """The pixels that each cell of an axis covers and their weights, (grid, longest) each; padding has weight 0."""
    edges, pixel = np.arange(grid + 1) * size, grid  # in units in which both are integers
    first, end = edges[:-1] // pixel, -(-edges[1:] // pixel)
    pixels = first[:, None] + np.arange((end - first).max())
    covered = np.minimum(edges[1:, None], (pixels + 1) * pixel) - np.maximum(edges[:-1, None], pixels * pixel)
    return np.minimum(pixels, size - 1), (covered.clip(0) / size).astype(np.float32)


def _averaged(planes: Array, pixels: Array, weights: Array, axis: int) -> Array:
    """One axis of the cells, pixel after pixel: the same sums in the same order."""
    weights = weights[..., None] if axis == 1 else weights
    total: Array = weights[:, 0] * planes.take(pixels[:, 0], axis)
    for j in range(1, pixels.shape[1]):
        total += weights[:, j] * planes.take(pixels[:, j], axis)
    return total


def blurred(planes: Array, window: Array) -> Array:
    """Planes (n, H, W) float32 under a symmetric window along both axes, reflected at the border pixels.

    window  (odd,) float32, shorter than twice each side
    """
    half, output = window[len(window) // 2 :], np.empty_like(planes)
    if loops() is None:
        return _weighted(_weighted(planes, half, 1), half, 2)
    loops().blur(planes, np.concatenate([half, np.zeros(-(len(half) - 1) % 4, np.float32)]), output)
    return output


def _weighted(planes: Array, half: Array, axis: int) -> Array:
    """One axis of the blur, from the middle of the window outwards: the same sums in the same order."""
    size = planes.shape[axis]
    total: Array = half[0] * planes
    for reach in range(1, len(half)):
        before, after = np.abs(np.arange(size) - reach), np.arange(size) + reach
        after = np.minimum(after, 2 * (size - 1) - after)
        total += half[reach] * (planes.take(before, axis) + planes.take(after, axis))
    return total
