"""How fast networks are trained, and what a bare loop reaches with the same network, batch and optimiser.

Ours is what a run executes: bytes to floats, mirroring, autocast, loss, clipped gradients, running averages. The bare
loop has the forward and backward pass and the optimiser's step alone, on floats that are ready, in torch's own layout,
channels-last, either in bfloat16 where the CPU multiplies that, and the best of these compiled. oneDNN fuses
convolutions with what follows them only outside of training, so there is nothing to compare it with.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from harness.images import to_images
from harness.plugins.attacks.common.classifier import recipe_of
from harness.plugins.attacks.restoration.loss import restoration_loss
from harness.plugins.attacks.restoration.training import Batch, _Trainer
from harness.plugins.attacks.restoration.unet import UNet
from harness.randomness import derive
from harness.registry import load_registry
from harness.system.device import low_precision
from harness.train import RECIPES, Learner, autocast, networks, seeded

KEY = derive(b"benchmarks", "training")
SIZE, CLASSES, STEPS = 64, 10, 4
HEADS = ("trained", "batch", "ours: images/s", "GFLOP/s", "float32", "channels-last", "bfloat16", "both", "compiled")


@dataclass(frozen=True)
class Training:
    """One network and how it is trained.

    ours     trains on STEPS batches
    network  makes it, not trained
    loss     loss(output, batch number) of the bare loop
    inputs   (batch, C, H, W) float32 of the bare loop
    """

    name: str
    ours: Callable[[], object]
    network: Callable[[], nn.Module]
    loss: Callable[[Tensor], Tensor]
    inputs: Tensor


def trainings() -> list[Training]:
    """Utility, the recognisers that are networks, and the restoration that `inversion` and `multi_release` train."""
    registry = load_registry()
    utility = registry.get("evaluators", "utility").params["model"]
    recogniser = registry.get("attacks", "cnn_mcpherson").params["arch"]
    knobs = registry.get("attacks", "inversion").params
    return [
        _classifier(f"utility: {utility}", utility, RECIPES["default"]),
        _classifier("utility, --recipe paper: resnet18", "resnet18", RECIPES["default"]),
        _classifier(f"cnn_mcpherson: {recogniser}", recogniser, recipe_of(recogniser)),
        _restoration("inversion: U-Net, two images", 2, knobs["width"], knobs["batch"]),
        _restoration("multi_release: U-Net, one image", 1, knobs["width"], knobs["batch"]),
    ]


def _classifier(name: str, arch: str, recipe: Any, batch: int = 16) -> Training:
    stored = torch.randint(256, (STEPS * batch, 3, SIZE, SIZE), dtype=torch.uint8)
    labels = torch.randint(CLASSES, (len(stored),))
    network = partial(networks.build, arch, CLASSES, (SIZE, SIZE))
    learner = Learner(network(), recipe, batch, KEY, "cpu", 10**6)
    return Training(
        name,
        lambda: learner.epoch(stored, labels),
        network,
        lambda output: functional.cross_entropy(output.float(), labels[:batch]),
        to_images(stored[:batch]),
    )


def _restoration(name: str, images: int, width: int, batch: int) -> Training:
    stored = torch.randint(256, (STEPS * batch, 3, SIZE, SIZE), dtype=torch.uint8)
    truths = torch.randint(256, (len(stored), images, 3, SIZE, SIZE), dtype=torch.uint8)
    weights = torch.tensor([[0.75, 0.25][:images]] * len(stored))
    data = Batch(stored, truths, weights)
    trainer = _Trainer(data, KEY, "cpu", width, batch, torch.zeros(3, SIZE, SIZE), True, None)

    def loss(output: Tensor) -> Tensor:
        pictures = output.float().view(batch, images, 3, SIZE, SIZE)
        return restoration_loss(pictures, wanted, weights[:batch], trainer.ordered).mean()

    wanted = to_images(truths[:batch])
    return Training(name, lambda: trainer.learn(data), lambda: UNet(3, images, width), loss, to_images(stored[:batch]))


def lines(repeats: int) -> Iterator[tuple[str, ...]]:
    """Rows under HEADS: images a CPU-second of each way, medians of repeats in turns."""
    with seeded(KEY, "cpu"):
        for each in trainings():
            yield _line(each, repeats)


def _line(training: Training, repeats: int) -> tuple[str, ...]:
    batch, low = len(training.inputs), low_precision("cpu")
    ways = [(last, precision) for precision in (None, low)[: 1 + bool(low)] for last in (False, True)]
    bare = {way: partial(_steps, *_bare(training, *way)) for way in ways}
    rates = _rates({"ours": training.ours, **bare}, batch, repeats)
    best = max(ways, key=lambda way: rates[way])
    compiled = _compiled(training, best, batch, repeats)
    flop = _flop(training) / batch / 1e9
    said = [f"{rates[way]:.0f}" if way in rates else "-" for way in itertools.product((False, True), (None, low))]
    by_precision = [said[0], said[2], *((said[1], said[3]) if low else ("-", "-"))]
    head = (training.name, str(batch), f"{rates['ours']:.0f}", f"{rates['ours'] * flop:.0f}")
    return (*head, *by_precision, compiled)


def _bare(training: Training, last: bool, precision: Any, compiled: bool = False) -> tuple[Callable[[], Tensor], Any]:
    """The loss of one batch, and the optimiser of its network."""
    layout = torch.channels_last if last else torch.contiguous_format
    network = training.network().to(memory_format=layout).train()
    forward = torch.compile(network) if compiled else network
    inputs = training.inputs.contiguous(memory_format=layout)

    def loss() -> Tensor:
        with autocast("cpu", precision):
            output = forward(inputs)
        return training.loss(output)

    return loss, torch.optim.Adam(network.parameters(), 1e-3, fused=True)


def _steps(loss: Callable[[], Tensor], optimizer: Any) -> None:
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()


def _rates(ways: dict[Any, Callable[[], object]], batch: int, repeats: int) -> dict[Any, float]:
    """Images a CPU-second of each way."""
    times: dict[Any, list[float]] = {way: [] for way in ways}
    for turn in range(repeats + 1):
        for way, work in ways.items():
            start = time.process_time()
            work()
            if turn:  # the first fills caches
                times[way].append(time.process_time() - start)
    return {way: STEPS * batch / statistics.median(spent) for way, spent in times.items()}


def _compiled(training: Training, way: tuple[bool, Any], batch: int, repeats: int) -> str:
    try:
        work = partial(_steps, *_bare(training, *way, compiled=True))
        return f"{_rates({way: work}, batch, repeats)[way]:.0f}"
    except Exception as error:  # no C++ compiler, an operation that it does not know
        return f"- ({type(error).__name__})"


def _flop(training: Training) -> int:
    """Of one batch, forward and backward."""
    loss, _ = _bare(training, False, None)
    with FlopCounterMode(display=False) as counter:
        loss().backward()
    return int(counter.get_total_flops())
