"""Masks that are the same for every image: XOR, addition, noise, and pixels kept by a fixed mask."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from scipy.interpolate import griddata

from harness.images import average
from tests.planted.table import LINEAR, Planted, as_bytes, decoder, fixed, on_bytes


def pad(images, key=20):
    """(3, H, W) random bytes that never change."""
    return fixed(key).integers(0, 256, images.shape[1:])


def offsets(images):
    """(3, H, W) in -90..90."""
    return fixed(21).integers(-90, 91, images.shape[1:])


def unclipped(images):
    """Subtract the offsets; what was clipped is filled with the mean of the neighbours that were not."""
    restored, known = images - offsets(images).astype(float), (images > 0) & (images < 255)
    window = (1, 1, 3, 3)
    around = ndimage.uniform_filter(np.where(known, restored, 0.0), window)
    share = ndimage.uniform_filter(known.astype(float), window)
    return np.where(known, restored, np.where(share > 0, around / np.maximum(share, 1e-6), restored))


def same_noise(sources, weights, rng):
    """A third image, two thirds noise, which is the same for all."""
    return (average(sources, weights) + 2 * still(sources.shape[2:]).to(sources)) / 3


def still(shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(2))


def without_noise(images):
    return 3 * images.astype(float) - 2 * 255 * still(images.shape[1:]).numpy()


def noise_of_the_release(sources, weights, rng):
    """A third image, two thirds noise, which is drawn anew for each release and the same for all its images."""
    noise = torch.rand(sources.shape[2:], generator=rng, device=sources.device)
    return (average(sources, weights) + 2 * noise) / 3


def without_mean(released, context):
    """All images share the noise: it is their mean, less the mean of natural images."""
    images = released.numpy().astype(float)
    grey = context.public.numpy().mean((0, 2, 3), keepdims=True)
    return as_bytes(3 * (images - images.mean(0)) + grey)


def same_mask(sources, weights, rng):
    """Pixels of two images, by a mask that never changes."""
    return torch.where(mask(sources.shape[-2:]).to(sources.device), sources[:, 0], sources[:, 1])


def mask(size):
    return torch.rand(size, generator=torch.Generator().manual_seed(3)) < 0.5


def filled(released, context):
    """The masked pixels of each plane from the nearest that is kept."""
    places, every = np.argwhere(mask(context.size).numpy()), tuple(np.mgrid[tuple(slice(n) for n in context.size)])
    planes = [
        griddata(places, plane[tuple(places.T)].astype(float), every, method="nearest")
        for plane in released.flatten(0, 1).numpy()
    ]
    return as_bytes(np.stack(planes)).view(released.shape)


MASKS = {
    "xor_pad": Planted(
        on_bytes(lambda images, rng: images ^ pad(images)), "fixed mask", "XOR with bytes that never change",
        decoder(lambda images: images ^ pad(images)), limit=0.001,
    ),
    "modular_pad": Planted(
        on_bytes(lambda images, rng: (images + pad(images, 22)) % 256), "fixed mask",
        "bytes that never change added, modulo 256; wrongly declared linear",
        decoder(lambda images: (images - pad(images, 22)) % 256), limit=0.001, traits=LINEAR,
    ),
    "clipped_pad": Planted(
        on_bytes(lambda images, rng: np.clip(images + offsets(images), 0, 255)), "fixed mask",
        "offsets that never change added, and clipped", decoder(unclipped), limit=0.25, because="clipped pixels",
    ),
    "reused_noise": Planted(
        same_noise, "fixed mask", "the same noise on every image", decoder(without_noise), limit=0.02,
        because="rounding, threefold", traits=LINEAR, auto=0.02,
    ),
    "noise_of_the_release": Planted(
        noise_of_the_release, "fixed mask", "noise drawn anew for each release, the same for all its images",
        without_mean, limit=0.35, because="the mean over the images of one release is not quite the noise",
    ),
    "fixed_mask": Planted(
        same_mask, "fixed mask", "pixels kept by a mask that never changes", filled, limit=0.25,
        because="the other half of the pixels is interpolated", weights=(0.6, 0.4), traits=LINEAR, auto=0.25,
    ),
}  # fmt: skip
