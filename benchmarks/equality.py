"""Compare two devices: every defense with the same random draws, every metric on the same pairs of images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from harness.client.client import scheme_of
from harness.data.load import load
from harness.images import ops, to_bytes
from harness.images.draws import Draws
from harness.randomness import derive, torch_generator
from harness.registry import Registry, bind
from harness.release import Scheme

KEY = derive(b"benchmarks", "gpu")
Line = tuple[str, str, str]


@contextmanager
def same_draws() -> Iterator[None]:
    """Every device gets the random numbers that the CPU draws."""

    class CpuDraws(Draws):
        def __init__(self, rng: torch.Generator) -> None:
            super().__init__(torch_generator(KEY, "cpu"))
            self.device = rng.device

        def words(self, shape: tuple[int, ...]) -> torch.Tensor:
            words = super().words(shape)
            return words if self.device.type == "cpu" else words.to(torch.int64).to(self.device)

        def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
            return super().normal(shape).to(self.device)

    before, ops.Draws = ops.Draws, CpuDraws  # type: ignore[misc]
    try:
        yield
    finally:
        ops.Draws = before  # type: ignore[misc]


def equal_defenses(registry: Registry, device: str) -> list[Line]:
    """The largest difference in grey levels between the devices' releases of sixteen photographs."""
    lines = []
    for name, entry in registry.section("defenses").items():
        scheme = scheme_of(entry, registry)
        shares = [1.0] if scheme.sources == 1 else [0.75, 0.25, *[0.0] * (scheme.sources - 2)]
        sources, weights = photographs(16, scheme.sources), torch.tensor([shares]).repeat(16, 1)
        with same_draws():
            on_cpu, on_device = (_released(scheme, sources.to(d), weights.to(d)) for d in ("cpu", device))
        worst = int((on_cpu - on_device).abs().max())
        share = float((on_cpu != on_device).float().mean())
        lines.append(
            (f"`{name}` on both devices", f"{worst} grey levels at most, {share:.2%} of values differ", "<= 1")
        )
    return lines


def _released(scheme: Scheme, sources: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    released = scheme.function(sources, weights, torch_generator(KEY, str(sources.device)))
    return to_bytes(released if isinstance(released, torch.Tensor) else released.images).int().cpu()


def equal_metrics(registry: Registry, device: str) -> list[Line]:
    images, originals = photographs(16, 2).unbind(1)
    lines = []
    for name in ("dssim", "aligned_dssim", "dhaar", "mse", "phash"):
        metric = bind(registry.get("metrics", name))
        on_cpu, on_device = metric(images, originals), metric(images.to(device), originals.to(device)).cpu()
        difference = float(((on_cpu - on_device).abs() / on_cpu.abs().clamp(min=1)).max())
        lines.append((f"`{name}` on both devices", f"{difference:.1e} apart at most", "<= 1e-05"))
    return lines


def photographs(count: int, sources: int) -> torch.Tensor:
    """(count, sources, 3, 64, 64) float in [0, 1]: tiles of the photographs that come with the harness."""
    images = load("photos").private.images[: count * sources]
    return torch.from_numpy(images.astype(np.float32) / 255).view(count, sources, 3, 64, 64)
