"""Print the speed of each function and of its peer, measured in one process in turns; compare by the ratio."""

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
    options = arguments.parse_args()
    # One thread each: torch's second thread keeps spinning for a while after its turn and would slow the other side.
    print(f"{use_threads(1)} thread; median of {options.repeats} interleaved repeats")
    print(f"{'path':34} {'size':>5} {'ours, ms/image':>15} {'peer, ms/image':>15} {'ratio':>7}  peer")
    for size in SIZES:
        for name, peer, ours, theirs, images in metrics(size) + transforms(size):
            report(name, size, peer, ours, theirs, images, options.repeats)
    print(f"{use_threads()} threads:")
    name, peer, ours, theirs, images = training()
    report(name, 96, peer, ours, theirs, images, min(options.repeats, 3))


Case = tuple[str, str, Callable[[], object], Callable[[], object], int]


def metrics(size: int) -> list[Case]:
    """SSIM, HaarPSI, MSE and pHash on a batch of pairs."""
    import cv2
    from skimage.metrics import structural_similarity

    n = 64 if size <= 96 else 16
    first, second = (torch.rand(n, 3, size, size, generator=rng_of(part)) for part in ("left", "right"))
    pairs = list(zip(first.numpy(), second.numpy(), strict=True))
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in to_bytes(first)]
    return [
        (
            "dSSIM",
            "piq.ssim",
            lambda: dssim(first, second, window=11, sigma=1.5, k1=0.01, k2=0.03),
            lambda: piq.ssim(first, second, data_range=1.0, downsample=False, reduction="none"),
            n,
        ),
        (
            "dSSIM",
            "scikit-image",
            lambda: dssim(first, second, window=11, sigma=1.5, k1=0.01, k2=0.03),
            lambda: [structural_similarity(x, y, channel_axis=0, **settings) for x, y in pairs],
            n,
        ),
        (
            "dHaar",
            "piq.haarpsi",
            lambda: dhaar(first, second, c=30.0, alpha=4.2),
            lambda: piq.haarpsi(first, second, data_range=1.0, reduction="none"),
            n,
        ),
        (
            "MSE",
            "OpenCV, per image",
            lambda: mse(first, second),
            lambda: [cv2.norm(x.reshape(-1), y.reshape(-1), cv2.NORM_L2SQR) for x, y in pairs],
            n,
        ),
        (
            "pHash (two images)",
            "imagehash.phash",
            lambda: phash(first, second, hash_size=8, highfreq_factor=4),
            lambda: [imagehash.phash(picture) for picture in pictures for _ in range(2)],
            n,
        ),
    ]


def training() -> Case:
    """One pass of ResNet-18 over 96 px images as the harness trains it, against float32 in torch's own layout."""
    n, learners = 128, []
    images = torch.randint(256, (n, 3, 96, 96), dtype=torch.uint8)
    labels = torch.randint(10, (n,))
    for kind in (Learner, Plain):
        with seeded(derive(b"", "bench"), "cpu"):
            network = networks.build("resnet18", 10, (96, 96))
            learners.append(kind(network, RECIPES["default"], 64, b"k" * 32, "cpu", 100))
    ours, plain = learners
    return "ResNet-18 training", "float32", lambda: ours.epoch(images, labels), lambda: plain.epoch(images, labels), n


class Plain(Learner):
    """Training in float32 and with contiguous tensors, torch's default."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.precision = None
        self.model.to(memory_format=torch.contiguous_format)

    def _augment(self, images: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        return super()._augment(images, mirrored).contiguous()


def rng_of(purpose: str) -> torch.Generator:
    return torch_generator(derive(b"benchmarks", purpose), "cpu")


def report(
    name: str, size: int, peer: str, ours: Callable[[], object], theirs: Callable[[], object], images: int, repeats: int
) -> None:
    our_times, their_times = [], []
    ours(), theirs()  # fill caches
    for _ in range(repeats):
        for function, times in ((ours, our_times), (theirs, their_times)):
            start = time.perf_counter()
            function()
            times.append((time.perf_counter() - start) / images * 1e3)
    our, their = statistics.median(our_times), statistics.median(their_times)
    print(f"{name:34} {size:5} {our:15.3f} {their:15.3f} {their / our:7.1f}  {peer}", flush=True)


if __name__ == "__main__":
    main()
