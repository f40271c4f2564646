"""What a check is, and what comes of one.

Pictures to try a plugin on: three classes, each of stripes in a direction of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from harness.errors import HarnessError, Inapplicable, Skipped
from harness.randomness import derive, torch_generator
from harness.types import Array, Dataset

Check: TypeAlias = tuple[str, Callable[[], None]]
"""What is asked, and the function that raises where it does not hold."""


@dataclass(frozen=True)
class Finding:
    """One check: what was asked, whether it holds, and if not why."""

    check: str
    ok: bool
    why: str = ""


class Broken(Exception):  # noqa: N818  (a finding, not an error)
    """A check does not hold; the message says why."""


def tried(name: str, check: Callable[[], None]) -> Finding:
    try:
        check()
    except (Broken, HarnessError) as error:
        return Finding(name, False, str(error))
    except (Skipped, Inapplicable) as reason:
        return Finding(name, True, f"not checked: {reason}")
    except Exception as error:  # a plugin may raise anything; that is the finding
        return Finding(name, False, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Finding(name, True)


def require(holds: bool, why: str) -> None:
    if not holds:
        raise Broken(why)


SIZE = 32
CLASSES = 3


def noise(shape: tuple[int, ...], purpose: str) -> torch.Tensor:
    rng = torch_generator(derive(b"", purpose), "cpu")
    return torch.randint(256, shape, generator=rng, dtype=torch.uint8)


def pictures(count: int, purpose: str) -> tuple[torch.Tensor, Array]:
    """Smooth pictures of three classes that differ in the direction of their stripes."""
    labels = np.arange(count) % CLASSES
    rng = np.random.Generator(np.random.Philox(int.from_bytes(derive(b"", purpose)[:8], "little")))
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    images = np.empty((count, 3, SIZE, SIZE), np.uint8)
    for row, label in enumerate(labels):
        wave = np.sin(2 * np.pi * (3 * (x if label == 0 else y if label == 1 else x + y) + rng.random()))
        tint = rng.uniform(0.5, 1, (3, 1, 1))
        images[row] = np.clip(127 + 90 * tint * wave + rng.normal(0, 8, (3, SIZE, SIZE)), 0, 255)
    return torch.from_numpy(images), labels.astype(np.int64)


def dataset(count: int, role: str) -> Dataset:
    images, labels = pictures(count, role)
    hashes = np.array([f"{role}{row:05d}" for row in range(count)], "S32")
    names, classes = tuple(map(str, range(count))), tuple("abc"[:CLASSES])
    strongest = images.float().std((2, 3)).argmax(1).numpy()  # of the colours: a second thing to read
    return Dataset(images.numpy(), labels, hashes, names, classes, strongest, ("red", "green", "blue"))
