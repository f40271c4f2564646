"""Noise that the images of one call share is found and removed, and images of different calls are told apart."""

from __future__ import annotations

import torch

from harness.plugins.attacks.ensemble.call_masks import call_mask, calls
from harness.plugins.attacks.ensemble.undo import undo
from harness.randomness import torch_generator
from tests.planted.cheats import shown
from tests.planted.composed import noisy
from tests.planted.data import distances, observed, photographs
from tests.planted.schemes import PLANTED, SOUND
from tests.planted.table import Planted, as_released


def test_noise_of_a_release_is_removed_as_by_its_decoder():
    planted = PLANTED["noise_of_the_release"]
    attacked = observed(planted, photographs())

    result = undo(attacked.observation, (call_mask,), torch_generator(b"rng", "cpu"))

    decoded = planted.decode(attacked.observation.images, attacked.context)
    near, decoder = (distances(images, attacked.originals).mean() for images in (result.observation.images, decoded))
    assert result.found == ["noise drawn anew for each call and added to all of its images"]
    assert near < decoder + 0.05


def test_images_of_different_calls_are_told_apart():
    images, rng = torch.from_numpy(photographs().public[:24]).float(), torch_generator(b"rng", "cpu")
    masks = torch.rand(3, *images.shape[1:], generator=rng) * 255
    call = torch.randint(3, (24,), generator=rng)

    found = list(calls(((images + masks[call]) / 2).to(torch.uint8)))

    assert sorted(len(rows) for rows in found) == sorted(torch.bincount(call).tolist())
    assert all(len(call[rows].unique()) == 1 for rows in found)


def test_nothing_is_claimed_where_nothing_is_shared():
    functions = [(shown, {}), (noisy, {"sigma": 20}), *((function, {}) for function in SOUND.values())]
    for function, params in functions:
        attacked = observed(Planted(function, "", "", as_released, params=params), photographs())

        assert call_mask(attacked.observation, torch_generator(b"rng", "cpu")) is None
