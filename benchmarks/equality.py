"""That two devices compute the same: every defense on the same draws, every metric on the same pairs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from harness import images as verbs
from harness.client.client import scheme_of
from harness.data.load import load
from harness.images import to_bytes
from harness.images.draws import Draws
from harness.randomness import derive, torch_generator
from harness.registry import Registry, bind
from harness.release import Scheme

KEY = derive(b"benchmarks", "gpu")
Line = tuple[str, str, str]


@contextmanager
def same_draws() -> Iterator[None]:
    """Every device gets the draws of the CPU."""

    class Shared(Draws):
        def __init__(self, rng: torch.Generator) -> None:
            super().__init__(torch_generator(KEY, "cpu"))
            self.wanted = rng.device

        def words(self, shape: tuple[int, ...]) -> torch.Tensor:
            drawn = super().words(shape)
            return drawn if self.wanted.type == "cpu" else drawn.to(torch.int64).to(self.wanted)

        def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
            return super().normal(shape).to(self.wanted)

    before, verbs.Draws = verbs.Draws, Shared  # type: ignore[misc]
    try:
        yield
    finally:
        verbs.Draws = before  # type: ignore[misc]


def equal_defenses(registry: Registry, device: str) -> list[Line]:
    """The largest difference in grey levels between the devices' releases of sixteen photographs."""
    lines = []
    for name, entry in registry.section("defenses").items():
        scheme = scheme_of(entry, registry)
        shares = [1.0] if scheme.sources == 1 else [0.75, 0.25, *[0.0] * (scheme.sources - 2)]
        sources, weights = photographs(16, scheme.sources), torch.tensor([shares]).repeat(16, 1)
        with same_draws():
            here, there = (_released(scheme, sources.to(d), weights.to(d)) for d in ("cpu", device))
        worst = int((here - there).abs().max())
        share = float((here != there).float().mean())
        lines.append(
            (f"`{name}` on both devices", f"{worst} grey levels at most, {share:.2%} of values differ", "<= 1")
        )
    return lines


def _released(scheme: Scheme, sources: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    made = scheme.function(sources, weights, torch_generator(KEY, str(sources.device)))
    return to_bytes(made if isinstance(made, torch.Tensor) else made.images).int().cpu()


def equal_metrics(registry: Registry, device: str) -> list[Line]:
    one, other = photographs(16, 2).unbind(1)
    lines = []
    for name in ("dssim", "dhaar", "mse", "phash"):
        metric = bind(registry.get("metrics", name))
        here, there = metric(one, other), metric(one.to(device), other.to(device)).cpu()
        far = float(((here - there).abs() / here.abs().clamp(min=1)).max())
        lines.append((f"`{name}` on both devices", f"{far:.1e} apart at most", "<= 1e-05"))
    return lines


def photographs(count: int, sources: int) -> torch.Tensor:
    """(count, sources, 3, 64, 64) float in [0, 1]: tiles of the photographs that come with the harness."""
    images = load("photos").private.images[: count * sources]
    return torch.from_numpy(images.astype(np.float32) / 255).view(count, sources, 3, 64, 64)
