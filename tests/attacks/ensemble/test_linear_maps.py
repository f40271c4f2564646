"""Linear maps of blocks, colours and whole images are found by probing, and undone as by decoders."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.images import average
from harness.plugins.attacks.ensemble.entry_maps import entry_map
from harness.plugins.attacks.ensemble.linear_maps import linear_map
from harness.plugins.attacks.ensemble.undo import undo
from harness.randomness import torch_generator
from tests.planted.cheats import shown
from tests.planted.composed import noisy
from tests.planted.data import distances, observed, photographs
from tests.planted.linear import BASIS, in_blocks
from tests.planted.moves import blocks_moved
from tests.planted.schemes import PLANTED, SOUND
from tests.planted.table import Planted, as_released, on_bytes


def undone(planted):
    """What was found, the mean dSSIM of what remains, and that of the decoder."""
    attacked = observed(planted, photographs())
    result = undo(attacked.observation, (entry_map, linear_map), torch_generator(b"rng", "cpu"))
    decoded = planted.decode(attacked.observation.images, attacked.context)
    near = [float(distances(each, attacked.originals).mean()) for each in (result.observation.images, decoded)]
    return result.found, *near


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("colour_matrix", "a fixed linear map of the channels of each pixel"),
        ("block_orthogonal", "a fixed linear map of blocks of 4 x 4 pixels"),
        ("block_hadamard", "a fixed linear map of blocks of 4 x 4 pixels"),
        ("corner", "a fixed linear map of blocks of 2 x 2 pixels"),
        ("cosine_transform", "a fixed linear map of the whole image under a table of grey levels"),
    ],
)
def test_linear_maps_are_undone_like_by_their_decoders(name, said):
    found, near, decoder = undone(PLANTED[name])

    assert found == [said]
    assert near < decoder + 0.1


def test_blocks_that_are_moved_as_well_are_undone():
    def keyed(images, rng):
        return blocks_moved(in_blocks(BASIS, images, 0.35))

    found, near, _ = undone(Planted(on_bytes(keyed), "", "", as_released))

    assert found == ["a fixed linear map of blocks of 4 x 4 pixels"]
    assert near < 0.02


def test_a_matrix_of_each_row_is_undone_through_a_table():
    basis = np.linalg.qr(np.random.default_rng(3).normal(size=(48, 48)))[0]

    def rows(images, rng):
        spread = 127.5 + 0.5 * (images - 127.5) @ basis.T
        return 255 * (spread.clip(0, 255) / 255) ** 2

    found, near, _ = undone(Planted(on_bytes(rows), "", "", as_released))

    assert found == ["a fixed linear map of each row under a table of grey levels"]
    assert near < 0.05


def test_what_remains_of_a_mixture_is_the_mixture():
    def mixed(sources, weights, rng):
        images = 255 * average(sources, weights).numpy()
        return torch.from_numpy((in_blocks(BASIS, images, 0.35) / 255).astype(np.float32))

    weights = (0.6, 0.4)
    _, near, _ = undone(Planted(mixed, "", "", as_released, weights=weights))
    _, mixture, _ = undone(Planted(shown, "", "", as_released, weights=weights))

    assert near == pytest.approx(mixture, abs=0.02)


@pytest.mark.parametrize(
    ("function", "params"), [(shown, {}), (noisy, {"sigma": 20}), *((function, {}) for function in SOUND.values())]
)
def test_nothing_is_claimed_where_nothing_is_fixed(function, params):
    found, _, _ = undone(Planted(function, "", "", as_released, params=params))

    assert found == []
