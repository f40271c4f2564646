"""Check on a GPU that it computes what the CPU does, and measure an epoch at the paper's size.

See benchmarks/gpu.sh. Seconds are medians of whole epochs after one warm-up epoch, with the device synchronised.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.equality import KEY, Line, equal_defenses, equal_metrics
from harness.client.client import scheme_of
from harness.data.load import load
from harness.randomness import torch_generator
from harness.registry import Registry, load_registry
from harness.release import Scheme, as_tensor, obfuscate
from harness.report.markdown import grid
from harness.system.device import choose_device, device_type, low_precision, use_threads
from harness.train import RECIPES, Learner, batch_for, networks, prepare, seeded, steps_per_epoch

GFLOP = 14.2  # of one ResNet-18 training step per image of 256 px, forward and backward
PEAK = 790.0  # dense bf16 TFLOP/s, measured on one H200
TIMED = "noise_mix"  # the defense of the epoch that is split
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--device", default="cuda", help="cuda; cpu only checks that the script runs")
    arguments.add_argument("--dataset", help="real images instead of synthetic ones")
    arguments.add_argument("--images", type=int, default=22_800)
    arguments.add_argument("--size", type=int, default=256)
    arguments.add_argument("--epochs", type=int, default=3, help="timed epochs of each kind")
    arguments.add_argument("--out", type=Path, default=ROOT / "benchmarks/gpu.md")
    options = arguments.parse_args()
    registry, device = load_registry(), choose_device(options.device)
    use_threads()
    lines: list[Line] = []
    for part in (
        lambda: [tests_marked_gpu()],
        lambda: equal_defenses(registry, device),
        lambda: equal_metrics(registry, device),
        lambda: epoch(registry, device, options),
    ):
        for line in part():
            print(*line, sep=" | ", flush=True)
            lines.append(line)
        options.out.write_text(page(lines, device))


def page(lines: list[Line], device: str) -> str:
    cuda = device_type(device) == "cuda"
    where = torch.cuda.get_device_name(device) if cuda else "a test of the script on the CPU, without a GPU"
    head = ["# On a GPU", "", f"`benchmarks/gpu.sh`: {where}; torch {torch.__version__.split('+')[0]}.", ""]
    return "\n".join([*head, *grid(("what", "measured", "goal"), lines)])


def tests_marked_gpu() -> Line:
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "tests"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        print(result.stdout, result.stderr, sep="\n", file=sys.stderr)
    return "tests marked `gpu`", result.stdout.strip().splitlines()[-1].strip("= "), "none failed"


def epoch(registry: Registry, device: str, options: argparse.Namespace) -> list[Line]:
    """Seconds of one epoch of ResNet-18, and of its parts; the same on images that are not obfuscated again."""
    pictures, labels, classes = _set(device, options)
    n, size = len(pictures), pictures.shape[2]
    _forget_peak(device)
    times = {
        name: _seconds(partial(_once, scheme_of(entry, registry), pictures, labels, classes, device), device)
        for name, entry in registry.section("defenses").items()
        if name.endswith("mix")
    }
    release = _once(scheme_of(registry.get("defenses", TIMED), registry), pictures, labels, classes, device)
    batch = batch_for(n, 20, RECIPES["default"])
    with seeded(KEY, device):
        network = networks.build("resnet18", classes, (size, size))
        learner = Learner(network, RECIPES["default"], batch, KEY, device, 20 * steps_per_epoch(n, batch))

        def fresh() -> None:
            again = _once(scheme_of(registry.get("defenses", TIMED), registry), pictures, labels, classes, device)
            learner.epoch(again.images, again.labels)

        whole, fixed, feed = _in_turn(
            (fresh, lambda: learner.epoch(release.images, release.labels), lambda: _feed(learner, release.images)),
            device,
            options.epochs,
        )
    floor = n * GFLOP * (size / 256) ** 2 / 1e3 / PEAK
    cuda = device_type(device) == "cuda"
    paper = "<= 3 s, then 2 s (the paper: 43 s)" if cuda and (n, size) == (22_800, 256) else "-"
    allowed = 1.15 if cuda else 1.05
    setup = f"{n} images of {size} px, ResNet-18, batches of {batch}, {low_precision(device) or torch.float32}"
    return [
        (f"obfuscating one epoch: `{name}`", f"{seconds:.3f} s, {n / seconds:,.0f} images/s", "-")
        for name, seconds in times.items()
    ] + [
        (f"epoch with fresh `{TIMED}` ({setup})", f"{whole:.3f} s, {n / whole:,.0f} images/s", paper),
        ("of it: obfuscation", f"{times[TIMED]:.3f} s", "-"),
        ("of it: input (gather, floats, mirror)", f"{feed:.3f} s", "-"),
        ("of it: training", f"{fixed - feed:.3f} s", f"floor {floor:.3f} s at {PEAK:.0f} TFLOP/s"),
        ("epoch on fixed images (obfuscation off)", f"{fixed:.3f} s, {n / fixed:,.0f} images/s", "-"),
        ("fresh over fixed", f"{whole / fixed:.3f}", f"<= {allowed}"),
        ("peak device memory", _peak(device), "-"),
    ]


def _set(device: str, options: argparse.Namespace) -> tuple[Any, np.ndarray, int]:
    if options.dataset:
        private = load(options.dataset, size=options.size, limit=options.images, public_share=0).private
        pictures: Any = private.images if device == "cpu" else as_tensor(private.images).to(device)
        return pictures, private.labels, len(private.classes)
    generator = torch_generator(KEY, device)
    shape = (options.images, 3, options.size, options.size)
    drawn = torch.randint(256, shape, dtype=torch.uint8, generator=generator, device=device)
    return drawn if device != "cpu" else drawn.numpy(), np.arange(options.images) % 10, 10


def _once(scheme: Scheme, pictures: Any, labels: np.ndarray, classes: int, device: str) -> Any:
    return obfuscate(scheme, pictures, labels, classes, KEY, device)[0]


def _feed(learner: Learner, images: torch.Tensor) -> None:
    """All that an epoch does to its images before the network sees them."""
    for start in range(0, len(images), learner.batch):
        stored = images[start : start + learner.batch]
        learner._augment(
            prepare(stored, learner.device), torch.ones(len(stored), dtype=torch.bool, device=learner.device)
        )


def _seconds(work: Callable[[], object], device: str) -> float:
    return _in_turn((work,), device, 3)[0]


def _in_turn(works: Sequence[Callable[[], object]], device: str, times: int) -> list[float]:
    """Median seconds of each, after a first round that warms up; in turn, for a machine's speed drifts."""
    found: list[list[float]] = [[] for _ in works]
    for _ in range(times + 1):
        for work, seconds in zip(works, found, strict=True):
            _wait(device)
            start = time.perf_counter()
            work()
            _wait(device)
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds[1:]) for seconds in found]


def _wait(device: str) -> None:
    if device_type(device) == "cuda":
        torch.cuda.synchronize(device)


def _forget_peak(device: str) -> None:
    if device_type(device) == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: str) -> str:
    if device_type(device) != "cuda":
        return "- (CPU)"
    return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB"


if __name__ == "__main__":
    main()
