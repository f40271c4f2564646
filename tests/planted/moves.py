"""Values moved to other places, by one permutation for all images: pixels, entries, blocks, rows, turns and rolls."""

from __future__ import annotations

import numpy as np
import torch

from harness.images import average
from tests.planted.table import LINEAR, Planted, decoder, fixed, on_bytes

BLOCK = 8


def scattered(sources, weights, rng):
    """Every pixel is moved, by one permutation for all images."""
    mixed = average(sources, weights).flatten(2)
    return mixed[..., pixel_order(mixed.shape[2]).to(mixed.device)].view(len(sources), *sources.shape[2:])


def pixel_order(count):
    return torch.randperm(count, generator=torch.Generator().manual_seed(1))


def unscattered(images):
    flat = images.reshape(*images.shape[:2], -1)
    return flat[..., np.argsort(pixel_order(flat.shape[2]).numpy())].reshape(images.shape)


def moved(key, entries):
    """The change and its inverse: a fixed permutation of pixels, or of the entries of all channels together."""

    def along(images, order):
        shape = (len(images), -1) if entries else (*images.shape[:2], -1)
        flat = images.reshape(shape)
        return flat[..., order(fixed(key).permutation(flat.shape[-1]))].reshape(images.shape)

    return lambda images, rng: along(images, np.asarray), decoder(lambda images: along(images, np.argsort))


def to_blocks(images, side=BLOCK):
    """(N, 3, H, W) -> (N, 3, blocks, side, side), row by row."""
    n, channels, height, width = images.shape
    split = images.reshape(n, channels, height // side, side, width // side, side)
    return split.transpose(0, 1, 2, 4, 3, 5).reshape(n, channels, -1, side, side)


def from_blocks(blocks, height, width):
    n, channels, _, side, _ = blocks.shape
    split = blocks.reshape(n, channels, height // side, width // side, side, side)
    return split.transpose(0, 1, 2, 4, 3, 5).reshape(n, channels, height, width)


def blocks_moved(images, order=np.asarray):
    blocks = to_blocks(images)
    return from_blocks(blocks[:, :, order(fixed(12).permutation(blocks.shape[2]))], *images.shape[2:])


def rows_moved(images, order=np.asarray):
    return images[:, :, order(fixed(13).permutation(images.shape[2]))]


def rolled(images):
    height, width = images.shape[2:]
    return np.roll(images[..., ::-1], (height // 3, width // 2 - 1), (2, 3))


def unrolled(images):
    height, width = images.shape[2:]
    return np.roll(images, (-(height // 3), 1 - width // 2), (2, 3))[..., ::-1]


_pixels, _pixels_back = moved(10, entries=False)
_entries, _entries_back = moved(11, entries=True)
MOVES = {
    "fixed_permutation": Planted(
        scattered, "fixed permutation", "one permutation of all pixels", decoder(unscattered), limit=0.001,
        traits=LINEAR, auto=0.01,
    ),
    "permutation_rounding_itself": Planted(
        on_bytes(_pixels), "fixed permutation", "one permutation of all pixels, in NumPy, rounding by itself",
        _pixels_back, limit=0.001,
    ),
    "permuted_entries": Planted(
        on_bytes(_entries), "fixed permutation", "one permutation of all entries of all channels", _entries_back,
        limit=0.001, traits=LINEAR,
    ),
    "permuted_blocks": Planted(
        on_bytes(lambda images, rng: blocks_moved(images)), "fixed permutation", "one permutation of 8 px blocks",
        decoder(lambda images: blocks_moved(images, np.argsort)), limit=0.001,
    ),
    "permuted_rows": Planted(
        on_bytes(lambda images, rng: rows_moved(images)), "fixed permutation", "one permutation of the rows",
        decoder(lambda images: rows_moved(images, np.argsort)), limit=0.001,
    ),
    "half_turn": Planted(
        on_bytes(lambda images, rng: images[..., ::-1, ::-1]), "turn, flip or roll", "a half turn, in NumPy",
        decoder(lambda images: images[..., ::-1, ::-1]), limit=0.001,
    ),
    "transposed": Planted(
        on_bytes(lambda images, rng: images.swapaxes(2, 3)[..., ::-1]), "turn, flip or roll", "a quarter turn",
        decoder(lambda images: images[..., ::-1].swapaxes(2, 3)), limit=0.001,
    ),
    "flipped_and_rolled": Planted(
        on_bytes(lambda images, rng: rolled(images)), "turn, flip or roll", "mirrored and rolled by a fixed amount",
        decoder(unrolled), limit=0.001,
    ),
}  # fmt: skip
