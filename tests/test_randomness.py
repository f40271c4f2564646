"""One root, many keys: every purpose has a generator of its own, seeded with the full width of its state.

Reference: Matsumoto and Nishimura 1998 (MT19937), Salmon et al. 2011 (Philox).
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from harness.randomness import ROOT_BYTES, derive, key_from, numpy_generator, root_of, torch_generator

ROOT = root_of(0)
purposes = st.lists(st.one_of(st.text(max_size=6), st.integers(-(2**70), 2**70)), max_size=4).map(tuple)


def twister(generator: torch.Generator) -> np.random.MT19937:
    """NumPy's Mersenne twister on the words that torch's generator holds, before its first draw."""
    state = generator.get_state().numpy()
    words = state[24 : 24 + 8 * 624].copy().view(np.uint64).astype(np.uint32)
    bits = np.random.MT19937(0)
    bits.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": 624}}
    return bits


def test_torchs_cpu_generator_is_mt19937_on_the_whole_state() -> None:
    """Its floats are NumPy's raw words cut to 24 bits: over three blocks of 624, so every word of the state counts."""
    raw = twister(torch_generator(ROOT, "cpu")).random_raw(2000)

    floats = torch.rand(2000, generator=torch_generator(ROOT, "cpu"))

    np.testing.assert_array_equal(floats.numpy(), ((raw & (2**24 - 1)) / 2**24).astype(np.float32))


def test_doubles_use_two_words_each() -> None:
    raw = twister(torch_generator(ROOT, "cpu")).random_raw(2000).astype(np.uint64)

    doubles = torch.rand(1000, generator=torch_generator(ROOT, "cpu"), dtype=torch.float64)

    words = (raw[0::2] << np.uint64(32)) | raw[1::2]
    np.testing.assert_array_equal(doubles.numpy(), (words & np.uint64(2**53 - 1)) / 2**53)


def test_torchs_state_is_filled_with_words_that_look_random() -> None:
    """All 32 bits of all 624 words, and not the words that manual_seed would have spread from 32 bits."""
    key = derive(ROOT, "x")
    state = twister(torch_generator(key, "cpu")).state["state"]["key"]

    seeded = np.random.MT19937()
    seeded._legacy_seeding(int.from_bytes(key[:4], "little"))
    assert kstest(state / 2**32, "uniform").pvalue > 1e-3
    assert not np.isin(state, seeded.state["state"]["key"]).any()


def test_no_cached_normal_draw_is_carried_over() -> None:
    """torch caches every second normal: a fresh generator starts without one."""
    torch.randn(3, generator=torch_generator(derive(ROOT, 1), "cpu"))
    some = torch.randn(5, generator=torch_generator(ROOT, "cpu"))

    assert torch.equal(some, torch.randn(5, generator=torch_generator(ROOT, "cpu")))


def test_torch_generators_leave_the_global_ones_alone() -> None:
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()

    torch.rand(9, generator=torch_generator(ROOT, "cpu"))

    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numbers, np.random.get_state()[1])


def test_keys_that_agree_in_their_first_64_bits_give_different_generators() -> None:
    """manual_seed alone would keep 32 bits, or 64: the state takes 128."""
    one, other = bytes(32), bytes(8) + b"\x01" + bytes(23)

    made = [torch.rand(4, generator=torch_generator(key, "cpu")) for key in (one, other)]
    numbers = [numpy_generator(key).random(4) for key in (one, other)]

    assert not torch.equal(*made)
    assert not np.array_equal(*numbers)


def test_numbers_are_philoxs() -> None:
    """The first 128 bits of a key, little-endian."""
    key = derive(ROOT, "numbers")
    philox = np.random.Philox(key=np.frombuffer(key[:16], "<u8"))

    assert np.array_equal(numpy_generator(key).integers(0, 2**63, 9), np.random.Generator(philox).integers(0, 2**63, 9))


@pytest.mark.parametrize(
    "one, other",
    [
        (("1",), (1,)),
        (("ab", "c"), ("a", "bc")),
        (("a", "b"), ("ab",)),
        (("a", ""), ("a",)),
        (("",), ()),
        (("int:1",), (1,)),
        ((1, 2), (12,)),
        ((1,), (-1,)),
        (("a", "b"), ("b", "a")),
        (("é",), ("e\u0301",)),
    ],
    ids=repr,
)
def test_different_purposes_have_different_keys(one: Any, other: Any) -> None:
    assert derive(ROOT, *one) != derive(ROOT, *other)


@given(one=purposes, other=purposes)
def test_keys_are_equal_only_where_purposes_are(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert (derive(ROOT, *one) == derive(ROOT, *other)) == (one == other)


def test_deriving_twice_is_not_deriving_once() -> None:
    assert derive(derive(ROOT, "a"), "b") != derive(ROOT, "a", "b")


@pytest.mark.parametrize("seed", [0, 7, 2**31])
def test_seeds_that_agree_modulo_a_word_have_different_roots(seed: int) -> None:
    roots = [root_of(seed + step) for step in (0, 2**32, 2**64, 2**128)]

    assert all(len(root) == ROOT_BYTES == 16 for root in roots)
    assert len({*roots, root_of(-seed - 1)}) == 5


def test_generators_of_sibling_keys_are_uncorrelated() -> None:
    draws = torch.stack(
        [torch.rand(5000, generator=torch_generator(derive(ROOT, "chunk", i), "cpu")) for i in range(6)]
    )

    matrix = np.corrcoef(draws.numpy())
    assert all(abs(matrix[i, j]) < 4.5 / np.sqrt(5000) for i, j in combinations(range(6), 2))


def test_a_key_drawn_from_a_generator_depends_on_it_alone() -> None:
    """Same generator state, same key; the next draw is another; 256 bits."""
    first, again = key_from(torch_generator(ROOT, "cpu")), key_from(torch_generator(ROOT, "cpu"))
    rng = torch_generator(ROOT, "cpu")

    assert first == again and len(first) == 32
    assert len({key_from(rng) for _ in range(50)}) == 50


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_a_generator_is_on_the_device_that_was_given() -> None:
    draws = [torch.rand(9, generator=torch_generator(derive(ROOT, i), "cuda"), device="cuda") for i in (0, 0, 1)]

    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
