"""Print the speed of each function and of its peer, measured in one process in turns; compare by the ratio."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import imagehash
import piq
import torch
from PIL import Image

from benchmarks import training
from benchmarks.transforms import transforms
from harness.images import to_bytes
from harness.plugins.evaluators.privacy import dhaar, dssim, mse, phash
from harness.randomness import derive, torch_generator
from harness.report.markdown import grid
from harness.system.device import available_cores, keep_freed_memory, low_precision, use_threads

SIZES = (64, 96, 256)
REPEATS = 7
HEADS = ("path", "px", "ours, ms/image", "peer, ms/image", "ratio", "peer")
TRAINED = """\
Training at 64 px, in images a CPU-second. Ours is what a run executes (bytes to floats, mirroring, clipped gradients,
running averages); the columns after it are a bare loop on floats that are ready: torch's own layout and channels-last,
each in float32 and in bfloat16 where the CPU multiplies that, and the best of them compiled by `torch.compile`."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=REPEATS)
    arguments.add_argument("--out", type=Path, help="write the tables there as Markdown, too")
    options = arguments.parse_args()
    keep_freed_memory()  # as every command does
    # One thread each: torch's second thread keeps spinning for a while after its turn and would slow the other side.
    use_threads(1)
    about = f"{machine()}; one thread, medians of {options.repeats} repeats in turns."
    print(about)
    print(f"{HEADS[0]:34} {HEADS[1]:>5} {HEADS[2]:>15} {HEADS[3]:>15} {HEADS[4]:>7}  {HEADS[5]}")
    speeds = [
        report(name, size, peer, ours, theirs, images, options.repeats)
        for size in SIZES
        for name, peer, ours, theirs, images in metrics(size) + transforms(size)
    ]
    trained = []
    print("\n" + " | ".join(training.HEADS))
    for line in training.lines(options.repeats):
        print(*line, sep=" | ", flush=True)
        trained.append(line)
    if options.out:
        head = ["# On a CPU", "", f"`make bench`: {about} CPU-seconds; ratios above 1: faster than the peer.", ""]
        options.out.write_text("\n".join([*head, *grid(HEADS, speeds), TRAINED, "", *grid(training.HEADS, trained)]))


def machine() -> str:
    """The CPU by what it can compute."""
    bf16 = "multiplies bfloat16" if low_precision("cpu") else "float32"
    return f"{torch.backends.cpu.get_cpu_capability()}, {bf16}, {available_cores()} cores"


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


def rng_of(purpose: str) -> torch.Generator:
    return torch_generator(derive(b"benchmarks", purpose), "cpu")


def report(
    name: str, size: int, peer: str, ours: Callable[[], object], theirs: Callable[[], object], images: int, repeats: int
) -> tuple[str, ...]:
    our_times, their_times = [], []
    ours(), theirs()  # fill caches
    for _ in range(repeats):
        for function, times in ((ours, our_times), (theirs, their_times)):
            start = time.process_time()
            function()
            times.append((time.process_time() - start) / images * 1e3)
    our, their = statistics.median(our_times), statistics.median(their_times)
    print(f"{name:34} {size:5} {our:15.3f} {their:15.3f} {their / our:7.2f}  {peer}", flush=True)
    return name, f"{size}", f"{our:.3f}", f"{their:.3f}", f"{their / our:.2f}", peer


if __name__ == "__main__":
    main()
