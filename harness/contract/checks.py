"""What a check is and how it is run, and the small images that plugins are checked on."""

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
"""What must hold, and a function that raises where it does not."""
SIZE = 32
"""Height and width of the images, in pixels."""
CLASSES = 3


@dataclass(frozen=True)
class Finding:
    """The result of one check: what was checked, whether it holds, and if not why."""

    check: str
    ok: bool
    why: str = ""


class CheckFailed(Exception):  # noqa: N818  (a finding, not an error)
    """A check does not hold; the message says why."""


def require(holds: bool, why: str) -> None:
    """Raise CheckFailed unless it holds."""
    if not holds:
        raise CheckFailed(why)


def run_check(name: str, check: Callable[[], None]) -> Finding:
    """Run one check. Any exception is a finding; Skipped and Inapplicable count as not checked."""
    try:
        check()
    except (CheckFailed, HarnessError) as error:
        return Finding(name, False, str(error))
    except (Skipped, Inapplicable) as reason:
        return Finding(name, True, f"not checked: {reason}")
    except Exception as error:  # a plugin may raise anything
        return Finding(name, False, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Finding(name, True)


# Images


def random_pixels(shape: tuple[int, ...], purpose: str) -> torch.Tensor:
    """Uniform uint8 pixels; the same for the same purpose."""
    rng = torch_generator(derive(b"", purpose), "cpu")
    return torch.randint(256, shape, generator=rng, dtype=torch.uint8)


def striped_images(count: int, purpose: str) -> tuple[torch.Tensor, Array]:
    """Smooth images (N, 3, SIZE, SIZE) uint8 of three classes that differ in the direction of their stripes; labels."""
    labels = np.arange(count) % CLASSES
    rng = np.random.Generator(np.random.Philox(int.from_bytes(derive(b"", purpose)[:8], "little")))
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    images = np.empty((count, 3, SIZE, SIZE), np.uint8)
    for row, label in enumerate(labels):
        wave = np.sin(2 * np.pi * (3 * (x if label == 0 else y if label == 1 else x + y) + rng.random()))
        tint = rng.uniform(0.5, 1, (3, 1, 1))
        images[row] = np.clip(127 + 90 * tint * wave + rng.normal(0, 8, (3, SIZE, SIZE)), 0, 255)
    return torch.from_numpy(images), labels.astype(np.int64)


def striped_dataset(count: int, role: str) -> Dataset:
    """Striped images as a data set; the second attribute is the colour channel with the most contrast."""
    images, labels = striped_images(count, role)
    hashes = np.array([f"{role}{row:05d}" for row in range(count)], "S32")
    names, classes = tuple(map(str, range(count))), tuple("abc"[:CLASSES])
    strongest = images.float().std((2, 3)).argmax(1).numpy()
    return Dataset(images.numpy(), labels, hashes, names, classes, strongest, ("red", "green", "blue"))
