"""Pads that are drawn anew for each call of the defense, the same for all images of the call."""

from __future__ import annotations

import numpy as np
import torch

from tests.planted.table import Planted, as_bytes, fixed, on_bytes


def drawn(images, rng, low=0, high=256):
    return rng.integers(low, high, images.shape[1:])


def without(unpadded):
    """The decoder of a pad that all images share.

    unpadded(images (N, 3), pads (256, 1, 1)) -> (256, N, 3) what the values of one pixel are under each of the pads: at
    each place the one is kept under which the images differ least from the neighbours that were done before; at the
    first the one that gives them the levels of natural images.
    """

    def decode(released, context):
        images, pads = released.numpy().astype(int), np.arange(256).reshape(-1, 1, 1)
        ranks = np.linspace(0, 1, len(images))[:, None]
        natural = np.quantile(context.public.numpy().transpose(0, 2, 3, 1).reshape(-1, 3), ranks[:, 0], axis=0)
        done = np.zeros(images.shape)
        for row, column in np.ndindex(images.shape[2:]):
            tried = unpadded(images[:, :, row, column], pads).astype(float)
            near = [(row - 1, column - 1), (row - 1, column), (row - 1, column + 1), (row, column - 1)]
            near = [done[:, :, r, c] for r, c in near if r >= 0 and 0 <= c < images.shape[3]]
            costs = [np.abs(tried - one).clip(0, 60).mean(1) for one in near]
            cost = sum(costs) if near else np.abs(np.sort(tried, 1) - natural).mean(1)
            done[:, :, row, column] = np.take_along_axis(tried, cost.argmin(0)[None, None], 0)[0]
        return as_bytes(done)

    return decode


def order(images):
    return fixed(90).permutation(images[0, 0].size)


def moved_and_padded(images, rng):
    moved = images.reshape(*images.shape[:2], -1)[..., order(images)].reshape(images.shape)
    return (moved + drawn(images, rng)) % 256


def moved_back(released, context):
    back = torch.from_numpy(np.argsort(order(released.numpy())))
    pixels = released.flatten(2)[..., back].view(released.shape)
    return PADS["modular_pad_of_the_call"].decode(pixels, context)


PADS = {
    "xor_pad_of_the_call": Planted(
        on_bytes(lambda images, rng: images ^ drawn(images, rng)), "pad of the call", "XOR with bytes of the call",
        without(lambda images, pads: images ^ pads), limit=0.6,
        because="errors of the highest bit go from place to place; `auto` makes none",
    ),
    "modular_pad_of_the_call": Planted(
        on_bytes(lambda images, rng: (images + drawn(images, rng)) % 256), "pad of the call",
        "bytes of the call added, modulo 256", without(lambda images, pads: (images - pads) % 256), limit=0.5,
        because="errors go from place to place",
    ),
    "clipped_pad_of_the_call": Planted(
        on_bytes(lambda images, rng: np.clip(images + drawn(images, rng, -90, 91), 0, 255)), "pad of the call",
        "offsets of the call added, and clipped", without(lambda images, pads: images - pads + 128), limit=0.5,
        because="clipped values, and errors that go from place to place",
    ),
    "factors_of_the_call": Planted(
        on_bytes(lambda images, rng: images * rng.uniform(0.2, 1, images.shape[1:])), "pad of the call",
        "factors of the call", without(lambda images, pads: images * 255 / np.maximum(pads, 1)), limit=0.5,
        because="errors go from place to place",
    ),
    "order_and_pad_of_the_call": Planted(
        on_bytes(moved_and_padded), "pad of the call",
        "a fixed permutation of the pixels, then bytes of the call added", moved_back, limit=0.5,
        because="errors go from place to place",
    ),
}  # fmt: skip
