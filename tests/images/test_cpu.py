"""Passes that do several steps of a release at once do what plain arithmetic does, compiled or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.images import cpu, gather, round_and_check
from tests.helpers.generators import generator


@pytest.fixture(params=["compiled", "without Numba"], autouse=True)
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without Numba":
        monkeypatch.setattr(cpu, "loops", lambda: None)
    elif cpu.loops() is None:
        pytest.skip("Numba is not installed here")


# ---- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (4, 2), (0,), (0, 2)])
def test_gathered_rows_are_the_images_divided_by_255(shape: tuple[int, ...]) -> None:
    """Of every level, as float64 divides them, rounded once; from an array and from a tensor."""
    images = np.arange(7 * 3 * 16 * 16, dtype=np.int64).reshape(7, 3, 16, 16).astype(np.uint8)
    rows = np.random.default_rng(0).integers(0, 7, shape)

    expected = torch.from_numpy((images[rows] / 255).astype(np.float32))

    for stored in (images, torch.from_numpy(images), images[:, :, ::-1].copy()[:, :, ::-1]):
        assert torch.equal(gather(stored, rows, "cpu"), expected)


def test_rows_outside_the_images_are_refused_and_negative_ones_count_from_the_end() -> None:
    images = np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1)

    assert gather(images, np.array([-1, 0]), "cpu").mul(255).round().flatten().tolist() == [6, 0]
    with pytest.raises(IndexError):
        gather(images, np.array([7]), "cpu")


@pytest.mark.parametrize("count", [1, 63, 64, 65, 10_000])
def test_rounding_and_checking_is_both_in_one(count: int) -> None:
    """Every half level is among the values, which torch rounds to even."""
    images = torch.cat([torch.arange(-4, 1026) / 1020, torch.rand(10_000, generator=generator()) * 3 - 1])[-count:]
    for whole in (images, images.expand(2, count).T, images.clone().requires_grad_()):
        levels = torch.empty(whole.shape, dtype=torch.uint8)

        assert round_and_check(whole, levels)

        assert torch.equal(levels, whole.detach().mul(255).round().clamp(0, 255).to(torch.uint8))


@pytest.mark.parametrize("fault", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 63, 64, 99])
def test_one_value_that_is_not_finite_is_found(fault: float, place: int) -> None:
    images = torch.full((100,), 0.5)
    images[place] = fault

    for whole in (images, images.double()):
        assert not round_and_check(whole, torch.empty(100, dtype=torch.uint8))


# ---- smallest values -------------------------------------------------------------------------------------------------

WORDS = st.one_of(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 2**10 - 1, 2**10, 2**21 - 1, 2**21, 2**21 + 2**10, 2**32 - 2**21, 2**32 - 1]),
)


@given(st.lists(st.lists(WORDS, min_size=30, max_size=30), min_size=1, max_size=3), st.integers(1, 30))
def test_the_smallest_of_each_row_and_what_equals_the_last_of_them(rows: list[list[int]], count: int) -> None:
    """Many words share the digits that the search goes by, and many are equal."""
    expected = [[word <= sorted(row)[count - 1] for word in row] for row in rows]

    assert cpu.smallest(np.array(rows, np.uint32), count).tolist() == expected


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_the_smallest_of_numbers_of_any_type(dtype: type) -> None:
    rows = np.random.default_rng(0).permuted(np.tile(np.arange(-50, 50), (4, 1)), axis=1).astype(dtype)

    assert np.array_equal(cpu.smallest(rows, 20), rows < -30)
