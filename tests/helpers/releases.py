"""Releases of registered defenses, and images to release."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from harness.randomness import derive, root_of
from harness.registry import bind, load_registry
from harness.release import Scheme, obfuscate
from harness.types import Release, Secret

REGISTRY = load_registry()
KEY = derive(root_of(0), "release", 0)
SHOWN = {"weights": [1.0], "pairing": "permutation", "intra_class": False, "label": "dominant"}
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Classes = np.ndarray[Any, np.dtype[np.int64]]


def scheme(name: str, **settings: Any) -> Scheme:
    """A registered defense, some of its knobs or its mixing set differently."""
    entry = REGISTRY.get("defenses", name).with_settings(settings)
    return Scheme(name, bind(entry), entry.mixing)


def tiny(n: int, classes: int = 10) -> tuple[Bytes, Classes]:
    """Many images of 4 x 4 pixels, for tests of chance, and their classes."""
    rng = np.random.default_rng(n)
    return rng.integers(0, 256, (n, 3, 4, 4), dtype=np.uint8), rng.integers(0, classes, n)


def released(name: str, images: Any, labels: Classes, key: bytes = KEY, **settings: Any) -> tuple[Release, Secret]:
    return obfuscate(scheme(name, **settings), images, labels, 10, key)


def noise_of(release: Release, secret: Secret, images: Bytes) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What was added to each original, in released order: (N, pixels)."""
    return (release.images.numpy().astype(float) - images[secret.dominant_rows]).reshape(len(release), -1)


def same(one: tuple[Release, Secret], other: tuple[Release, Secret]) -> bool:
    return torch.equal(one[0].images, other[0].images) and torch.equal(one[0].labels, other[0].labels)
