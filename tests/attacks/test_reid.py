"""Re-identification ranks the original of a release first, learns an invertible defense, and fails on blank images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import harness.train.convergence
from harness.errors import Inapplicable, NotConverged
from harness.images.thumbnails import ThumbnailEmbedding
from harness.plugins.attacks import reid as module
from harness.plugins.attacks.reid import reid
from harness.plugins.evaluators.reidentification import reidentification
from harness.randomness import torch_generator
from harness.registry import bind
from tests.helpers.planted import bench, defense, splits

SEED = 0


def generator():
    return torch_generator(b"the rng of an attack", "cpu")


def negative(sources, weights, rng):
    """Grey levels inverted: unlike the original, but learnable."""
    return 1 - sources[:, 0]


def blank(sources, weights, rng):
    return torch.full_like(sources[:, 0], 0.5)


def here(function):
    return replace(defense(function), use=f"tests.attacks.test_reid:{function}")


@pytest.fixture(scope="module")
def stage():
    return bench(None, splits(private=40, public=120, test=30), here("negative"), here("blank"))


def entry(stage, name, **settings):
    return stage.registry.get("attacks", name).with_settings(settings)


def rank1(stage, row, guess):
    _, owners = stage.client.scored(stage.client.release(row, SEED, 0)[1])
    gallery = stage.client.gallery
    return reidentification(gallery.by_identity(guess.gallery), gallery.truth(owners))[0]["reid_rank1"].mean()


# Raw


def test_raw_features_reidentify_every_undefended_image(stage):
    found = stage.attack(stage.undefended, entry(stage, "reid_raw"), SEED)

    assert found.status == "ok", found.reason
    assert found.scores["reid_rank1"]["mean"] == 1 and found.scores["reid_rank1"]["gallery"] == 70


def test_raw_features_reidentify_nothing_in_a_blank_release(stage):
    """One answer for all is right for one original at most."""
    found = stage.attack(here("blank"), entry(stage, "reid_raw"), SEED)

    assert found.status == "ok", found.reason
    assert found.scores["reid_rank1"]["mean"] <= 1 / 40 and found.scores["reid_rank5"]["mean"] <= 5 / 40


def test_raw_features_equal_the_fixed_embedding(stage):
    """With the same knobs the attack and the evaluator compute the same."""
    noisy = stage.registry.get("defenses", "noise_mix")
    settings = stage.registry.get("evaluators", "identity").params

    found, look = stage.attack(noisy, entry(stage, "reid_raw", **settings), SEED), stage.release(noisy, SEED)

    for name in ("reid_rank1", "reid_rank5"):
        assert np.array_equal(found.arrays[name], look.arrays[name])


# Trained


@pytest.fixture(scope="module")
def learned(stage):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness.train.convergence, "LEAST_STEPS", 200)
        row = here("negative")
        seen = stage.client.observe(row, entry(stage, "reid"), SEED)
        return row, bind(entry(stage, "reid", train_epochs=2))(seen, generator())


def test_training_reidentifies_what_raw_features_do_not(stage, learned):
    row, guess = learned
    raw = bind(entry(stage, "reid_raw"))(stage.client.observe(row, entry(stage, "reid_raw"), SEED), generator())

    assert rank1(stage, row, raw) < 0.1
    assert rank1(stage, row, guess) > 0.6


def test_the_report_names_the_better_embedding_and_its_held_out_ranks(learned):
    report = learned[1].report

    assert report["uses"] == "trained" and report["held_out_trained"] > report["held_out_raw"]
    assert report["held_out_n"] >= 20 and report["held_out_hits"] > report["held_out_n"] / 2
    assert report["steps"] >= 120 and report["held_out_chance"] < 1 / 70


def test_training_starts_from_raw_features(stage):
    """Before the first step the embedding gives the same cosines as the fixed one."""
    gallery = stage.client.gallery.images
    embedding = ThumbnailEmbedding.fit(gallery, 8, 0.01, "cpu")
    learner = module._Contrast(gallery, module._Embedding(embedding), module._RECIPE, 8, b"k" * 32, "cpu")
    learner.precision = None  # float32 arithmetic, to compare

    cosines = learner.compare(gallery[:9], gallery)

    raw = (embedding.transform(gallery[:9]) @ embedding.transform(gallery).T).float()
    assert torch.allclose(cosines, raw, atol=1e-4)


def test_where_training_does_not_help_the_raw_features_are_used(stage, monkeypatch):
    monkeypatch.setattr(module, "fit_until_flat", lambda *_, **__: {"steps": 0})
    noisy = stage.registry.get("defenses", "noise_mix")
    seen, plain = (stage.client.observe(noisy, entry(stage, name), SEED) for name in ("reid", "reid_raw"))

    guess = bind(entry(stage, "reid"))(seen, generator())

    assert guess.report["uses"] == "raw"
    assert torch.equal(guess.gallery, bind(entry(stage, "reid_raw"))(plain, generator()).gallery)


def test_held_out_images_are_not_trained_on(stage, monkeypatch):
    learned, judged = set(), set()

    def spy(learner, fresh, held_out, **_):
        learned.update(image.numpy().tobytes() for image in fresh(0)[0][:, 3:])
        judged.update(image.numpy().tobytes() for image in held_out[0])
        return {}

    monkeypatch.setattr(module, "fit_until_flat", spy)
    seen = stage.client.observe(stage.undefended, entry(stage, "reid"), SEED)

    bind(entry(stage, "reid"))(seen, generator())

    assert len(learned) == 96 and len(judged) == 24 and not learned & judged


def test_a_loss_that_is_not_finite_has_not_converged(stage):
    embedding = ThumbnailEmbedding.fit(stage.client.gallery.images, 8, 0.01, "cpu")
    gallery = stage.client.gallery.images
    learner = module._Contrast(gallery, module._Embedding(embedding), module._RECIPE, 8, b"k" * 32, "cpu")
    learner.model.rotate.weight.data.fill_(float("nan"))

    with pytest.raises(NotConverged, match="nan"):
        learner.loss(stage.client.gallery.images[:4], torch.arange(4))


def test_too_few_public_images_are_inapplicable(stage):
    seen = bench(None, splits(private=12, public=3)).client.observe(stage.undefended, entry(stage, "reid"), SEED)

    with pytest.raises(Inapplicable, match="too few"):
        reid(seen, generator(), grid=8, floor=0.01, train_epochs=1)
