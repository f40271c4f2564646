"""What tests of image stacks share: a generator for every seed, and the type of their values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from harness.randomness import derive, torch_generator

Floats = np.ndarray[Any, np.dtype[np.float32]]


def generator(seed: int = 0) -> torch.Generator:
    return torch_generator(derive(b"images", seed), "cpu")
