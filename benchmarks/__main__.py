"""Print each path's speed against its peer, measured in one process with interleaved repeats: quote ratios."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import imagehash
import piq
import torch
from PIL import Image

from benchmarks.transforms import transforms
from harness.images import to_bytes
from harness.plugins.evaluators.privacy import dhaar, dssim, mse, phash
from harness.randomness import derive, torch_generator
from harness.system.device import use_threads
from harness.train import RECIPES, Learner, networks, seeded

SIZES = (64, 96, 256)
REPEATS = 7


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=REPEATS)
    given = arguments.parse_args()
    # One thread on either side: torch's second one spins for a while after each of its turns, in the way of ours.
    print(f"{use_threads(1)} thread; median of {given.repeats} interleaved repeats")
    print(f"{'path':34} {'size':>5} {'ours, ms/image':>15} {'peer, ms/image':>15} {'ratio':>7}  peer")
    for size in SIZES:
        for name, peer, ours, theirs, images in metrics(size) + transforms(size):
            report(name, size, peer, ours, theirs, images, given.repeats)
    print(f"{use_threads()} threads:")
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


def training() -> Case:
    """One pass of ResNet-18 over 96 px images as the harness trains it, against float32 in torch's own layout."""
    n, made = 128, []
    images = torch.randint(256, (n, 3, 96, 96), dtype=torch.uint8)
    labels = torch.randint(10, (n,))
    for kind in (Learner, Plain):
        with seeded(derive(b"", "bench"), "cpu"):
            network = networks.build("resnet18", 10, (96, 96))
            made.append(kind(network, RECIPES["default"], 64, b"k" * 32, "cpu", 100))
    fast, plain = made
    return "ResNet-18 training", "float32", lambda: fast.epoch(images, labels), lambda: plain.epoch(images, labels), n


class Plain(Learner):
    """Training in float32 and contiguous, as torch does where nobody asks for more."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.precision = None
        self.model.to(memory_format=torch.contiguous_format)

    def _augment(self, images: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        return super()._augment(images, mirrored).contiguous()


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
