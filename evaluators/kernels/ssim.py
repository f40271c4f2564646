"""1 - SSIM of a pair of images.

Only the sum and the difference of x and y are used, a = x + y and b = x - y. With A, B the squares of their
means in the window and P, Q their variances, Wang's equation 13 reads (A - B + 2 c1)(P - Q + 2 c2) / ((A + B + 2 c1)
(P + Q + 2 c2)), and 1 - SSIM is 2 ((A + 2 c1) Q + (P + 2 c2) B) / ((A + B + 2 c1)(P + Q + 2 c2)): no cancellation, and
exactly 0 where x is y.

Means and variances are filtered across, then down, relative to the pixel in the middle, which weighs most: so float32
resolves the small variances of flat areas at any level.
"""

from __future__ import annotations

import numpy as np

from harness.plugins.evaluators.kernels.jit import helper, kernel
from harness.types import Array

STRIP = 32  # columns of the result
ROW = 4 * STRIP  # mean and variance of a, mean and variance of b
ZERO, TWO = np.float32(0), np.float32(2)


@kernel
def ssim_loss(x: Array, y: Array, taps: tuple[np.float32, ...], c1: np.float32, c2: np.float32) -> float:
    """1 - SSIM of x and y, (3, H, W), at least as large as the window; all float32.

    taps  the window, a tuple: its length unrolls the filters
    """
    channels, height, width = x.shape
    window = len(taps)
    columns, rows = width - window + 1, height - window + 1
    reach = STRIP + window - 1
    a, b = np.zeros(reach, np.float32), np.zeros(reach, np.float32)
    strip = np.empty(height * ROW, np.float32)
    filtered, losses = np.empty(ROW, np.float32), np.empty(STRIP)
    total = 0.0
    for begin in range(0, columns, STRIP):
        left = max(min(begin, width - reach), 0)  # the last strip begins earlier, and all are of one width
        losses[:] = 0
        for channel in range(channels):
            for row in range(height):
                _combine(x[channel, row, left : left + reach], y[channel, row, left : left + reach], a, b)
                _across(a, taps, strip[row * ROW : row * ROW + ROW // 2])
                _across(b, taps, strip[row * ROW + ROW // 2 : (row + 1) * ROW])
            for row in range(rows):
                _down(strip[row * ROW : (row + window) * ROW], taps, filtered[: ROW // 2])
                _down(strip[row * ROW + ROW // 2 : (row + window) * ROW], taps, filtered[ROW // 2 :])
                _compare(filtered, TWO * c1, TWO * c2, losses)
        for column in range(begin - left, min(STRIP, columns - left)):
            total += losses[column]
    mean: float = total / (channels * rows * columns)
    return mean


@helper
def _combine(x: Array, y: Array, a: Array, b: Array) -> None:
    for j in range(len(x)):
        a[j] = x[j] + y[j]
        b[j] = x[j] - y[j]


@helper
def _across(field: Array, taps: tuple[np.float32, ...], filtered: Array) -> None:
    for j in range(STRIP):
        middle = field[j + len(taps) // 2]
        mean = square = ZERO
        for t, tap in enumerate(taps):
            away = field[j + t] - middle
            mean += tap * away
            square += tap * away * away
        filtered[j] = middle + mean
        filtered[STRIP + j] = square - mean * mean


@helper
def _down(rows: Array, taps: tuple[np.float32, ...], filtered: Array) -> None:
    """The variance is the mean of the rows' variances and the variance of their means."""
    for j in range(STRIP):
        middle = rows[len(taps) // 2 * ROW + j]
        mean = square = ZERO
        for t, tap in enumerate(taps):
            away = rows[t * ROW + j] - middle
            mean += tap * away
            square += tap * (away * away + rows[t * ROW + STRIP + j])
        filtered[j] = middle + mean
        filtered[STRIP + j] = square - mean * mean


@helper
def _compare(filtered: Array, c1: np.float32, c2: np.float32, losses: Array) -> None:
    for j in range(STRIP):
        a, p, b, q = filtered[j], filtered[STRIP + j], filtered[2 * STRIP + j], filtered[3 * STRIP + j]
        a, b = a * a, b * b
        losses[j] += TWO * ((a + c1) * q + (p + c2) * b) / ((a + b + c1) * (p + q + c2))
