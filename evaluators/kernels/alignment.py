"""How an image is laid onto another: luminance, the largest correlation over poses and shifts, and matched colours.

evaluators.alignment defines all of it, and transforms the spectra between these steps.
"""

from __future__ import annotations

import numpy as np

from harness.plugins.evaluators.kernels.jit import helper, kernel, part
from harness.types import Array

FLAT, TIE = np.float32(1e-5), np.float32(1e-5)  # as in evaluators.alignment
RED, GREEN, BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)
ZERO, HALF, TOP = np.float32(0), np.float32(0.5), np.float32(255)


@kernel
def unit_luminance(x: Array, y: Array) -> Array:
    """(H, W) complex64: luminance of x and, as imaginary part, of y; each of mean 0 and length 1, or 0 if constant."""
    height, width = x.shape[1:]
    pair = np.empty((height, width, 2), np.float32)
    luma = np.empty((height, width), np.float32)
    for side, image in enumerate((x, y)):
        scale = _centred(image, luma)
        for row in range(height):
            for j in range(width):
                pair[row, j, side] = luma[row, j] * scale
    return pair.view(np.complex64)[:, :, 0]


@part
def _centred(image: Array, luma: Array) -> np.float32:
    """Writes the luminance less its mean; returns 1 / length, or 0 where it is constant."""
    height, width = luma.shape
    sums, low, high = np.zeros(width), np.full(width, np.inf, np.float32), np.full(width, -np.inf, np.float32)
    for row in range(height):
        red, green, blue, grey = image[0, row], image[1, row], image[2, row], luma[row]
        for j in range(width):
            level = red[j] * RED + green[j] * GREEN + blue[j] * BLUE
            grey[j] = level
            sums[j] += level
            low[j] = min(low[j], level)
            high[j] = max(high[j], level)
    mean = np.float32(sums.sum() / (height * width))
    if high.max() - low.min() < FLAT:
        return np.float32(0)
    sums[:] = 0
    for row in range(height):
        grey = luma[row]
        for j in range(width):
            grey[j] -= mean
            sums[j] += grey[j] * grey[j]
    return np.float32(1 / np.sqrt(sums.sum()))


@kernel
def packed_products(spectrum: Array, square: bool) -> Array:
    """(P, H, W) complex64 products, of a pose and its half turn each: P is 4, or 2 if not square.

    spectrum  (H, W) complex64, the transform of `unit_luminance`
    """
    height, width = spectrum.shape
    hartley, original = np.empty((height, width), np.float32), np.empty((height, width, 2), np.float32)
    values = spectrum.view(np.float32).reshape(height, width, 2)
    mirrored = np.empty((width, 2), np.float32)
    for row in range(height):
        here, there, original_row, hartley_row = values[row], values[-row], original[row], hartley[row]
        mirrored[0] = there[0]
        for j in range(1, width):
            mirrored[j, 0] = there[width - j, 0]
            mirrored[j, 1] = there[width - j, 1]
        for j in range(width):
            hartley_row[j] = (here[j, 0] + mirrored[j, 0] - here[j, 1] + mirrored[j, 1]) * HALF
            original_row[j, 0] = (here[j, 1] + mirrored[j, 1]) * HALF
            original_row[j, 1] = (mirrored[j, 0] - here[j, 0]) * HALF
    products = np.empty((4 if square else 2, height, width, 2), np.float32)
    for swap in range(2 if square else 1):
        poses = hartley.T.copy() if swap else hartley
        for row in range(height):
            _multiply(poses[row], original[row], products[2 * swap, row])
            _multiply(poses[-row], original[row], products[2 * swap + 1, row])
    return products.view(np.complex64)[..., 0]


@helper
def _multiply(real: Array, original: Array, product: Array) -> None:
    for j in range(len(real)):
        product[j, 0] = real[j] * original[j, 0]
        product[j, 1] = real[j] * original[j, 1]


@kernel
def best_pose(planes: Array) -> tuple[int, int, int, bool]:
    """Pose, rows and columns to shift by, and whether to invert, of the largest correlation; ties: the first.

    planes  (P, H, W) complex64; re - im is the correlation of pose 2p, re + im that of pose 2p + 1
    """
    tops = np.zeros(len(planes), np.float32)
    for plane in range(len(planes)):
        tops[plane] = _largest(planes[plane])
    least = tops.max() - TIE
    if not least > 0:
        return 0, 0, 0, False
    for pose in range(2 * len(planes)):
        if tops[pose // 2] >= least:
            sign = np.float32(1 if pose % 2 else -1)
            for row in range(planes.shape[1]):
                for column in range(planes.shape[2]):
                    value = planes[pose // 2, row, column]
                    correlation = value.real + sign * value.imag
                    if abs(correlation) >= least:
                        return pose, row, column, correlation < 0
    return 0, 0, 0, False


@part
def _largest(plane: Array) -> np.float32:
    """The larger of |re - im| and |re + im| is |re| + |im|."""
    tops = np.zeros(plane.shape[1], np.float32)
    for row in range(len(plane)):
        line = plane[row]
        for j in range(len(line)):
            tops[j] = max(tops[j], abs(line[j].real) + abs(line[j].imag))
    top: np.float32 = tops.max()
    return top


@kernel
def matched(x: Array, y: Array, pose: int, down: int, right: int, invert: bool) -> tuple[Array, Array]:
    """Two (3, H, W) images: x laid onto y, each channel with y's mean and deviation, and with y's sorted values.

    pose, down, right, invert  as `best_pose` returns them
    """
    channels, height, width = x.shape
    rows, columns = np.empty(height, np.int64), np.empty(width, np.int64)
    _source_of(rows, down, pose // 2 % 2 == 1, pose % 2 == 1)
    _source_of(columns, right, False, pose % 2 == 1)
    levelled, sorted_ = np.empty(x.shape, np.float32), np.empty(x.shape, np.float32)
    laid = np.empty((height, width), np.float32)
    ours, theirs = np.empty(height * width, np.uint8), np.empty(height * width, np.uint8)
    for channel in range(channels):
        plane = x[channel]
        if pose >= 4:
            for i in range(height):
                for j in range(width):
                    laid[i, j] = plane[columns[j], rows[i]]
        else:
            for i in range(height):
                source = plane[rows[i]]
                for j in range(width):
                    laid[i, j] = source[columns[j]]
        _level(laid, y[channel], invert, levelled[channel])
        flat, target, out = laid.reshape(-1), y[channel].copy().reshape(-1), sorted_[channel].reshape(-1)
        if _bytes(flat, ours) and _bytes(target, theirs):
            _sort_bytes(ours, theirs, invert, out)
        else:
            out[np.argsort(-flat if invert else flat, kind="mergesort")] = np.sort(target)
    return levelled, sorted_


@helper
def _source_of(places: Array, shift: int, flip: bool, turn: bool) -> None:
    """Where along one axis each pixel of the laid image comes from: (-1)^(flip + turn) (place - shift), circular."""
    for i in range(len(places)):
        place = shift - i if flip != turn else i - shift
        places[i] = place % len(places)


@part
def _level(laid: Array, target: Array, invert: bool, out: Array) -> None:
    mean, deviation, flat = _moments(laid)
    wanted, spread, _ = _moments(target)
    gain = np.float32(0 if flat else spread / deviation * (-1 if invert else 1))
    centre, level = np.float32(mean), np.float32(wanted)
    for i in range(len(laid)):
        source, line = laid[i], out[i]
        for j in range(len(source)):
            line[j] = (source[j] - centre) * gain + level


@part
def _moments(plane: Array) -> tuple[float, float, bool]:
    """Mean, deviation, and whether it is constant."""
    height, width = plane.shape
    sums, squares, first = np.zeros(width), np.zeros(width), plane[0, 0]
    low, high = np.full(width, np.inf, np.float32), np.full(width, -np.inf, np.float32)
    for row in range(height):
        line = plane[row]
        for j in range(width):
            level = np.float64(line[j] - first)
            sums[j] += level
            squares[j] += level * level
            low[j] = min(low[j], line[j])
            high[j] = max(high[j], line[j])
    mean = sums.sum() / (height * width)
    variance = max(squares.sum() / (height * width) - mean * mean, 0.0)
    return first + mean, np.sqrt(variance), high.max() - low.min() < FLAT


@part
def _bytes(values: Array, levels: Array) -> bool:
    """Writes 255 times the values; returns whether all are k / 255 for a whole k of 0 to 255."""
    other = 0
    for j in range(len(values)):
        level = np.rint(values[j] * TOP)
        other |= int(level / TOP != values[j]) | int(level < 0) | int(level > TOP)
        levels[j] = np.int32(min(max(level, ZERO), TOP))
    return other == 0


@part
def _sort_bytes(ours: Array, theirs: Array, invert: bool, out: Array) -> None:
    """Gives each pixel the value of its rank among the target's; of equal pixels, the first has the lower rank."""
    counts, wanted = np.zeros(257, np.int64), np.zeros(256, np.int64)
    for j in range(len(ours)):
        counts[ours[j] + 1] += 1
        wanted[theirs[j]] += 1
    ranked = np.empty(len(ours), np.float32)
    place = 0
    for level in range(256):
        ranked[place : place + wanted[level]] = np.float32(level) / TOP
        place += wanted[level]
    starts = np.cumsum(counts)
    if invert:
        for level in range(256):
            starts[level] = len(ours) - starts[level + 1]
    for j in range(len(ours)):
        level = ours[j]
        out[j] = ranked[starts[level]]
        starts[level] += 1
