"""Bursts are one identity, different pictures are not, whatever the set has in common."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from harness.images.near_copies import near_copies
from harness.types import Array, Bytes

SIDE = 48


def scenes(count: int, seed: int = 0) -> list[tuple[Array, int, int]]:
    """Places in photographs that do not overlap: the photograph, top and left."""
    found = [
        (photograph, top, left)
        for photograph in (data.astronaut(), data.chelsea(), data.coffee())
        for top in range(8, photograph.shape[0] - SIDE - 8, SIDE + 16)
        for left in range(8, photograph.shape[1] - SIDE - 8, SIDE + 16)
        if photograph[top : top + SIDE, left : left + SIDE].std() > 25
    ]
    return [found[row] for row in np.random.default_rng(seed).permutation(len(found))[:count]]


def shot(scene: tuple[Array, int, int], rng: np.random.Generator, shift: int) -> Array:
    """(3, 48, 48) uint8: the scene, moved by up to `shift` pixels, brighter or darker, with noise."""
    photograph, top, left = scene
    top, left = (place + rng.integers(-shift, shift + 1) for place in (top, left))
    cut = photograph[top : top + SIDE, left : left + SIDE].astype(float)
    seen = cut * rng.uniform(0.95, 1.05) + rng.normal(0, 4, cut.shape)
    return seen.round().clip(0, 255).astype(np.uint8).transpose(2, 0, 1)


def burst(count: int, each: int, seed: int = 0, shift: int = 0) -> tuple[Bytes, Array]:
    """(count * each, 3, 48, 48) uint8 of as many scenes, and the number of the scene that each shows."""
    rng = np.random.default_rng(seed)
    shots = [shot(scene, rng, shift) for scene in scenes(count, seed) for _ in range(each)]
    return torch.from_numpy(np.stack(shots)), np.repeat(np.arange(count), each)


@pytest.mark.parametrize("seed", range(4))
def test_each_burst_is_one_identity_and_each_scene_another(seed):
    images, scene = burst(40, 6, seed)

    found = near_copies(images)

    assert np.array_equal(found, scene)


@pytest.mark.parametrize("seed", range(4))
def test_no_identity_holds_two_scenes_and_few_bursts_fall_apart(seed):
    """Shots that are up to two pixels of 48 apart."""
    images, scene = burst(30, 3, seed, shift=1)

    found = near_copies(images)

    assert all(len(set(scene[found == identity].tolist())) == 1 for identity in set(found.tolist()))
    assert len(set(found.tolist())) <= 33


def test_identities_follow_their_images_into_any_order():
    images, _ = burst(30, 3)
    order = np.random.default_rng(1).permutation(len(images))

    one, other = near_copies(images), near_copies(images[torch.from_numpy(order)])

    assert np.array_equal(other[:, None] == other, one[order][:, None] == one[order])
    assert sorted(set(other.tolist())) == list(range(other.max() + 1))


def test_a_common_background_makes_nobody_a_copy():
    """A fifth of each picture on four fifths of one and the same: portraits, scans, documents."""
    images, _ = burst(60, 1)
    frame = images[:1].float()

    found = near_copies((0.8 * frame + 0.2 * images[1:].float()).round().to(torch.uint8))

    assert len(set(found.tolist())) >= 0.95 * 59  # without whitening it is one identity


def test_a_set_whose_images_hardly_differ_has_no_copies():
    """Images of one colour each are alike in all that a thumbnail shows: they are not said to be one identity."""
    levels = torch.arange(40, 200, 2, dtype=torch.uint8)

    found = near_copies(levels[:, None, None, None].expand(-1, 3, 16, 16).contiguous())

    assert found.tolist() == list(range(len(levels)))


@pytest.mark.parametrize("count", [1, 2])
def test_one_image_or_two_are_as_many_identities(count):
    images, _ = burst(2, 1)

    assert near_copies(images[:count]).tolist() == list(range(count))
