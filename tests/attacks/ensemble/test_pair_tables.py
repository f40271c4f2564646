"""Values that are combined with another are found by random images, and undone by tables of pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.images import average, to_bytes, to_images
from harness.plugins.attacks.ensemble.pair_tables import pair_table
from harness.plugins.attacks.ensemble.undo import undo
from harness.randomness import torch_generator
from tests.planted.combined import COMBINED
from tests.planted.data import distances, observed, synthetic
from tests.planted.schemes import SOUND
from tests.planted.table import Planted, as_released, on_bytes


def generator():
    return torch_generator(b"the rng of an attack", "cpu")


@pytest.mark.parametrize("name", COMBINED)
def test_combined_values_are_found_and_undone(name):
    attacked = observed(COMBINED[name], synthetic())

    result = undo(attacked.observation, (pair_table,), generator())

    assert len(result.found) == 1 and result.found[0].startswith("each value combined with one of ")
    assert float(distances(result.observation.images, attacked.originals).mean()) < 0.06


def test_the_previous_image_is_that_of_the_same_call():
    """A release of several calls starts anew in each, as the defense does."""
    attacked = observed(COMBINED["chained_images"], synthetic())
    step = pair_table(attacked.observation, generator())
    chunk = step.invert.chunk
    originals = torch.from_numpy(synthetic(private=chunk + 5).private)
    released = torch.cat([_chained(part) for part in originals.split(chunk)])

    assert float((step.invert(released).int() - originals.int()).abs().float().mean()) < 3


def _chained(images):
    ones = torch.ones(len(images), 1)
    made = COMBINED["chained_images"].function(to_images(images)[:, None], ones, torch.Generator())
    return to_bytes(made)


@pytest.mark.parametrize(
    "function",
    [
        *SOUND.values(),
        lambda sources, weights, rng: average(sources, weights),
        on_bytes(lambda images, rng: images ^ 85),
        on_bytes(lambda images, rng: np.clip(images + rng.normal(0, 60, images.shape), 0, 255)),
    ],
)
def test_nothing_is_found_where_values_are_not_combined(function):
    attacked = observed(Planted(function, "", "", as_released), synthetic())

    assert pair_table(attacked.observation, generator()) is None
