"""Loops over pixels and words that Numba compiles; `harness.images.cpu` has the equivalent of each without Numba.

No fast-math: every sum is computed in NumPy's order, so both give the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_LANES = 64  # values at a time, so that a loop over them has a constant length


@njit(nogil=True, cache=True)
def fill(state: Any, words: Any) -> None:
    """SFC64 (Doty-Humphrey 2010), all lanes of (n, lanes) a step at a time."""
    a, b, c, counter = state[0], state[1], state[2], state[3]
    for i in range(len(words)):
        for lane in range(words.shape[1]):
            word = a[lane] + b[lane] + counter[lane]
            counter[lane] += np.uint64(1)
            a[lane] = b[lane] ^ (b[lane] >> np.uint64(11))
            b[lane] = c[lane] + (c[lane] << np.uint64(3))
            c[lane] = ((c[lane] << np.uint64(24)) | (c[lane] >> np.uint64(40))) + word
            words[i, lane] = word


@njit(nogil=True, cache=True)
def gather(images: Any, rows: Any, output: Any) -> None:
    """The given rows of images, 0 to 1.

    images  (N, values) uint8
    rows    (n,) int64 in [0, N)
    output  (n, values) float32, written to
    """
    for i in range(len(rows)):
        source, target = images[rows[i]], output[i]
        for j in range(len(target)):
            target[j] = np.float32(source[j]) / np.float32(255)


@njit(nogil=True, cache=True)
def round_and_check(images: Any, levels: Any) -> bool:
    """Clip images to 0 to 1, round them to levels of 255, half to even; whether all of them are finite.

    images  (n,) float32
    levels  (n,) uint8, written to
    """
    zero, one, top = np.float32(0), np.float32(1), np.float32(255)
    faults = np.zeros(_LANES, np.float32)  # a number less itself is 0, or NaN if it is not finite
    whole = len(images) - len(images) % _LANES
    for start in range(0, whole, _LANES):
        values, rounded = images[start : start + _LANES], levels[start : start + _LANES]
        for j in range(_LANES):
            faults[j] += values[j] - values[j]
            rounded[j] = np.int32(np.rint(min(max(values[j], zero), one) * top))
    for j in range(whole, len(images)):
        faults[0] += images[j] - images[j]
        levels[j] = np.int32(np.rint(min(max(images[j], zero), one) * top))
    finite = True
    for fault in faults:
        finite = finite and fault == zero
    return finite


@njit(nogil=True, cache=True)
def smallest(rows: Any, count: int, output: Any) -> None:
    """Whether a value is one of the `count` smallest of its row, or equal to the last of these.

    The last is found digit by digit, of 11, 11 and 10 bits: after each only the values that share its digits are left.

    rows    (n, values) uint32
    output  (n, values) bool, written to
    """
    left, counts = np.empty(rows.shape[1], np.uint32), np.empty(2048, np.int64)
    for row in range(len(rows)):
        values, mask = rows[row], output[row]
        remain, rank = len(values), count - 1
        for j in range(remain):
            left[j] = values[j]
        for shift, digits in ((21, 2047), (10, 2047), (0, 1023)):
            counts[:] = 0
            for j in range(remain):
                counts[(left[j] >> np.uint32(shift)) & np.uint32(digits)] += 1
            digit = 0
            while rank >= counts[digit]:
                rank -= counts[digit]
                digit += 1
            kept = 0
            for j in range(remain):
                value = left[j]
                left[kept] = value
                kept += int((value >> np.uint32(shift)) & np.uint32(digits) == np.uint32(digit))
            remain = kept
        last = left[0]
        for j in range(len(values)):
            mask[j] = values[j] <= last


@njit(nogil=True, cache=True)
def shuffle(images: Any, draws: Any, block: int, width: int, output: Any) -> None:
    """Fisher and Yates in every block, then every channel of a row of blocks in that order.

    images  (n, channels, H * W)
    draws   (n, blocks, block * block) uint32: the i-th settles which of the first i + 1 pixels comes i-th
    output  as images, written to
    """
    count, channels, pixels = images.shape
    size, across, band = block * block, width // block, block * width
    places = np.array([i // block * width + i % block for i in range(size)]).astype(np.uint32)  # in a row of blocks
    order = np.empty_like(places)
    source = np.empty(band, np.uint32)
    for image in range(count):
        for row in range(pixels // band):
            for column in range(across):
                drawn, part = draws[image, row * across + column], source[column * block :]
                for i in range(size):
                    order[i] = places[i]
                for last in range(size - 1, 0, -1):
                    pick = (np.uint64(drawn[last]) * np.uint64(last + 1)) >> np.uint64(32)
                    order[last], order[pick] = order[pick], order[last]
                for i in range(size):
                    part[places[i]] = order[i] + np.uint32(column * block)
            for channel in range(channels):
                plane = images[image, channel, row * band : (row + 1) * band]
                target = output[image, channel, row * band : (row + 1) * band]
                for i in range(band):
                    target[i] = plane[source[i]]


@njit(nogil=True, cache=True)
def pixelize(planes: Any, down: Any, across: Any, output: Any) -> None:
    """Average planes (n, H, W) float32 over the cells of a grid and fill the cells of `output` with their averages.

    down, across  (pixels, weights), (grid, longest) each: what a cell's average is made of, along H and along W
    """
    (rows, row_weights), (columns, column_weights) = down, across
    count, height, width = planes.shape
    grid, tall = rows.shape
    wide = columns.shape[1]
    line, cells = np.empty(width, np.float32), np.empty(grid, np.float32)
    cell_of = np.array([x * grid // width for x in range(width)])
    for plane in range(count):
        for cell in range(grid):
            row, weight = planes[plane, rows[cell, 0]], row_weights[cell, 0]
            for x in range(width):
                line[x] = weight * row[x]
            for j in range(1, tall):
                row, weight = planes[plane, rows[cell, j]], row_weights[cell, j]
                for x in range(width):
                    line[x] += weight * row[x]
            for other in range(grid):
                total = column_weights[other, 0] * line[columns[other, 0]]
                for j in range(1, wide):
                    total += column_weights[other, j] * line[columns[other, j]]
                cells[other] = total
            for x in range(width):
                line[x] = cells[cell_of[x]]
            for y in range(-(-cell * height // grid), -(-(cell + 1) * height // grid)):
                row = output[plane, y]
                for x in range(width):
                    row[x] = line[x]


@njit(nogil=True, cache=True)
def blur(planes: Any, half: Any, output: Any) -> None:
    """Blur planes, row by row: down the columns into `line`, then along it into `output`.

    Four pairs of pixels are weighed in one go, so that their sum is loaded and stored once for all.

    planes  (n, H, W) float32
    half    the window from its middle outwards, with zeros to 1 + a multiple of four
    output  as planes, written to
    """
    count, height, width = planes.shape
    reach = len(half) - 1
    padded = np.zeros(width + 2 * reach, np.float32)
    near = np.empty(height + 2 * reach, np.int64)
    for y in range(len(near)):
        mirrored = abs(y - reach)
        near[y] = max(0, min(mirrored, 2 * (height - 1) - mirrored))  # what a second mirror would show has no weight
    for plane in range(count):
        for y in range(height):
            line, rows = padded[reach : reach + width], near[y : y + 2 * reach + 1]
            for x in range(width):
                line[x] = half[0] * planes[plane, y, x]
            for j in range(1, reach, 4):
                w1, w2, w3, w4 = half[j], half[j + 1], half[j + 2], half[j + 3]
                a1, b1 = planes[plane, rows[reach - j]], planes[plane, rows[reach + j]]
                a2, b2 = planes[plane, rows[reach - j - 1]], planes[plane, rows[reach + j + 1]]
                a3, b3 = planes[plane, rows[reach - j - 2]], planes[plane, rows[reach + j + 2]]
                a4, b4 = planes[plane, rows[reach - j - 3]], planes[plane, rows[reach + j + 3]]
                for x in range(width):
                    total = line[x] + w1 * (a1[x] + b1[x]) + w2 * (a2[x] + b2[x])
                    line[x] = total + w3 * (a3[x] + b3[x]) + w4 * (a4[x] + b4[x])
            for x in range(min(reach, width - 1)):
                padded[reach - 1 - x] = line[x + 1]
                padded[reach + width + x] = line[width - 2 - x]
            target = output[plane, y]
            for x in range(width):
                target[x] = half[0] * line[x]
            for j in range(1, reach, 4):
                w1, w2, w3, w4 = half[j], half[j + 1], half[j + 2], half[j + 3]
                a, b = padded[reach - j - 3 : reach - j + width], padded[reach + j : reach + j + 3 + width]
                for x in range(width):
                    total = target[x] + w1 * (a[x + 3] + b[x]) + w2 * (a[x + 2] + b[x + 1])
                    target[x] = total + w3 * (a[x + 1] + b[x + 2]) + w4 * (a[x] + b[x + 3])
