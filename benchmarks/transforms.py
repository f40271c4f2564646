"""The image operations of the paper's defenses, and whole releases, against the fastest peers, one thread each.

A peer works image by image, in the layout of OpenCV and NumPy: (H, W, 3) float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch

from harness.images import add_noise, average, blur, choose, graft_mask, pixelize, shuffle_blocks
from harness.randomness import derive, torch_generator
from harness.registry import bind, load_registry
from harness.release import Scheme, obfuscate

Case = tuple[str, str, Callable[[], object], Callable[[], object], int]
Image = np.ndarray[Any, np.dtype[np.float32]]

SHARES, GRAFTED, SIGMA, GRID, BLOCKS, KERNELS = (0.75, 0.25), 0.6, 20 / 255, 16, (4, 8), (17, 35)


def transforms(size: int) -> list[Case]:
    """Every random and every linear operation of a defense, then every defense's whole release."""
    count = 64 if size <= 96 else 16
    rng = torch_generator(derive(b"benchmarks", "transforms"), "cpu")
    pairs = torch.rand(count, 2, 3, size, size, generator=rng)
    images, others, weights = pairs[:, 0].contiguous(), pairs[:, 1], torch.tensor([SHARES] * count)
    deviations = torch.full((count,), SIGMA)
    first, second = (list(np.ascontiguousarray(part.permute(0, 2, 3, 1).numpy())) for part in (images, others))

    def case(name: str, peer: str, ours: Callable[[], object], theirs: Callable[..., object], *stacks: Any) -> Case:
        return name, peer, ours, lambda: [theirs(*each) for each in zip(*stacks, strict=True)], count

    def grafted() -> torch.Tensor:
        return choose(graft_mask(pairs, GRAFTED, "pixel", rng), images, others)

    cases = [
        case("mix", "OpenCV", partial(average, pairs, weights), mixed_by_opencv, first, second),
        case("graft", "NumPy", grafted, grafted_by_numpy, first, second),
        case("graft", "NumPy's mask, OpenCV's copy", grafted, grafted_by_opencv, first, second),
        case("noise", "OpenCV", partial(add_noise, images, deviations, rng), noisy_by_opencv, first),
        case("noise", "NumPy", partial(add_noise, images, deviations, rng), noisy_by_numpy, first),
        case(f"pixelize, grid {GRID}", "OpenCV", partial(pixelize, images, GRID), pixelized_by_opencv, first),
    ]
    for block in BLOCKS:
        name, ours = f"shuffle, block {block}", partial(shuffle_blocks, images, block, rng)
        cases.append(case(name, "torch's argsort of float64", ours, partial(shuffled_by_torch, block, rng), [images]))
        cases.append(case(name, "NumPy", ours, partial(shuffled_by_numpy, block), first))
    for kernel in KERNELS:
        ours = partial(blur, images, kernel)
        cases.append(case(f"blur, kernel {kernel}", "OpenCV", ours, partial(blurred_by_opencv, kernel), first))
    return cases + releases(size)


def releases(size: int) -> list[Case]:
    """A whole release, uint8 to uint8 with its plan and labels, against the transform alone, image by image."""
    registry, count = load_registry(), 64 if size <= 96 else 16
    stored = np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    images = list(np.ascontiguousarray(stored.transpose(0, 2, 3, 1)))
    labels = np.arange(count) % 2

    def release(name: str) -> Callable[[], object]:
        entry = registry.get("defenses", name)
        scheme = Scheme(name, bind(entry), entry.mixing)
        return lambda: obfuscate(scheme, stored, labels, 2, derive(b"benchmarks", name))

    def by_hand(transform: Callable[[Image, Image], Image]) -> None:
        for image, other in zip(images, images[1:] + images[:1], strict=True):
            result = transform(image.astype(np.float32) / np.float32(255), other.astype(np.float32) / np.float32(255))
            cv2.convertScaleAbs(result.clip(0, 1), alpha=255)

    by_name: dict[str, Callable[[Image, Image], Image]] = {
        "mix": mixed_by_opencv,
        "graft_mix": lambda image, other: grafted_by_opencv(image, mixed_by_opencv(image, other)),
        "noise_mix": lambda image, other: noisy_by_opencv(mixed_by_opencv(image, other)),
        "shuffle_mix": lambda image, other: mixed_by_opencv(shuffled_by_numpy(8, image), shuffled_by_numpy(8, other)),
        "pixelize_mix": lambda image, other: pixelized_by_opencv(mixed_by_opencv(image, other)),
        "blur_mix": lambda image, other: blurred_by_opencv(17, mixed_by_opencv(image, other)),
    }
    return [
        (f"release of {name}", "OpenCV and NumPy", release(name), partial(by_hand, transform), count)
        for name, transform in by_name.items()
    ]


# ---- peers


def mixed_by_opencv(image: Image, other: Image) -> Image:
    return cv2.addWeighted(image, SHARES[0], other, SHARES[1], 0)


def mask_by_numpy(image: Image) -> np.ndarray[Any, np.dtype[np.bool_]]:
    draws, ones = RNG.random(image.shape[:2], np.float32), round(GRAFTED * image.shape[0] * image.shape[1])
    return draws <= np.partition(draws, ones - 1, axis=None)[ones - 1]


def grafted_by_numpy(image: Image, other: Image) -> Image:
    return np.where(mask_by_numpy(image)[..., None], image, other)


def grafted_by_opencv(image: Image, other: Image) -> Image:
    return cv2.copyTo(image, mask_by_numpy(image).view(np.uint8), other.copy())


def noisy_by_opencv(image: Image) -> Image:
    noise = cv2.randn(np.empty_like(image), (0.0,) * 3, (SIGMA,) * 3)
    return cv2.add(image, noise, dst=noise)


def noisy_by_numpy(image: Image) -> Image:
    noise = RNG.standard_normal(image.shape, np.float32)
    noise *= np.float32(SIGMA)
    return np.add(image, noise, out=noise)


def pixelized_by_opencv(image: Image) -> Image:
    cells = cv2.resize(image, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return cv2.resize(cells, image.shape[:2], interpolation=cv2.INTER_NEAREST)


def blurred_by_opencv(kernel: int, image: Image) -> Image:
    return cv2.GaussianBlur(image, (kernel, kernel), 0, borderType=cv2.BORDER_REFLECT_101)


def shuffled_by_numpy(block: int, image: Image) -> Image:
    side, size = len(image) // block, block * block
    cut = image.reshape(side, block, side, block, 3).swapaxes(1, 2).reshape(-1, size, 3)
    cut = np.take_along_axis(cut, RNG.random((len(cut), size, 1), np.float32).argsort(1), 1)
    return cut.reshape(side, side, block, block, 3).swapaxes(1, 2).reshape(image.shape)


def shuffled_by_torch(block: int, rng: torch.Generator, images: torch.Tensor) -> torch.Tensor:
    """All images at once."""
    side, size = images.shape[-1] // block, block * block
    cut = images.view(-1, 3, side, block, side, block).transpose(3, 4).reshape(len(images), 3, side**2, size)
    order = torch.rand(len(images), 1, side**2, size, generator=rng, dtype=torch.float64).argsort(-1)
    cut = cut.gather(-1, order.expand(-1, 3, -1, -1)).view(-1, 3, side, side, block, block)
    return cut.transpose(3, 4).reshape(images.shape)


RNG = np.random.default_rng(0)
