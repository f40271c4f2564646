"""Geometry and tone drawn anew for every image: the image itself tells what was drawn."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch

from harness.images import average
from tests.planted.table import Planted, as_released, on_bytes, per_image, roughness

ARRANGEMENTS = np.array(list(permutations(range(4))))


def each(change):
    """A change of one image (3, H, W) with its own draws, for all."""
    return on_bytes(lambda images, rng: np.stack([change(image, rng) for image in images]))


# Geometry


def shifted(image, rng):
    return np.roll(image, tuple(rng.integers(0, image.shape[1:])), (1, 2))


def unshifted(released, context):
    """The seam is where neighbouring rows, and columns, differ most."""

    def back(image):
        values = image.astype(float)
        for axis in (1, 2):
            seam = np.abs(values - np.roll(values, 1, axis)).sum(tuple({0, 1, 2} - {axis}))
            values = np.roll(values, -int(seam.argmax()), axis)
        return values

    return per_image(back, released)


def posed(image, rng):
    """Turned and mirrored at random."""
    turned = np.rot90(image, rng.integers(4), (1, 2))
    return turned[..., ::-1] if rng.integers(2) else turned


def quartered(image, rng):
    return joined(quarters(image)[rng.permutation(4)])


def quarters(image):
    """(3, H, W) -> (4, 3, H / 2, W / 2)."""
    return np.stack([part for half in np.split(image, 2, 1) for part in np.split(half, 2, 2)])


def joined(parts):
    return np.concatenate([np.concatenate(parts[:2], 2), np.concatenate(parts[2:], 2)], 1)


def unquartered(released, context):
    """Of the 24 arrangements the one with the smoothest joints."""

    def back(image):
        parts = quarters(image.astype(float))
        tried = [joined(parts[order]) for order in ARRANGEMENTS]
        return min(tried, key=lambda whole: roughness(whole).sum())

    return per_image(back, released)


def rows_shuffled(image, rng):
    return image[:, rng.permutation(image.shape[1])]


def rows_sorted(released, context):
    """Rows in a chain of nearest neighbours, each next one put at the end of the chain that is nearer to it."""

    def back(image):
        rows = image.transpose(1, 0, 2).reshape(image.shape[1], -1).astype(float)
        apart = np.square(rows[:, None] - rows).mean(2)
        chain, left = [0], set(range(1, len(rows)))
        while left:
            ends = {(end, row): apart[chain[end], row] for end in (0, -1) for row in left}
            end, row = min(ends, key=ends.get)
            chain = [row, *chain] if end == 0 else [*chain, row]
            left.remove(row)
        return image[:, chain]

    return per_image(back, released)


def pixels_shuffled(image, rng):
    flat = image.reshape(3, -1)
    return flat[:, rng.permutation(flat.shape[1])].reshape(image.shape)


# Tone


def powered(image, rng):
    return 255 * (image / 255) ** np.exp(rng.uniform(np.log(0.25), np.log(4)))


def unpowered(released, context):
    """The power that gives an image the mean of natural images."""
    target, powers = context.public.numpy().mean() / 255, np.exp(np.linspace(-1.6, 1.6, 81))

    def back(image):
        values = image / 255
        return 255 * min((values**power for power in powers), key=lambda tried: abs(tried.mean() - target))

    return per_image(back, released)


def dimmed(sources, weights, rng):
    """Every image fades to black by a secret factor of its own, which its brightness shows."""
    factor = 0.08 + 0.2 * torch.rand(len(sources), 1, 1, 1, generator=rng, device=sources.device)
    return factor * average(sources, weights)


def brightened(released, context):
    """Every image gets the mean of natural images."""
    target = context.public.numpy().mean()
    return per_image(lambda image: image * (target / max(image.mean(), 1e-6)), released)


def xored(image, rng):
    return image ^ rng.integers(256, size=(3, 1, 1))


def unxored(released, context):
    """Of each channel the byte that leaves the smoothest plane; of it and its complement the more natural."""
    tried, grey = np.arange(256).reshape(-1, 1, 1), context.public.numpy().mean()

    def back(image):
        planes = [plane ^ roughness(plane ^ tried).argmin() for plane in image]
        return np.stack([min((p, 255 - p), key=lambda q: abs(q.mean() - grey)) for p in planes])

    return per_image(back, released)


def added(image, rng):
    return (image + rng.integers(256, size=(3, 1, 1))) % 256


def unadded(released, context):
    """Of each channel the constant that leaves the smoothest plane; of equals that with the most natural mean."""
    tried, grey = np.arange(256).reshape(-1, 1, 1), context.public.numpy().mean()

    def back(image):
        planes = []
        for plane in image:
            rough = roughness((plane - tried) % 256)
            smoothest = np.flatnonzero(rough <= rough.min() * 1.0001)
            planes.append(min(((plane - value) % 256 for value in smoothest), key=lambda p: abs(p.mean() - grey)))
        return np.stack(planes)

    return per_image(back, released)


FRESH = {
    "fresh_shift": Planted(
        each(shifted), "fresh geometry", "a circular shift of each image", unshifted, limit=0.35,
        because="the seam is sometimes missed",
    ),
    "fresh_pose": Planted(
        each(posed), "fresh geometry", "each image turned and mirrored at random", as_released, broken_by="aligned",
        limit=0.001,
    ),
    "fresh_blocks": Planted(
        each(quartered), "fresh geometry", "the quarters of each image in random order", unquartered, limit=0.3,
        because="some arrangements are as smooth as the right one",
    ),
    "fresh_rows": Planted(
        each(rows_shuffled), "fresh geometry", "the rows of each image in random order", rows_sorted,
        broken_by="aligned", limit=0.5, because="neighbours may be alike",
    ),
    "fresh_pixels": Planted(
        each(pixels_shuffled), "fresh geometry", "the pixels of each image in random order", as_released,
        broken_by="reidentified", because="the histogram names the picture; nothing can be restored",
    ),
    "fresh_gamma": Planted(
        each(powered), "fresh tone", "each image to a random power", unpowered, broken_by="aligned",
        because="the power is guessed from the mean",
    ),
    "telling_brightness": Planted(
        dimmed, "fresh tone", "brightness tells the secret factor of each image", brightened, limit=0.2,
        because="the spread of mean brightness, and rounding", auto=0.1,
    ),
    "fresh_xor": Planted(
        each(xored), "fresh tone", "XOR with a random byte of each channel of each image", unxored,
        broken_by="aligned", limit=0.15, because="bytes that leave equally smooth planes",
    ),
    "fresh_caesar": Planted(
        each(added), "fresh tone", "a random constant added to each channel of each image, modulo 256", unadded,
        broken_by="aligned", limit=0.15, because="constants that leave equally smooth planes",
    ),
}  # fmt: skip
