"""Every value is combined with another: of a neighbour, of a channel, of the previous image of the call."""

from __future__ import annotations

import numpy as np

from tests.planted.table import Planted, decoder, fixed, on_bytes

SUBSTITUTE = fixed(70).permutation(256)
BACK = np.argsort(SUBSTITUTE)


def before(values, axis):
    """The value before each along an axis, 0 before the first."""
    first = np.zeros_like(values.take([0], axis))
    return np.concatenate([first, values.take(range(values.shape[axis] - 1), axis)], axis)


def paired(images, rng):
    """Three rounds of a Feistel network on each two neighbours of a row."""
    images = images.astype(int)
    left, right = images[..., ::2], images[..., 1::2]
    left = (left + SUBSTITUTE[right]) % 256
    right = right ^ SUBSTITUTE[left]
    return side_by_side((left + SUBSTITUTE[right]) % 256, right)


def unpaired(images):
    images = images.astype(int)
    left, right = images[..., ::2], images[..., 1::2]
    left = (left - SUBSTITUTE[right]) % 256
    right = right ^ SUBSTITUTE[left]
    return side_by_side((left - SUBSTITUTE[right]) % 256, right)


def side_by_side(left, right):
    return np.stack([left, right], -1).reshape(*left.shape[:-1], -1)


def chained(images, rng):
    """Substitution of each value XOR the last result of its row."""
    images, last, columns = images.astype(int), 0, []
    for column in range(images.shape[3]):
        last = SUBSTITUTE[images[..., column] ^ last]
        columns.append(last)
    return np.stack(columns, -1)


def channels_chained(images, rng):
    red, green, blue = images.astype(int).swapaxes(0, 1)
    return np.stack([SUBSTITUTE[red], (green + SUBSTITUTE[red]) % 256, blue ^ SUBSTITUTE[green]], 1)


def channels_unchained(images):
    first, second, third = images.astype(int).swapaxes(0, 1)
    green = (second - first) % 256
    return np.stack([BACK[first], green, third ^ SUBSTITUTE[green]], 1)


COMBINED = {
    "feistel_pairs": Planted(
        on_bytes(paired), "combined values", "a Feistel network on each two neighbours", decoder(unpaired), limit=0.001
    ),
    "chained_values": Planted(
        on_bytes(chained), "combined values", "each value substituted after XOR with the result before it",
        decoder(lambda images: BACK[images] ^ before(images.astype(int), 3)), limit=0.001,
    ),
    "substituted_differences": Planted(
        on_bytes(lambda images, rng: SUBSTITUTE[(images - before(images.astype(int), 3)) % 256]), "combined values",
        "differences along the rows, substituted", decoder(lambda images: BACK[images].cumsum(3) % 256), limit=0.001,
    ),
    "chained_channels": Planted(
        on_bytes(channels_chained), "combined values", "each channel combined with the one before",
        decoder(channels_unchained), limit=0.001,
    ),
    "chained_images": Planted(
        on_bytes(lambda images, rng: (images - before(images.astype(int), 0)) % 256), "combined values",
        "the difference to the previous image of the call", decoder(lambda images: images.astype(int).cumsum(0) % 256),
        limit=0.001,
    ),
}  # fmt: skip
