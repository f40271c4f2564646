"""A reconstruction answers an image that each original dominates, in whichever release there is one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.observation import Pairing
from harness.plugins.attacks.linking.answered import answered_images
from tests.helpers.epochs import Seen, mixed


def dominated(seen, images):
    """The originals that dominate one of these images at least."""
    return {int(seen.secrets[epoch].dominant_rows[row]) for epoch, row in images}


def test_where_every_original_dominates_an_image_of_release_0_nothing_is_added():
    seen = Seen(mixed, (0.75, 0.25), epochs=6)

    images = answered_images(seen.observation, seen.truth, 40)

    assert np.array_equal(images, np.stack([np.zeros(40, int), np.arange(40)], 1))


@pytest.mark.parametrize(
    ("weights", "pairing", "intra_class"),
    [((0.5, 0.5), "permutation", False), ((0.5, 0.5), "matching", False), ((0.75, 0.25), "matching", False),
     ((0.5, 0.5), "permutation", True), ((1 / 3, 1 / 3, 1 / 3), "permutation", False)],
)  # fmt: skip
def test_every_original_dominates_an_answered_image(weights, pairing, intra_class):
    """As the secret says, which `answered_images` does not see. Inside a class the label tells nothing: four tries."""
    seen = Seen(mixed, weights, epochs=10, pairing=pairing, intra_class=intra_class)
    ever = set.union(*(set(secret.dominant_rows.tolist()) for secret in seen.secrets))

    images = answered_images(seen.observation, seen.truth, 40)

    first = dominated(seen, images[images[:, 0] == 0])
    missed = ever - dominated(seen, images)
    assert len(first) < 36 and len(ever) >= 38
    assert len(missed) <= (6 if intra_class else 0)
    assert len(images) <= len(seen.truth[0]) + (4 if intra_class else 1) * 40
    assert len(np.unique(images, axis=0)) == len(images)


def test_targets_come_first_and_in_order():
    seen = Seen(mixed, (0.75, 0.25), epochs=6)
    some = replace(seen.observation, targets=np.array([7, 3]))

    images = answered_images(some, seen.truth, 40)

    assert images[:2].tolist() == [[0, 7], [0, 3]]
    assert [0, 7] not in images[2:].tolist() and dominated(seen, images) == set(range(40))


def test_images_without_a_known_source_are_not_named():
    seen = Seen(mixed, (0.5, 0.5), epochs=3)
    nothing = [Pairing(np.full((40, 2), -1), np.full((40, 2), 0.5, np.float32))] * 2

    images = answered_images(seen.observation, [seen.truth[0], *nothing], 40)

    assert set(images[:, 0]) == {0}
