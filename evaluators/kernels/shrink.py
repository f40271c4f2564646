"""An image as Pillow's `convert("L")` and its 8-bit LANCZOS `resize` shrink it, in the same integers."""

from __future__ import annotations

import numpy as np

from harness.plugins.evaluators.kernels.jit import helper, kernel
from harness.types import Array

HALF = 2**21  # of the unit of Pillow's coefficients


@kernel
def pillow_shrink(
    image: Array, tall: bool, starts_down: Array, taps_down: Array, starts_across: Array, taps_across: Array
) -> Array:
    """(side, side) grey levels of a (3, H, W) image; all NaN where any of its numbers is NaN.

    tall    whether rows are reduced first
    starts  (side,) where the taps of each row of the result begin
    taps    (side, K) int32, in units of 2**-22
    """
    side = len(starts_down)
    grey = np.empty(image.shape[1:], np.int32)
    for row in range(len(grey)):
        if _grey(image[0, row], image[1, row], image[2, row], grey[row]):
            return np.full((side, side), np.nan)
    if tall:
        grey = _across(_down(grey, starts_down, taps_down), starts_across, taps_across)
    else:
        grey = _down(_across(grey, starts_across, taps_across), starts_down, taps_down)
    return grey.astype(np.float64)


@helper
def _grey(red: Array, green: Array, blue: Array, grey: Array) -> int:
    """One row; returns whether any of it is NaN."""
    not_a_number = 0
    for j in range(len(grey)):
        not_a_number |= int(red[j] != red[j]) | int(green[j] != green[j]) | int(blue[j] != blue[j])
        grey[j] = (_byte(red[j]) * 19595 + _byte(green[j]) * 38470 + _byte(blue[j]) * 7471 + 0x8000) >> 16
    return not_a_number


@helper
def _byte(level: np.float32) -> np.int32:
    rounded = np.rint(level * np.float32(255))
    return np.int32(min(max(rounded, np.float32(0)), np.float32(255)))


@helper
def _across(grey: Array, starts: Array, taps: Array) -> Array:
    if grey.shape[1] == len(starts):
        return grey
    shrunk = np.empty((len(grey), len(starts)), np.int32)
    for row in range(len(grey)):
        for column in range(len(starts)):
            pixels, weights = grey[row, starts[column] :], taps[column]
            total = HALF
            for t in range(len(weights)):
                total += pixels[t] * weights[t]
            shrunk[row, column] = min(max(total >> 22, 0), 255)
    return shrunk


@helper
def _down(grey: Array, starts: Array, taps: Array) -> Array:
    if len(grey) == len(starts):
        return grey
    shrunk = np.empty((len(starts), grey.shape[1]), np.int32)
    totals = np.empty(grey.shape[1], np.int32)
    for row in range(len(starts)):
        totals[:] = HALF
        for t in range(taps.shape[1]):
            pixels, weight = grey[starts[row] + t], taps[row, t]
            for column in range(len(totals)):
                totals[column] += pixels[column] * weight
        for column in range(len(totals)):
            shrunk[row, column] = min(max(totals[column] >> 22, 0), 255)
    return shrunk
