"""Releases of registered defenses, and images to release."""

from __future__ import annotations

from typing import Any

import numpy as np

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
