"""Originals that released images show: scored or not, in rows of their own or of others, however they are laid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.client.client import Client
from harness.registry import load_registry
from harness.run.shown import Shown, unseen_distances
from harness.types import Release, Secret
from tests.helpers import planted
from tests.planted.data import photographs, splits_of

REGISTRY = load_registry()
SIZE = 32


@pytest.fixture(scope="module")
def splits():
    """Photographs of 32 px; the test images are no copies of the private ones."""
    data = photographs(SIZE)
    others = replace(data, private=data.public, private_labels=data.public_labels)
    return replace(splits_of(data), test=splits_of(others).private, public=splits_of(data).public)


def shown(splits, images, sources=None, targets=1000, nearest=None):
    """The facts of one release of these images, (N, 3, H, W) uint8."""
    client, n = Client(splits, REGISTRY, "cpu", 1, targets), len(splits.private)
    sources = np.arange(n)[:, None] if sources is None else sources
    release = Release(torch.from_numpy(np.ascontiguousarray(images)), torch.zeros(n, dtype=torch.int64))
    found = Shown(client)
    found.add(0, release, Secret(sources, np.ones(sources.shape, np.float32), np.zeros(n, np.int64)))
    return found.facts(lambda number: release, np.ones(n) if nearest is None else nearest)


def noise(splits, seed=0):
    return np.random.default_rng(seed).integers(0, 256, splits.private.images.shape, np.uint8)


LAID = {
    "as it is": lambda image: image,
    "a negative": lambda image: 255 - image,
    "mirrored": lambda image: image[:, :, ::-1],
    "turned": lambda image: np.rot90(image, 1, (1, 2)),
    "shifted": lambda image: np.roll(image, (5, 9), (1, 2)),
    "its contrast halved": lambda image: image // 2 + 40,
}


@pytest.mark.parametrize("laid", LAID)
def test_a_picture_in_a_wrong_row_counts_however_it_is_laid(splits, laid):
    """Ten of sixty rows of noise show the next original."""
    images = noise(splits)
    images[:10] = [LAID[laid](image) for image in splits.private.images[1:11]]

    facts = shown(splits, images)

    counts = facts["wrong_rows"]
    assert (counts["targets"], counts["shown"], counts["distractors_shown"]) == (60, 10, 0) and counts["unlike_any"] > 5
    assert facts["own_rows"] == {"originals": 60, "shown": 0}


@pytest.mark.parametrize("laid", LAID)
def test_originals_that_are_not_scored_count_in_rows_of_their_own(splits, laid):
    scored = Client(splits, REGISTRY, "cpu", 1, 20).is_target
    images = np.where(scored[:, None, None, None], noise(splits), [LAID[laid](i) for i in splits.private.images])

    facts = shown(splits, images, targets=20)

    assert facts["own_rows"]["shown"] >= 30  # of 40: the others are plain, as is what the neighbours show
    assert facts["wrong_rows"]["shown"] <= 1  # two of the sky


def test_of_the_scored_ones_the_distance_is_given(splits):
    assert shown(splits, noise(splits), nearest=np.where(np.arange(60) < 7, 0.01, 0.9))["own_rows"]["shown"] == 7


def test_one_picture_in_all_rows_is_shown_though_every_other_row_shows_it_too(splits):
    images = np.repeat(splits.private.images[:1], 60, 0)

    facts = shown(splits, images, nearest=np.where(np.arange(60) == 0, 0.0, 0.9))

    assert facts["own_rows"]["shown"] == 1 and facts["wrong_rows"]["shown"] == 1


def test_many_pixelized_pictures_do_not_cover_one_that_is_as_it_was(splits):
    """Their thumbnails are the same."""
    images = noise(splits)
    image = splits.private.images[0].astype(float)
    images[1:30] = image.reshape(3, 8, 4, 8, 4).mean((2, 4)).repeat(4, 1).repeat(4, 2).round()
    images[30] = splits.private.images[0]

    assert shown(splits, images)["wrong_rows"]["shown"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_noise_greys_and_pictures_that_nobody_owns_show_nobody(splits, seed):
    rng = np.random.default_rng(seed)
    greys = np.broadcast_to(rng.integers(0, 256, (60, 1, 1, 1)), splits.private.images.shape).astype(np.uint8)
    nobody = {"originals": 60, "shown": 0}

    for images in (noise(splits, seed), greys, np.repeat(greys[:1], 60, 0)):
        facts = shown(splits, images)
        assert facts["own_rows"] == nobody and facts["wrong_rows"]["shown"] == 0


def test_public_pictures_are_counted_as_distractors(splits):
    """Whoever releases them shows them, and no original."""
    facts = shown(splits, splits.test.images[:60])

    assert facts["wrong_rows"]["shown"] <= 1 and facts["wrong_rows"]["distractors_shown"] >= 30


def test_what_is_plain_or_alike_in_its_class_is_near_what_cannot_show_it(splits):
    """A grey image is near its colour; stripes of one class are near each other; photographs are near neither."""
    stripes = planted.splits(private=12, public=12, test=12, size=SIZE)
    plain = np.full((60, 3, SIZE, SIZE), 90, np.uint8) + noise(splits) // 128
    grey = replace(splits, private=replace(splits.private, images=plain))
    rows = np.arange(12)

    found = [unseen_distances(Client(each, REGISTRY, "cpu", 1, 1000), rows) for each in (grey, stripes, splits)]

    assert found[0].max() < 0.05 and found[1].max() < 0.3 < np.median(found[2])


def test_who_is_scored_depends_on_the_whole_set_and_not_on_its_order(splits):
    def scored(private):
        client = Client(replace(splits, private=private), REGISTRY, "cpu", 1, 20)
        return set(private.hashes[client.is_target])

    private, rng = splits.private, np.random.default_rng(0)
    fewer = scored(private.take(np.arange(59)))

    assert scored(private.take(rng.permutation(60))) == scored(private)
    assert len(fewer & scored(private)) < 15  # 20 / 3 by chance
