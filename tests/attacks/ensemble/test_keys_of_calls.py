"""Keys that are drawn for every image are found by calling the defense again with the same random numbers."""

from __future__ import annotations

import numpy as np
import pytest

from harness.images import average
from harness.plugins.attacks.ensemble.keys_of_calls import keys_of_calls
from harness.plugins.attacks.ensemble.undo import undo
from harness.randomness import torch_generator
from tests.planted.data import distances, observed, photographs
from tests.planted.keys import KEYS
from tests.planted.schemes import SOUND
from tests.planted.table import Planted, as_released, decoder, on_bytes

TABLE = np.random.default_rng(0).permutation(256)


def generator():
    return torch_generator(b"the rng of an attack", "cpu")


def attacked(planted):
    return observed(planted, photographs(32, 40))


def test_one_of_few_keys_is_found_and_undone():
    made = attacked(KEYS["one_of_four_orders"])

    result = undo(made.observation, (keys_of_calls,), generator())

    assert result.found == ["one of 4 fixed keys for every image"]
    assert float(distances(result.observation.images, made.originals).mean()) < 0.02


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (KEYS["order_and_byte"], "a fixed order of values, beside a key of its own for every image"),
        (KEYS["order_within_moved_blocks"], "a fixed order of pixels within blocks of 16 that are moved"),
    ],
)
def test_what_all_keys_have_in_common_is_undone(planted, said):
    made = attacked(planted)

    step = keys_of_calls(made.observation, generator())

    assert step.said == said


def test_the_table_beside_fresh_shifts_is_undone_exactly():
    def shifted(images, rng):
        return np.stack([np.roll(TABLE[image], tuple(rng.integers(0, 32, 2)), (1, 2)) for image in images])

    made = attacked(Planted(on_bytes(shifted), "", "", as_released))
    released = made.observation.images

    step = keys_of_calls(made.observation, generator())

    assert step.said == "one table of grey levels, beside a key of its own for every image"
    expected = decoder(lambda images: np.argsort(TABLE)[images])(released, made.context)
    assert (step.invert(released) == expected).all()


@pytest.mark.parametrize(
    "function",
    [*SOUND.values(), lambda sources, weights, rng: average(sources, weights), on_bytes(lambda x, rng: TABLE[x])],
)
def test_nothing_is_found_without_keys(function):
    assert keys_of_calls(attacked(Planted(function, "", "", as_released)).observation, generator()) is None
