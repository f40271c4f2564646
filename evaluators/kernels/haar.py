"""1 - HaarPSI of a pair of images.

A Haar coefficient is computed from sums of pairs of pixels, of pairs of these and so on, first across, then down,
without convolution. Both images are processed together, a strip at a time, down to two sums per image.
"""

from __future__ import annotations

import math

import numpy as np

from harness.plugins.evaluators.kernels.jit import helper, kernel, part
from harness.types import Array

STRIP = 32  # columns of the result
FIELDS = 8  # across: sums of 2, 4 and 8 columns, differences of 1, 2 and 4, sums of 2 of I and Q
ROW = 2 * FIELDS * STRIP  # of both images
TALL = 8  # rows under the largest wavelet
BEFORE = 3  # a wavelet of 8 begins 3 pixels before its place
EPS = float(np.finfo(np.float32).eps)
HALF, QUARTER, ONE, TWO, ZERO = np.float32(0.5), np.float32(0.25), np.float32(1), np.float32(2), np.float32(0)
FROM_SUM = np.float32(255 / 4)  # of four pixels in [0, 1] to the grey level of one
Y_RED, Y_GREEN, Y_BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)
I_RED, I_GREEN, I_BLUE = np.float32(0.5959), np.float32(-0.2746), np.float32(-0.3213)
Q_RED, Q_GREEN, Q_BLUE = np.float32(0.2115), np.float32(-0.5227), np.float32(0.3112)
THIRD, FIFTH, SIXTH = np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 6)


@kernel
def haar_loss(x: Array, y: Array, c: np.float32, alpha: np.float32) -> float:
    """1 - HaarPSI of x and y, (3, H, W) in [0, 1]; c and alpha as in evaluators.privacy.dhaar; all float32."""
    ours, theirs = _halved(x), _halved(y)
    rows, columns = (x.shape[1] + 1) // 2, (x.shape[2] + 1) // 2
    ring = np.zeros(2 * TALL * ROW, np.float32)  # each row is stored twice, so that any 8 are in order
    work = np.zeros(5 * STRIP, np.float32)
    sums = np.empty(2 * STRIP)
    loss = weight = 0.0
    for left in range(0, columns, STRIP):
        sums[:] = 0
        for row in range(rows + TALL - 1):
            slot = row % TALL * ROW
            again = slot + TALL * ROW
            _across(ours, row, left, ring[slot : slot + ROW // 2])
            _across(theirs, row, left, ring[slot + ROW // 2 : slot + ROW])
            _copy(ring[slot : slot + ROW], ring[again : again + ROW])
            if row >= TALL - 1:
                _compare(ring[slot + ROW : again + ROW], c, work)
                _gather(work, alpha, sums)
        for column in range(min(STRIP, columns - left)):
            loss += sums[column]
            weight += sums[STRIP + column]
    return _score(loss, weight, alpha)


@helper
def _score(loss: float, weight: float, alpha: np.float32) -> float:
    """1 - the square of the logit of the weighted mean."""
    if loss == 0:
        return 0.0
    k = math.exp(-alpha)
    share = 1 / (1 + k) - loss * k / (1 + k) / (weight + EPS)
    score = (math.log(share / (1 - share)) / alpha) ** 2
    return 0.0 if score > 1 else float(1 - score)


@part
def _halved(image: Array) -> Array:
    """(3, rows, columns) Y, I and Q of 0 to 255, 2x2 pixels in one, with zeros around."""
    height, width = image.shape[1:]
    rows, columns = (height + 1) // 2, (width + 1) // 2
    halved = np.zeros((3, rows + TALL - 1, (columns + STRIP - 1) // STRIP * STRIP + TALL), np.float32)
    nothing, box = np.zeros(width, np.float32), np.empty((3, columns), np.float32)
    for row in range(rows):
        for channel in range(3):
            upper = image[channel, 2 * row]
            lower = image[channel, 2 * row + 1] if 2 * row + 1 < height else nothing
            _pairs(upper, lower, box[channel])
        place = BEFORE + row
        red, green, blue = box
        for j in range(columns):
            halved[0, place, BEFORE + j] = red[j] * Y_RED + green[j] * Y_GREEN + blue[j] * Y_BLUE
            halved[1, place, BEFORE + j] = red[j] * I_RED + green[j] * I_GREEN + blue[j] * I_BLUE
            halved[2, place, BEFORE + j] = red[j] * Q_RED + green[j] * Q_GREEN + blue[j] * Q_BLUE
    return halved


@helper
def _pairs(upper: Array, lower: Array, box: Array) -> None:
    width = len(upper)
    for j in range(width // 2):
        box[j] = ((upper[2 * j] + lower[2 * j]) + (upper[2 * j + 1] + lower[2 * j + 1])) * FROM_SUM
    if width % 2:
        box[width // 2] = (upper[width - 1] + lower[width - 1]) * FROM_SUM


@helper
def _copy(row: Array, again: Array) -> None:
    for j in range(ROW):
        again[j] = row[j]


@helper
def _across(planes: Array, row: int, left: int, fields: Array) -> None:
    luma = planes[0, row, left : left + STRIP + TALL - 1]
    for j in range(STRIP):
        outer_left, outer_right = luma[j] + luma[j + 1], luma[j + 6] + luma[j + 7]
        inner_left, inner_right = luma[j + 2] + luma[j + 3], luma[j + 4] + luma[j + 5]
        fields[j] = luma[j + 3] + luma[j + 4]
        fields[STRIP + j] = inner_left + inner_right
        fields[2 * STRIP + j] = (outer_left + inner_left) + (inner_right + outer_right)
        fields[3 * STRIP + j] = luma[j + 3] - luma[j + 4]
        fields[4 * STRIP + j] = inner_left - inner_right
        fields[5 * STRIP + j] = (outer_left + inner_left) - (inner_right + outer_right)
    for plane in range(2):
        colour = planes[1 + plane, row, left + BEFORE : left + BEFORE + STRIP + 1]
        for j in range(STRIP):
            fields[(6 + plane) * STRIP + j] = colour[j] + colour[j + 1]


@helper
def _compare(rows: Array, c: np.float32, work: Array) -> None:
    """Writes to work: 1 - similarity down, along and in colour, and the weights down and along."""
    for j in range(STRIP):
        ours, theirs = j, ROW // 2 + j
        one = _unlike(_down(rows, ours, 1), _down(rows, theirs, 1), c)
        two = _unlike(_down(rows, ours + STRIP, 2), _down(rows, theirs + STRIP, 2), c)
        work[j] = (one + two) * HALF
        work[3 * STRIP + j] = max(_down(rows, ours + 2 * STRIP, 4), _down(rows, theirs + 2 * STRIP, 4))
    for j in range(STRIP):
        ours, theirs = 3 * STRIP + j, ROW // 2 + 3 * STRIP + j
        one = _unlike(_along(rows, ours, 1), _along(rows, theirs, 1), c)
        two = _unlike(_along(rows, ours + STRIP, 2), _along(rows, theirs + STRIP, 2), c)
        work[STRIP + j] = (one + two) * HALF
        work[4 * STRIP + j] = max(_along(rows, ours + 2 * STRIP, 4), _along(rows, theirs + 2 * STRIP, 4))
    for j in range(STRIP):
        ours, theirs = 6 * STRIP + j, ROW // 2 + 6 * STRIP + j
        one = _unlike(_mean(rows, ours), _mean(rows, theirs), c)
        two = _unlike(_mean(rows, ours + STRIP), _mean(rows, theirs + STRIP), c)
        work[2 * STRIP + j] = (one + two) * HALF


@helper
def _down(rows: Array, at: int, half: int) -> np.float32:
    difference = ZERO
    for row in range(half):
        difference += rows[(BEFORE - row) * ROW + at] - rows[(BEFORE + 1 + row) * ROW + at]
    magnitude: np.float32 = abs(difference) * (HALF / np.float32(half))
    return magnitude


@helper
def _along(rows: Array, at: int, half: int) -> np.float32:
    total = ZERO
    for row in range(half):
        total += rows[(BEFORE - row) * ROW + at] + rows[(BEFORE + 1 + row) * ROW + at]
    return abs(total) * (HALF / np.float32(half))


@helper
def _mean(rows: Array, at: int) -> np.float32:
    mean: np.float32 = abs(rows[BEFORE * ROW + at] + rows[(BEFORE + 1) * ROW + at]) * QUARTER
    return mean


@helper
def _unlike(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """1 - (2ab + c) / (a^2 + b^2 + c)"""
    return (a - b) * (a - b) / (a * a + b * b + c)


@helper
def _gather(work: Array, alpha: np.float32, sums: Array) -> None:
    """Adds the weighted losses and the weights, per column.

    With k = exp(-alpha) and e = exp(alpha d) - 1, logistic(alpha) - logistic(alpha (1 - d)) is k e / ((1 + k)
    (1 + k + k e)). e is computed from its series at a fraction of alpha d and doublings, faster than any
    library's exp.
    """
    k, scale, doublings = np.float32(math.exp(-alpha)), alpha, 0
    while scale > QUARTER:
        scale, doublings = scale * HALF, doublings + 1
    for j in range(3 * STRIP):
        z = work[j] * scale
        tail = ONE + z * QUARTER * (ONE + z * FIFTH * (ONE + z * SIXTH))
        work[j] = z * (ONE + z * HALF * (ONE + z * THIRD * tail))
    for _ in range(doublings):
        for j in range(3 * STRIP):
            work[j] *= work[j] + TWO
    for j in range(STRIP):
        down, along, colour = work[j], work[STRIP + j], work[2 * STRIP + j]
        weight_down, weight_along = work[3 * STRIP + j], work[4 * STRIP + j]
        weight_colour = (weight_down + weight_along) * HALF
        loss = weight_down * down / (ONE + k + k * down) + weight_along * along / (ONE + k + k * along)
        sums[j] += loss + weight_colour * colour / (ONE + k + k * colour)
        sums[STRIP + j] += weight_down + weight_along + weight_colour
