"""Near copies are one identity of the gallery: its score, its chance, and who is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.client import gallery
from harness.plugins.evaluators.reidentification import reidentification
from tests.helpers.planted import bench, dataset, splits
from tests.images.test_near_copies import burst


def bursts(count=24, each=4):
    """A data set of bursts in a private set, with other pictures as the adversary's and as test images."""
    shots, scene = burst(count, each)
    data = splits()
    return replace(data, private=dataset(shots.numpy(), scene % 3), **others(shots.shape[2])), scene


def others(size):
    return {name: getattr(splits(size=size), name) for name in ("public", "test")}


def test_near_copies_are_one_identity_of_the_gallery():
    data, scene = bursts()

    made = gallery.gallery_of(data, np.arange(len(scene)))

    assert np.array_equal(made.of_private[:, None] == made.of_private, scene[:, None] == scene)
    assert made.copies.sum() == len(made) and made.copies.max() == 4
    assert np.array_equal(made.copies[made.truth(np.arange(8))], [4] * 8)


def test_an_identity_scores_as_the_best_of_its_images():
    made = gallery.Gallery(torch.zeros(4, 3, 2, 2, dtype=torch.uint8), np.array([2, 0]), np.array([0, 1, 1, 0]))
    scores = torch.tensor([[1.0, 5, 6, 4], [-torch.inf, 0, -torch.inf, -2]])

    assert made.by_identity(scores).tolist() == [[4, 6], [-2, 0]]
    assert made.truth(np.array([0, 1])).tolist() == [1, 0]


def test_an_image_outside_the_gallery_is_nobodys_copy():
    made = gallery.Gallery(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), np.array([-1, 0, -1]), np.array([0]))

    assert len(set(made.of_private.tolist())) == 3 and made.of_private[1] == 0


def test_chance_is_that_of_an_image_drawn_from_the_gallery():
    """Of six images three show the first identity, one the second, two the third: (3 + 1 + 3) / 3 in 6."""
    scores = torch.arange(9.0).view(3, 3)

    chance = reidentification(scores, np.array([0, 1, 0]), np.array([3, 1, 2]))[1]

    assert chance == {"reid_rank1": 7 / 18, "reid_rank5": 1}


def test_random_scores_of_images_hit_as_often_as_chance_says():
    made = gallery.gallery_of(bursts()[0], np.arange(96))
    everyone = np.arange(96)
    torch.manual_seed(0)

    hits, chance = zip(
        *(
            reidentification(made.by_identity(torch.rand(96, len(made))), made.truth(everyone), made.copies)
            for _ in range(100)
        ),
        strict=True,
    )

    rate = np.mean([each["reid_rank1"] for each in hits])
    assert chance[0]["reid_rank1"] == pytest.approx(4 / len(made))
    assert rate == pytest.approx(chance[0]["reid_rank1"], abs=4 * np.sqrt(rate / 9600))


def test_everybody_in_a_burst_is_found_where_one_of_its_shots_comes_first(tmp_path):
    """Each shot is nearer to the other shots than to any other scene; without identities three in four are misses."""
    stage = bench(tmp_path, bursts()[0], epochs=2)

    noisy = stage.release(stage.registry.get("defenses", "noise_mix"), 0)
    shown = stage.release(stage.undefended, 0)

    assert len(set(stage.client.gallery.of_private.tolist())) == 24
    assert shown.scores["reid_rank1"]["mean"] == 1
    assert shown.scores["reid_rank1"]["identities"] == len(stage.client.gallery.copies) < len(stage.client.gallery)
    assert noisy.scores["reid_rank1"]["mean"] > 0.7
    assert shown.facts["elsewhere"]["reid_rank1"]["named"] < 48  # not of its own burst
