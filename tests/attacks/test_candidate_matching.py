"""Candidates that are obfuscated as the releases are name what no embedding of pictures sees."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.errors import Inapplicable
from harness.images import average, to_bytes
from harness.plugins.attacks import candidate_matching as module
from harness.plugins.attacks.candidate_matching import candidate_matching
from harness.randomness import torch_generator
from harness.scores import reidentifications
from tests.helpers.planted import bench, defense, splits
from tests.planted.sound import SOUND

SEED = 0


def code(images):
    """(n, 3, H, W): the hash of each as 16 x 16 black and white blocks, which is no picture of it."""
    digests = [hashlib.sha256(image.numpy().tobytes()).digest() for image in to_bytes(images)]
    bits = torch.from_numpy(np.unpackbits(np.array([list(each) for each in digests], np.uint8), axis=1))
    return bits.float().view(-1, 1, 16, 16).expand(-1, 3, -1, -1)


def fingerprint(sources, weights, rng):
    return code(sources[:, 0]).clone()


def faint_fingerprint(sources, weights, rng):
    """In noise."""
    return 0.2 * code(sources[:, 0]) + 0.8 * torch.rand(sources[:, 0].shape, generator=rng)


def moved_fingerprint(sources, weights, rng):
    """At a place of its own, around the edge."""
    shifts = torch.randint(16, (len(sources), 2), generator=rng).tolist()
    return torch.stack([one.roll(shift, (1, 2)) for one, shift in zip(code(sources[:, 0]), shifts, strict=True)])


def two_signs(sources, weights, rng):
    """One of two keys."""
    negative = torch.rand(len(sources), 1, 1, 1, generator=rng) < 0.5
    return torch.where(negative, 1 - code(sources[:, 0]), code(sources[:, 0]))


def mixed_fingerprints(sources, weights, rng):
    codes = torch.stack([code(each) for each in sources.unbind(1)], 1)
    return average(codes, weights)


def code_of_both(sources, weights, rng):
    """Of the sources together: no candidate has it alone."""
    return code(sources.flatten(1, 2).view(len(sources), 3, -1, sources.shape[-1])).clone()


def sound(name):
    def scheme(sources, weights, rng):
        return SOUND[name](sources, weights, rng)

    return scheme


ONE = ("fingerprint", "faint_fingerprint", "moved_fingerprint", "two_signs")
TWO = ("mixed_fingerprints", "code_of_both")
for _name in SOUND:
    globals()[f"sound_{_name}"] = sound(_name)


@pytest.fixture(scope="module")
def stage():
    names = [*ONE, *(f"sound_{name}" for name in SOUND)]
    rows = [(name, (1.0,)) for name in names] + [(name, (0.5, 0.5)) for name in TWO]
    entries = [
        replace(defense(name, weights), use=f"tests.attacks.test_candidate_matching:{name}") for name, weights in rows
    ]
    return bench(None, splits(private=40, public=60, test=60), *entries)


def found(stage, name):
    return stage.attack(stage.registry.get("defenses", name), stage.registry.get("attacks", "candidate_matching"), SEED)


@pytest.mark.parametrize("name", ONE)
def test_codes_are_found_that_no_embedding_finds(stage, name):
    result = found(stage, name)
    look = stage.release(stage.registry.get("defenses", name), SEED)

    assert result.status == "ok" and result.scores["reid_rank1"]["mean"] > 0.9
    assert result.scores["reid_rank1"]["certain"] > 30
    assert max(look.scores[each]["mean"] for each in reidentifications()) < 0.2


def test_of_mixtures_each_source_is_found_beside_the_others(stage):
    """In one ranking of all images either source of an equal mixture comes first; without the other, both do."""
    scores = found(stage, "mixed_fingerprints").scores

    assert 0.2 < scores["reid_rank1"]["mean"] < 0.8
    assert scores["any_reid_rank1"]["mean"] > 0.9


@pytest.mark.parametrize("name", [*(f"sound_{name}" for name in SOUND), "code_of_both"])
def test_what_has_nothing_of_one_source_is_at_chance(stage, name):
    scores = found(stage, name).scores

    assert scores["reid_rank1"]["mean"] <= 0.1 and scores["any_reid_rank1"]["mean"] <= 0.1
    assert scores["reid_rank1"]["certain"] == scores["any_reid_rank1"]["certain"] == 0


def test_the_likeness_of_random_points_has_one_scale_in_any_dimension():
    """Squared distances of points in a ball of d dimensions: U^(2 / d); the nearest of 20 has 1 + 1/2 + ... + 1/19."""
    rng = np.random.default_rng(0)
    for dimension in (2, 40):
        distances = torch.from_numpy(rng.random((2000, 500)) ** (2 / dimension)).float()
        assert module._likeness(distances, 1e-3, 2).amax(1).mean() == pytest.approx(3.55, rel=0.12)


def test_sketches_keep_distances():
    """Of images of twice the side; of fine patterns, which plain means lose."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 2, (12, 3, 128, 128), np.uint8) * 255)
    pixels = module.features(images, "cpu")[0]
    assert pixels.shape == (12, 3 * 64 * 64)
    away = torch.cdist(pixels, pixels)[~torch.eye(12, dtype=torch.bool)]

    assert away.std() < 0.05 * away.mean()
    assert float(away.mean()) == pytest.approx((3 * 128 * 128 * 0.5 / 4 / 4) ** 0.5, rel=0.1)


def test_too_few_public_images_for_a_mixture_are_refused(stage):
    row, entry = stage.registry.get("defenses", "code_of_both"), stage.registry.get("attacks", "candidate_matching")
    seen = stage.client.observe(row, entry, SEED)
    nobody = replace(seen.public, images=seen.public.images[:0], labels=seen.public.labels[:0])

    with pytest.raises(Inapplicable, match="too few as partners"):
        candidate_matching(replace(seen, _public=nobody), torch_generator(b"", "cpu"), draws=2)
