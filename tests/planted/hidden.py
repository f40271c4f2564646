"""The picture hidden in something else: low bits, residues, a carrier, a corner, every other pixel."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from tests.planted.fresh import each
from tests.planted.table import Planted, decoder, on_bytes, per_image

MODULUS, RESIDUES = 17, 15  # a residue 0..15, in random multiples of 17


def cover(images, rng):
    return rng.integers(0, 256, images.shape)


def in_low_bits(images, rng):
    return (cover(images, rng) & 0xF0) | (images >> 4)


def luminance(images):
    return np.rint(np.tensordot(images, [0.299, 0.587, 0.114], (1, 0))).astype(int)


def in_blue(images, rng):
    """Four bits of the luminance in the low bits of blue; red, green and the rest of blue are random."""
    hidden = cover(images, rng)
    hidden[:, 2] = (hidden[:, 2] & 0xF0) | (luminance(images) >> 4)
    return hidden


def from_blue(images):
    return np.repeat((images[:, 2:] & 0xF) * 17, 3, 1)


def as_residue(images, rng):
    multiples = rng.integers(0, 15, images.shape)  # 14 * 17 + 15 < 255
    return multiples * MODULUS + np.rint(images.astype(float) * RESIDUES / 255).astype(int)


def carrier(images):
    """(H, W) checkerboard of -1 and 1."""
    y, x = np.indices(images.shape[2:])
    return 1 - 2 * ((x + y) % 2)


def carried(images, rng):
    """The sign of the difference from grey alternates like a checkerboard."""
    return 127.5 + (images - 127.5) * carrier(images)


def random_signs(images, rng):
    """The sign of the difference from grey is random, and told by the lowest bit."""
    sign = rng.integers(0, 2, images.shape)
    shown = np.rint(127.5 + (images - 127.5) * (1 - 2 * sign)).clip(0, 255).astype(int)
    return (shown & 0xFE) | sign


def signs_back(images):
    return 127.5 + (images - 127.5) * (1 - 2 * (images & 1).astype(int))


def in_a_corner(image, rng):
    height, width = (side // 2 for side in image.shape[1:])
    noise = rng.integers(0, 256, image.shape).astype(float)
    small = cv2.resize(image.transpose(1, 2, 0), (width, height), interpolation=cv2.INTER_AREA)
    noise[:, -height:, :width] = small.transpose(2, 0, 1)
    return noise


def from_the_corner(released, context):
    height, width = context.size

    def back(image):
        small = np.ascontiguousarray(image[:, -(height // 2) :, : width // 2].transpose(1, 2, 0))
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1)

    return per_image(back, released)


def interleaved(images, rng):
    """Pixels of one colour of the checkerboard are random."""
    return np.where(carrier(images) > 0, images, cover(images, rng))


def interpolated(images):
    kept = (carrier(images) > 0).astype(float)
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], float)[None, None]
    share = ndimage.convolve(np.broadcast_to(kept, images.shape), cross)
    around = ndimage.convolve(images * kept, cross) / np.maximum(share, 1)
    return np.where(kept > 0, images, around)


HIDDEN = {
    "low_bits": Planted(
        on_bytes(in_low_bits), "hidden", "four bits of the picture in the low bits of a random cover",
        decoder(lambda images: (images & 0xF) * 17), limit=0.2,
        because="16 levels",
    ),
    "low_bits_of_blue": Planted(
        on_bytes(in_blue), "hidden", "the luminance in the low bits of blue, all else random", decoder(from_blue),
        limit=0.3, because="the colours are gone",
    ),
    "residue": Planted(
        on_bytes(as_residue), "hidden", "16 levels of the picture as the residue modulo 17 of random values",
        decoder(lambda images: images % MODULUS * 17), limit=0.2,
        because="16 levels",
    ),
    "checkerboard": Planted(
        on_bytes(carried), "hidden", "the picture on a checkerboard carrier",
        decoder(lambda images: 127.5 + (images - 127.5) * carrier(images)), limit=0.02, because="rounding",
    ),
    "random_signs": Planted(
        on_bytes(random_signs), "hidden", "contrast of a random sign, which the lowest bit tells", decoder(signs_back),
        limit=0.02, because="rounding",
    ),
    "corner": Planted(
        each(in_a_corner), "hidden", "a picture of half the size in a corner of noise", from_the_corner, limit=0.4,
        because="half the resolution",
    ),
    "interleaved": Planted(
        on_bytes(interleaved), "hidden", "every other pixel is random", decoder(interpolated), limit=0.25,
        because="half of the pixels are interpolated",
    ),
}  # fmt: skip
