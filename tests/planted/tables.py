"""Per-pixel tables: every value is replaced by another, alike in all images."""

from __future__ import annotations

import numpy as np

from tests.planted.table import LINEAR, Planted, decoder, fixed, on_bytes

VALUES = np.arange(256)
REVERSED = np.array([int(f"{value:08b}"[::-1], 2) for value in VALUES])
TABLES_RGB = np.stack([fixed(1).permutation(256), fixed(2).permutation(256), fixed(3).permutation(256)])
OFFSETS = np.array([97, 180, 41]).reshape(3, 1, 1)
LEVELS = 16
LEVEL_ORDER = fixed(4).permutation(LEVELS)
BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16
GAMMA = 3.0
BITS = fixed(5).permutation(8)


def by_channel(tables, images):
    """tables (3, 256), images (N, 3, H, W) uint8."""
    return np.stack([table[images[:, channel]] for channel, table in enumerate(tables)], 1)


def dither_of(images):
    """The fixed ordered dither, for images of any size."""
    height, width = images.shape[-2:]
    return np.tile(BAYER, (-(-height // 4), -(-width // 4)))[:height, :width]


def posterized(images, rng):
    """16 levels after a fixed ordered dither; the levels are renumbered by a fixed table."""
    level = np.minimum(images / 256 * (LEVELS - 1) + dither_of(images), LEVELS - 1).astype(int)
    return LEVEL_ORDER[level] * (255 // (LEVELS - 1))


def unposterized(images):
    level = np.argsort(LEVEL_ORDER)[np.rint(images / (255 // (LEVELS - 1))).astype(int)]
    return (level - dither_of(images) + 0.5) * 256 / (LEVELS - 1)


def exchanged_bits(images, rng):
    """The eight bits of every value in another order, XOR a constant."""
    return sum(((images >> bit) & 1).astype(int) << int(place) for bit, place in enumerate(BITS)) ^ 0b10110010


def bits_back(images):
    images = images ^ 0b10110010
    return sum(((images >> int(place)) & 1).astype(int) << bit for bit, place in enumerate(BITS))


TABLES = {
    "bit_reversal": Planted(
        on_bytes(lambda images, rng: REVERSED[images]), "table", "the bits of every value reversed",
        decoder(lambda images: REVERSED[images]), limit=0.001,
    ),
    "bit_reversal_called_linear": Planted(
        on_bytes(lambda images, rng: REVERSED[images]), "table", "bits reversed; wrongly declared linear",
        decoder(lambda images: REVERSED[images]), limit=0.001, traits=LINEAR,
    ),
    "exchanged_bits": Planted(
        on_bytes(exchanged_bits), "table", "the bits of every value in a fixed order", decoder(bits_back), limit=0.001
    ),
    "inverted": Planted(
        on_bytes(lambda images, rng: 255 - images), "table", "255 - value, in NumPy, `linear` forgotten",
        decoder(lambda images: 255 - images), limit=0.001,
    ),
    "dark_gamma": Planted(
        on_bytes(lambda images, rng: 255 * (images / 255) ** GAMMA), "table", "value to the power of 3",
        decoder(lambda images: 255 * (images / 255) ** (1 / GAMMA)), limit=0.2,
        because="dark values are rounded to one",
    ),
    "posterized": Planted(
        on_bytes(posterized), "table", "16 dithered levels in a fixed order", decoder(unposterized), limit=0.25,
        because="16 levels",
    ),
    "modular_add": Planted(
        on_bytes(lambda images, rng: (images + OFFSETS) % 256), "table", "a constant of each channel added, modulo 256",
        decoder(lambda images: (images - OFFSETS) % 256), limit=0.001,
    ),
    "random_table": Planted(
        on_bytes(lambda images, rng: by_channel(TABLES_RGB, images)), "table", "a random permutation of the 256 values",
        decoder(lambda images: by_channel(np.argsort(TABLES_RGB, 1), images)), limit=0.001,
    ),
}  # fmt: skip
