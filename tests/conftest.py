"""Real photographs in small: what several test files look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import settings

from harness.train import memo

settings.register_profile("steady", derandomize=True, deadline=None, database=None)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run works in this process, where a test can reach it, unless the test asks for workers."""
    monkeypatch.setenv("HARNESS_WORKERS", "1")


@pytest.fixture(autouse=True)
def nothing_learned() -> None:
    """What one test's attacks learned is not there for the next."""
    memo.forget()


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def photographs() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(24, 3, 64, 64) uint8, read-only: eight crops of each of three photographs, which are the three classes."""
    crops = [
        getattr(skimage.data, name)()[top : top + 64, left : left + 64].transpose(2, 0, 1)
        for name in ("astronaut", "chelsea", "coffee")
        for top in (20, 120)
        for left in (60, 140, 220, 300)
    ]
    stacked = np.stack(crops)
    stacked.flags.writeable = False
    return stacked


@pytest.fixture(scope="session")
def classes() -> np.ndarray[Any, np.dtype[np.int64]]:
    """(24,) int64: which photograph each crop is from."""
    return np.repeat(np.arange(3), 8)


@pytest.fixture
def images(photographs: np.ndarray[Any, np.dtype[np.uint8]]) -> torch.Tensor:
    """(24, 3, 64, 64) float32 in [0, 1]; a fresh copy for every test."""
    return torch.from_numpy(photographs.astype(np.float32) / 255)
