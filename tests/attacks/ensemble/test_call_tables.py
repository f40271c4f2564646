"""Pads that the images of one call share are found from these images alone, and nothing is claimed elsewhere."""

from __future__ import annotations

import pytest

from harness.plugins.attacks.ensemble.call_tables import call_table
from harness.plugins.attacks.ensemble.undo import undo
from harness.randomness import torch_generator
from tests.planted.cheats import shown
from tests.planted.composed import noisy
from tests.planted.data import distances, observed, photographs
from tests.planted.pads import PADS
from tests.planted.schemes import PLANTED, SOUND
from tests.planted.table import Planted, as_released, on_bytes


@pytest.mark.parametrize("name", [*PADS, "noise_of_the_release"])
def test_a_pad_of_the_call_is_found(name):
    attacked = observed(PLANTED[name], photographs(32))

    result = undo(attacked.observation, (call_table,), torch_generator(b"rng", "cpu"))

    assert ["drawn anew for each call" in said for said in result.found] == [True]
    assert distances(result.observation.images, attacked.originals).mean() < 0.05


def test_every_call_of_a_release_has_a_pad_of_its_own():
    """At 64 px the client obfuscates 42 images in a call."""
    attacked = observed(PLANTED["modular_pad_of_the_call"], photographs(64))

    result = undo(attacked.observation, (call_table,), torch_generator(b"rng", "cpu"))

    near = distances(result.observation.images, attacked.originals)
    assert near[:42].mean() < 0.05
    assert near[42:].mean() < 0.2  # of 18 images


def byte_of_the_call(images, rng):
    return images ^ int(rng.integers(256))


def test_nothing_is_claimed_where_nothing_is_shared():
    functions = [(shown, {}), (on_bytes(byte_of_the_call), {})]
    functions += [(noisy, {"sigma": 20}), *((function, {}) for function in SOUND.values())]
    for function, params in functions:
        attacked = observed(Planted(function, "", "", as_released, params=params), photographs())

        assert call_table(attacked.observation, torch_generator(b"rng", "cpu")) is None
