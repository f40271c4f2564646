"""Releases whose images are gathered, checked and rounded in one pass each are those of plain torch, bit for bit."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import release as release_module
from harness.images import cpu
from harness.release import Scheme, as_tensor, chunk_size, obfuscate
from harness.system import threads as threads_module
from harness.types import Mixture
from tests.helpers.releases import KEY, SHOWN, same, scheme

CASES: list[tuple[str, dict[str, Any]]] = [
    ("mix", {}),
    ("mix", {"weights": [0.5, 0.3, 0.2]}),
    ("graft_mix", {"p": 0.5, "per": "pixel"}),
    ("graft_mix", {"p": 0.8, "per": "channel"}),
    ("graft_mix", {"p": 0}),
    ("noise_mix", {"sigma": 10}),
    ("noise_mix", {"sigma": 40, "noise_after": True}),
    ("shuffle_mix", {"block": 1}),
    ("shuffle_mix", {"block": "an eighth"}),
    ("pixelize_mix", {"grid": 4}),
    ("pixelize_mix", {"grid": 13}),
    ("blur_mix", {"kernel": 5}),
    ("blur_mix", {"kernel": 31}),
]


def plain_gather(images: Any, rows: np.ndarray[Any, Any], device: str) -> torch.Tensor:
    return torch.as_tensor(np.asarray(images)[rows]).to(torch.float32).div_(255.0)


def plain_rounding(images: torch.Tensor, levels: torch.Tensor) -> bool:
    levels.copy_(images.mul(255.0).round_().clamp_(0, 255).to(torch.uint8))
    return bool(torch.isfinite(images).all())


@pytest.fixture
def by_plain_torch(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, nothing of a release is compiled and every step is its own expression."""

    def switch() -> None:
        monkeypatch.setattr(cpu, "loops", lambda: None)
        monkeypatch.setattr(release_module, "gather", plain_gather)
        monkeypatch.setattr(release_module, "round_and_check", plain_rounding)

    return switch


@pytest.mark.skipif(cpu.loops() is None, reason="Numba is not installed here")
@pytest.mark.parametrize("size, count", [(17, 401), (64, 47), (96, 23)])
@pytest.mark.parametrize("name, knobs", CASES, ids=str)
def test_a_release_is_that_of_plain_torch_to_the_last_bit(
    by_plain_torch: Callable[[], None], name: str, knobs: dict[str, Any], size: int, count: int
) -> None:
    """Several chunks, the last of another length; a tensor, a read-only array and one that is not in C order."""
    images = np.random.default_rng(size).integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    labels = np.arange(count) % 3
    if "block" in knobs:
        knobs = {"block": size // 8 if size % 8 == 0 and knobs["block"] != 1 else 1}
    used = scheme(name, **knobs)
    assert chunk_size(used.sources, images.shape, "cpu") < count
    frozen, reversed_ = images.copy(), np.asarray(images[..., ::-1].copy()[..., ::-1])
    frozen.flags.writeable = False

    found = [obfuscate(used, each, labels, 3, KEY) for each in (frozen, as_tensor(images), reversed_)]
    by_plain_torch()
    expected = obfuscate(used, images, labels, 3, KEY)

    for each in found:
        assert same(each, expected)
        assert np.array_equal(each[1].shares, expected[1].shares)
        assert np.array_equal(each[1].sources, expected[1].sources)


def faulty(fault: float, place: int) -> Callable[..., torch.Tensor]:
    def defense(sources: torch.Tensor, weights: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        images = sources[:, 0].clone()
        images.view(-1)[place] = fault
        return images

    return defense


@pytest.mark.parametrize("fault", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 63, 64, 1000, -1])
def test_one_number_that_is_not_finite_is_refused_wherever_it_is(fault: float, place: int) -> None:
    images = np.full((3, 3, 17, 17), 9, np.uint8)

    with pytest.raises(ValueError, match=r"^faulty: the release holds NaN or infinity in its images"):
        obfuscate(Scheme("faulty", faulty(fault, place), SHOWN), images, np.zeros(3, np.int64), 1, KEY)


@pytest.mark.parametrize("shares", [[0.5, 0.6], [1.5, -0.5], [0.0, 0.0]])
def test_shares_that_are_none_are_refused_also_where_they_are_written_in_place(shares: list[float]) -> None:
    def returned(sources: torch.Tensor, weights: torch.Tensor, rng: torch.Generator) -> Mixture:
        return Mixture(sources[:, 0].contiguous(), torch.tensor([shares]).expand(weights.shape))

    def written(sources: torch.Tensor, weights: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        weights[:] = torch.tensor(shares)
        return sources[:, 0].contiguous()

    for function in (returned, written):
        odd = Scheme("odd", function, {**SHOWN, "weights": [0.75, 0.25]})
        with pytest.raises(ValueError, match=r"^odd: shares of a mixture must be 0 or more and sum to 1"):
            obfuscate(odd, np.zeros((6, 3, 8, 8), np.uint8), np.zeros(6, np.int64), 1, KEY)


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_a_defense_uses_as_many_threads_as_torch_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread is a new one, where OpenMP's own setting holds until torch replaces it; asking torch would do that."""
    maps = Path("/proc/self/maps")
    loaded = maps.read_text().split() if maps.exists() else []
    library = next((word for word in loaded if "libgomp" in word and "torch" in word), None)
    if library is None:
        pytest.skip("torch uses no libgomp here")
    used: list[int] = []

    def counting(sources: torch.Tensor, weights: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        used.append(ctypes.CDLL(library).omp_get_max_threads())
        return sources[:, 0].contiguous()

    monkeypatch.setattr(threads_module, "_idle", [])
    obfuscate(Scheme("counting", counting, SHOWN), np.zeros((2, 3, 8, 8), np.uint8), np.zeros(2, np.int64), 1, KEY)

    assert used == [3]
