"""A fixed change and a key that is drawn for every image, one after the other; or a key of very few."""

from __future__ import annotations

import numpy as np

from tests.planted.table import Planted, decoder, fixed, on_bytes, roughness

BLOCK = 16
INNER = fixed(80).permutation(BLOCK**2)


def orders(pixels, count):
    return [fixed(81 + number).permutation(pixels) for number in range(count)]


def moved(image, order):
    return image.reshape(3, -1)[:, order].reshape(image.shape)


def one_of_four(images, rng):
    keys = orders(images[0, 0].size, 4)
    return np.stack([moved(image, keys[rng.integers(4)]) for image in images])


def smoothest(variants):
    return min(variants, key=lambda image: roughness(image).sum())


def of_four(images):
    keys = [np.argsort(order) for order in orders(images[0, 0].size, 4)]
    return np.stack([smoothest([moved(image, key) for key in keys]) for image in images])


def permuted_and_xored(images, rng):
    (order,) = orders(images[0, 0].size, 1)
    return np.stack([moved(image, order) ^ int(rng.integers(256)) for image in images])


def unxored_and_unpermuted(images):
    (order,) = orders(images[0, 0].size, 1)
    back = [moved(image, np.argsort(order)) for image in images]
    return np.stack([smoothest([image ^ byte for byte in range(256)]) for image in back])


def blocks(images):
    """(N, rows * columns, 3, side^2)."""
    count, _, height, width = images.shape
    parts = images.reshape(count, 3, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return parts.transpose(0, 2, 4, 1, 3, 5).reshape(count, -1, 3, BLOCK**2)


def images_of(parts, shape):
    count, _, height, width = shape
    tiled = parts.reshape(count, height // BLOCK, width // BLOCK, 3, BLOCK, BLOCK)
    return tiled.transpose(0, 3, 1, 4, 2, 5).reshape(shape)


def moved_within(images, rng):
    """The pixels of every block in one order, then the blocks in an order of each image."""
    parts = blocks(images)[..., INNER]
    return images_of(np.stack([image[rng.permutation(len(image))] for image in parts]), images.shape)


KEYS = {
    "one_of_four_orders": Planted(
        on_bytes(one_of_four), "few keys", "one of four permutations of the pixels, drawn for each image",
        decoder(of_four), limit=0.001,
    ),
    "order_and_byte": Planted(
        on_bytes(permuted_and_xored), "few keys", "a fixed permutation of the pixels, then XOR with a fresh byte",
        decoder(unxored_and_unpermuted), broken_by="aligned", limit=0.001,
    ),
    "order_within_moved_blocks": Planted(
        on_bytes(moved_within), "few keys", "one permutation within 16 px blocks, which are then moved",
        decoder(lambda images: images_of(blocks(images)[..., np.argsort(INNER)], images.shape)), limit=0.65,
        because="the blocks stay moved",
    ),
}  # fmt: skip
