"""Bits that carry the picture under a fixed pad are found, and nothing is claimed elsewhere."""

from __future__ import annotations

from harness.plugins.attacks.ensemble.bit_tables import bit_table
from harness.plugins.attacks.ensemble.undo import undo
from harness.randomness import torch_generator
from tests.planted.cheats import shown
from tests.planted.composed import noisy
from tests.planted.data import distances, observed, photographs
from tests.planted.schemes import PLANTED, SOUND
from tests.planted.table import Planted, as_released


def test_low_bits_under_a_pad_are_found():
    attacked = observed(PLANTED["padded_low_bits"], photographs(32))

    result = undo(attacked.observation, (bit_table,), torch_generator(b"rng", "cpu"))

    assert result.found == ["the picture in bits 00001111 by a table for each place (a fixed pad or mask)"]
    assert distances(result.observation.images, attacked.originals).mean() < 0.2


def test_nothing_is_claimed_where_bits_tell_nothing():
    functions = [(shown, {}), (noisy, {"sigma": 20}), *((function, {}) for function in SOUND.values())]
    for function, params in functions:
        attacked = observed(Planted(function, "", "", as_released, params=params), photographs(32))

        assert bit_table(attacked.observation, torch_generator(b"rng", "cpu")) is None
