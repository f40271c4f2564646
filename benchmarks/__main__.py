"""Print each path's speed against its peer, measured in one process with interleaved repeats: quote ratios."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import imagehash
import numpy as np
import piq
import torch
from PIL import Image

from evaluators.privacy import dhaar, dssim, mse, phash
from harness import networks
from harness.device import low_precision, use_threads
from harness.images import blur, pixelize, shuffle_blocks, to_bytes
from harness.randomness import derive, torch_generator
from harness.train import RECIPES, Learner, dice

SIZES = (64, 96, 256)
REPEATS = 7


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=REPEATS)
    given = arguments.parse_args()
    print(f"{use_threads()} threads; median of {given.repeats} interleaved repeats")
    print(f"{'path':34} {'size':>5} {'ours, ms/image':>15} {'peer, ms/image':>15} {'ratio':>7}  peer")
    for size in SIZES:
        for name, peer, ours, theirs, images in metrics(size) + transforms(size):
            report(name, size, peer, ours, theirs, images, given.repeats)
    name, peer, ours, theirs, images = training()
    report(name, 96, peer, ours, theirs, images, min(given.repeats, 3))


Case = tuple[str, str, Callable[[], object], Callable[[], object], int]


def metrics(size: int) -> list[Case]:
    """SSIM, HaarPSI, MSE and pHash on a batch of pairs."""
    import cv2
    from skimage.metrics import structural_similarity

    n = 64 if size <= 96 else 16
    left, right = (torch.rand(n, 3, size, size, generator=dice_of(part)) for part in ("left", "right"))
    pairs = list(zip(left.numpy(), right.numpy(), strict=True))
    wangs = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in to_bytes(left)]
    return [
        (
            "dSSIM",
            "piq.ssim",
            lambda: dssim(left, right, window=11, sigma=1.5, k1=0.01, k2=0.03),
            lambda: piq.ssim(left, right, data_range=1.0, downsample=False, reduction="none"),
            n,
        ),
        (
            "dSSIM",
            "scikit-image",
            lambda: dssim(left, right, window=11, sigma=1.5, k1=0.01, k2=0.03),
            lambda: [structural_similarity(x, y, channel_axis=0, **wangs) for x, y in pairs],
            n,
        ),
        (
            "dHaar",
            "piq.haarpsi",
            lambda: dhaar(left, right, c=30.0, alpha=4.2),
            lambda: piq.haarpsi(left, right, data_range=1.0, reduction="none"),
            n,
        ),
        (
            "MSE",
            "OpenCV, per image",
            lambda: mse(left, right),
            lambda: [cv2.norm(x.reshape(-1), y.reshape(-1), cv2.NORM_L2SQR) for x, y in pairs],
            n,
        ),
        (
            "pHash (two images)",
            "imagehash.phash",
            lambda: phash(left, right, hash_size=8, highfreq_factor=4),
            lambda: [imagehash.phash(picture) for picture in pictures for _ in range(2)],
            n,
        ),
    ]


def transforms(size: int) -> list[Case]:
    """The random and the linear parts of the defenses, against OpenCV or NumPy image by image."""
    import cv2

    n, rng = 16, np.random.default_rng(0)
    images = torch.rand(n, 3, size, size, generator=dice_of("images"))
    arrays = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in images]

    def shuffled(image: np.ndarray) -> np.ndarray:
        cut = image.reshape(size // 8, 8, size // 8, 8, 3).swapaxes(1, 2).reshape(-1, 64, 3)
        return np.take_along_axis(cut, rng.random((len(cut), 64, 1)).argsort(1), 1)

    def cells(image: np.ndarray) -> np.ndarray:
        small = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (size, size), interpolation=cv2.INTER_NEAREST)

    return [
        (
            "shuffle, block 8",
            "NumPy, per image",
            lambda: shuffle_blocks(images, 8, dice_of("s")),
            each(shuffled, arrays),
            n,
        ),
        ("pixelize, grid 16", "OpenCV, per image", lambda: pixelize(images, 16), each(cells, arrays), n),
        (
            "blur, kernel 17",
            "OpenCV, per image",
            lambda: blur(images, 17),
            each(lambda image: cv2.GaussianBlur(image, (17, 17), 0, borderType=cv2.BORDER_REFLECT_101), arrays),
            n,
        ),
    ]


def training() -> Case:
    """One pass of ResNet-18 over 96 px images as the harness trains it, against float32."""
    n, learners = 64, []
    images = torch.randint(256, (n, 3, 96, 96), dtype=torch.uint8)
    labels = torch.randint(10, (n,))
    for precision in (low_precision("cpu"), None):
        with dice(derive(b"", "bench"), "cpu"):
            learners.append(
                Learner(networks.build("resnet18", 10, (96, 96)), RECIPES["default"], 32, b"k" * 32, "cpu", 100)
            )
        learners[-1].precision = precision
    fast, plain = learners
    plain.model.to(memory_format=torch.contiguous_format)
    return "ResNet-18 training", "float32", lambda: fast.epoch(images, labels), lambda: plain.epoch(images, labels), n


def each(function: Callable[[np.ndarray], object], images: list[np.ndarray]) -> Callable[[], object]:
    return lambda: [function(image) for image in images]


def dice_of(purpose: str) -> torch.Generator:
    return torch_generator(derive(b"benchmarks", purpose), "cpu")


def report(
    name: str, size: int, peer: str, ours: Callable[[], object], theirs: Callable[[], object], images: int, repeats: int
) -> None:
    mine, other = [], []
    ours(), theirs()  # the first call pays for caches
    for _ in range(repeats):
        for function, times in ((ours, mine), (theirs, other)):
            start = time.perf_counter()
            function()
            times.append((time.perf_counter() - start) / images * 1e3)
    a, b = statistics.median(mine), statistics.median(other)
    print(f"{name:34} {size:5} {a:15.3f} {b:15.3f} {b / a:7.1f}  {peer}", flush=True)


if __name__ == "__main__":
    main()
