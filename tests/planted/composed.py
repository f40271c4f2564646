"""Several steps in a row, and faults of the client's code: partners or an order that never change."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from harness.images import average
from tests.planted.hidden import in_low_bits
from tests.planted.masks import pad
from tests.planted.moves import blocks_moved, moved, rolled, unrolled
from tests.planted.table import LINEAR, NOISY, Planted, as_bytes, decoder, on_bytes
from tests.planted.tables import REVERSED, TABLES_RGB, by_channel

_scatter, _gather = moved(40, entries=False)
_BACK = np.argsort(TABLES_RGB, 1)


def noisy_blocks(images, rng):
    return blocks_moved((images + rng.normal(0, 25, images.shape)).clip(0, 255))


def denoised(images):
    back = blocks_moved(images, np.argsort)
    return np.stack([smooth(image) for image in back])


def smooth(image):
    colours = np.ascontiguousarray(image.transpose(1, 2, 0))
    return cv2.fastNlMeansDenoisingColored(colours, None, 18, 18, 3, 11).transpose(2, 0, 1)


def untabled_pixels(released, context):
    return as_bytes(by_channel(_BACK, _gather(released, context).numpy()))


def noisy(sources, weights, rng, *, sigma):
    """The mixture in strong noise, drawn anew."""
    mixed = average(sources, weights)
    return mixed + sigma / 255 * torch.randn(mixed.shape, generator=rng, device=mixed.device)


def mean_of_releases(released, context):
    """Position i holds original i in every release."""
    mean = torch.stack([release.float() for release in context.releases]).mean(0)
    return as_bytes(np.stack([smooth(image) for image in as_bytes(mean.numpy()).numpy()]))


def negative(sources, weights, rng):
    """The mixture with its grey levels inverted and its colours swapped."""
    return 1 - average(sources, weights).flip(1)


def tinged(sources, weights, rng, *, sigma):
    """The same with a little noise."""
    return noisy(negative(sources, weights, rng).unsqueeze(1), torch.ones(len(sources), 1), rng, sigma=sigma)


def positive(images):
    return 255 - images[:, ::-1]


def two_shares(released, context):
    """Pairs come again in one of two shares, .5 or .6, of which the release nearest in another epoch tells the other.

    From .5 a + .5 b and .6 a + .4 b follow a and b; whichever release is which, one of two candidates is a.
    """
    ours, *others = (torch.from_numpy(positive(release.numpy()).copy()).float() for release in context.releases)
    every = torch.cat(others)
    apart = torch.cdist(ours.flatten(1), every.flatten(1)) / ours[0].numel() ** 0.5
    candidates = []
    for mine, distances in zip(ours, apart, strict=True):
        same = every[distances.argsort()[: len(others)]]
        other = distances.sort().values[: len(others)] > 1.5  # grey levels: within rounding it is the same shares
        first = torch.cat([mine[None], same[~other]]).mean(0)
        second = same[other].mean(0) if other.any() else first
        candidates.append(torch.stack([5 * second - 4 * first, 5 * first - 4 * second]))
    return as_bytes(torch.stack(candidates).numpy())


def same_key(sources, weights, rng):
    """Blocks are moved, turned and inverted by a secret key, the same for all images."""
    images = average(sources, weights)
    order, turned, inverted = block_key(images.shape)
    blocks = blocks_of(images)[:, :, order]
    blocks = torch.where(turned, blocks.transpose(-1, -2), blocks)
    return images_of(torch.where(inverted, 1 - blocks, blocks), images.shape)


def unkeyed(released, context):
    order, turned, inverted = block_key(released.shape)
    blocks = blocks_of(released)
    blocks = torch.where(inverted, 255 - blocks, blocks)
    blocks = torch.where(turned, blocks.transpose(-1, -2), blocks)
    return images_of(blocks[:, :, order.argsort()], released.shape)


def block_key(shape, side=4):
    """Order of the blocks, and which are turned and inverted: (blocks,), (blocks, 1, 1) and (blocks, 1, 1)."""
    count, rng = shape[2] * shape[3] // side**2, torch.Generator().manual_seed(4)
    order = torch.randperm(count, generator=rng)
    return order, *((torch.rand(count, generator=rng) < 0.5).view(-1, 1, 1) for _ in range(2))


def blocks_of(images, side=4):
    return images.unfold(2, side, side).unfold(3, side, side).flatten(2, 3)


def images_of(blocks, shape, side=4):
    return blocks.unflatten(2, (-1, shape[3] // side)).permute(0, 1, 2, 4, 3, 5).reshape(shape)


COMPOSED = {
    "permuted_table": Planted(
        on_bytes(lambda images, rng: _scatter(by_channel(TABLES_RGB, images), rng)), "composed",
        "a table of each channel, then a permutation of the pixels", untabled_pixels, limit=0.001,
    ),
    "masked_mixture": Planted(
        on_bytes(lambda images, rng: images ^ pad(images)), "composed", "XOR with fixed bytes after mixing",
        decoder(lambda images: images ^ pad(images)), limit=0.35, because="the mixture", weights=(0.7, 0.3),
    ),
    "table_of_mixture": Planted(
        on_bytes(lambda images, rng: REVERSED[images]), "composed", "bits reversed after mixing",
        decoder(lambda images: REVERSED[images]), limit=0.35, because="the mixture", weights=(0.7, 0.3),
    ),
    "noisy_blocks": Planted(
        on_bytes(noisy_blocks), "composed", "noise, then a fixed permutation of 8 px blocks", decoder(denoised),
        limit=0.35, because="what denoising leaves",
    ),
    "rolled_low_bits": Planted(
        on_bytes(lambda images, rng: in_low_bits(rolled(images), rng)), "composed",
        "mirrored, rolled and hidden in low bits", decoder(lambda images: unrolled((images & 0xF) * 17)), limit=0.2,
        because="16 levels",
    ),
    "padded_low_bits": Planted(
        on_bytes(lambda images, rng: in_low_bits(images ^ pad(images), rng)), "composed",
        "XOR with bytes that never change, then hidden in low bits",
        decoder(lambda images: (images & 0xF) * 17 ^ pad(images) & 0xF0), limit=0.3, because="16 levels",
    ),
    "negative": Planted(
        negative, "composed", "grey levels inverted and colours swapped after mixing", decoder(positive), limit=0.35,
        because="the mixture", weights=(0.7, 0.3), releases=8, traits=LINEAR, auto=0.02,
    ),
    "reused_key": Planted(
        same_key, "composed", "one key for all images: blocks moved, turned and inverted", unkeyed, limit=0.001,
        traits=LINEAR, auto=0.01,
    ),
}  # fmt: skip
PROTOCOL = {
    "fixed_partners": Planted(
        negative, "client", "partners never change", two_shares, limit=0.25, because="rounding, eightfold",
        weights=((0.5, 0.5), (0.6, 0.4)), releases=8, traits=LINEAR, protocol="partners", auto=0.1,
    ),
    "fixed_order": Planted(
        noisy, "client", "the order is not shuffled", mean_of_releases, limit=0.4, because="noise of 35 grey levels",
        releases=10, traits=NOISY, params={"sigma": 110}, protocol="order", auto=0.3,
    ),
    "tiny_sigma": Planted(
        tinged, "client", "many releases with little noise", decoder(positive), limit=0.6,
        because="the mixture of three; its pairing can be solved, which no few lines do", weights=(0.4, 0.3, 0.3),
        releases=10, traits=NOISY, params={"sigma": 2}, auto=0.1,
    ),
}  # fmt: skip
