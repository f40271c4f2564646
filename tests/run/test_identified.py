"""Re-identification of what a defense shows of sources that it does not declare, or of images that it was not given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.run.answers import Answers
from harness.run.scoring import identified
from harness.scores import reidentifications
from tests.helpers import planted

N, OTHERS = 40, 60


def pictures(count, seed):
    """(count, 3, 16, 16) uint8 that no two are alike."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, planted.SIZE, planted.SIZE), np.uint8)


@pytest.fixture(scope="module")
def client():
    data = planted.splits(private=N, public=6, test=OTHERS)
    labels = (np.arange(N) % 3, np.arange(OTHERS) % 3)
    private, test = (planted.dataset(pictures(len(each), at), each) for at, each in enumerate(labels))
    return planted.bench(None, replace(data, private=private, test=test)).client


def released(client, shown, sources):
    """One release that shows these rows of the private set and says that the first source dominates."""
    images = torch.from_numpy(client.splits.private.images[shown])[:, None]
    return Answers(images, np.asarray(sources), np.zeros(len(shown), np.int64))


def pairs(step=1):
    """Every original mixed with the one `step` further."""
    return np.stack([np.arange(N), (np.arange(N) + step) % N], 1)


def test_a_picture_of_the_source_that_is_not_declared_is_found_as_any_source(client):
    sources = pairs()

    scores, arrays, _ = identified(client, [released(client, sources[:, 1], sources)])

    assert scores["reid_rank1"]["mean"] == 0
    assert 0.3 < scores["any_reid_rank1"]["mean"] < 0.7  # one image of two that hold it shows it
    assert len(arrays["any_reid_rank1"]) == N and scores["any_reid_rank1"]["chance"] == 1 / (N + OTHERS - 1)


def test_of_several_sources_beside_each_other_every_one_is_found(client):
    """Two pictures as the left and the right half of an image: each is likest to it among all but the other."""
    sources = pairs()
    images = torch.from_numpy(client.splits.private.images)
    half = planted.SIZE // 2
    halves = torch.cat([images[sources[:, 0]][..., :half], images[sources[:, 1]][..., half:]], 3)

    scores, _, _ = identified(client, [Answers(halves[:, None], sources, np.zeros(N, np.int64))])

    assert scores["reid_rank1"]["mean"] < 0.8
    assert scores["any_reid_rank1"]["mean"] > 0.95 and scores["any_reid_rank1"]["certain"] > 30


def test_pictures_of_other_sources_in_other_releases_hide_nothing(client):
    """Each of five releases shows either source: as one ranking of all images there are ties, by one image half."""
    rng, answers = np.random.default_rng(0), []
    for step in range(1, 6):
        sources = pairs(step)
        answers.append(released(client, sources[np.arange(N), rng.integers(0, 2, N)], sources))

    scores, _, _ = identified(client, answers)

    assert scores["any_reid_rank1"]["mean"] > 0.3


@pytest.mark.parametrize("embedding", reidentifications())
def test_a_picture_of_an_image_that_is_not_mixed_in_is_found_elsewhere(client, embedding):
    shown = np.roll(np.arange(N), 1)

    _, _, facts = identified(client, [released(client, shown, np.arange(N)[:, None])])

    assert facts["elsewhere"][embedding] == {
        "targets": N, "named": N, "distractors": OTHERS, "distractors_named": 0,
    }  # fmt: skip


def test_pictures_that_nobody_owns_are_found_nowhere_more_often(client):
    """Unrelated images name originals and distractors in proportion, and their own sources do not count."""
    unrelated = torch.from_numpy(pictures(N, 7))[:, None]

    scores, _, facts = identified(client, [Answers(unrelated, np.arange(N)[:, None], np.zeros(N, np.int64))])

    counts = facts["elsewhere"]["reid_rank1"]
    assert scores["any_reid_rank1"]["mean"] < 0.1
    assert abs(counts["named"] / N - counts["distractors_named"] / OTHERS) < 0.2


def test_an_original_that_is_shown_as_itself_is_not_found_elsewhere(client):
    _, _, facts = identified(client, [released(client, np.arange(N), np.arange(N)[:, None])])

    assert facts["elsewhere"]["reid_rank1"]["named"] < N / 2
