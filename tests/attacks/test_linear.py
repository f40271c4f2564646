"""The linear floor and the recogniser on patches: they read what is there, say where nothing is, and are repeatable."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

from harness.errors import HarnessError, Inapplicable, NotConverged
from harness.plugins.attacks import linear as linear_module
from harness.plugins.attacks.common import classifier, linear_classifier
from harness.plugins.attacks.common.features import PatchFilters, thumbnails_and_hog
from harness.plugins.attacks.common.linear_classifier import (
    class_shares,
    fit_classifier,
    folds_of,
    mirrored_bank,
    rehearsed_bank,
)
from harness.plugins.attacks.linear import linear
from harness.randomness import torch_generator
from harness.registry import Entry, bind
from harness.train import memo
from harness.types import Mixture
from tests.helpers.planted import bench, defense, splits, stripes

KEY = b"k" * 32
TURN = defense("turn")
STATIC = Entry("static", "defenses", "tests.attacks.test_linear:static", 1, {}, TURN.mixing)
MISLABELLED = Entry(
    "mislabelled", "defenses", "tests.attacks.test_linear:mislabelled", 1, {}, {**TURN.mixing, "weights": [0.5, 0.5]}
)
BOTH = ("linear", "cnn")


def static(sources, weights, rng):
    """Fresh noise, without anything of the image."""
    return torch.rand(sources[:, 0].shape, generator=rng)


def mislabelled(sources, weights, rng):
    """One source as it is, the first or the second, and the other is said to dominate."""
    first = torch.rand(len(sources), generator=rng) < 0.5
    shown = torch.where(first[:, None, None, None], sources[:, 0], sources[:, 1])
    return Mixture(shown, torch.stack([0.8 - 0.6 * first, 0.2 + 0.6 * first], 1).to(weights))


def generator(key=b"the rng of an attack"):
    return torch_generator(key, "cpu")


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return bench(tmp_path_factory.mktemp("linear"), splits(private=60, public=90), TURN, STATIC, MISLABELLED)


def observed(stage, name, row=TURN):
    return stage.client.observe(row, stage.registry.get("attacks", name), 0)


# Reading


@pytest.mark.parametrize("name", BOTH)
def test_undefended_and_turned_stripes_are_read_and_the_recipe_is_proven(stage, name):
    attack = stage.registry.get("attacks", name)

    results = [stage.attack(row, attack, 0) for row in (stage.undefended, TURN)]

    for result in results:
        assert result.status == "ok", result.reason
        assert result.scores["top1"]["low"] > 0.7
        assert result.facts["learned"] is True
        assert result.facts["held_out_n"] == 90 and result.facts["held_out_hits"] > 70
        assert result.facts["held_out_loss"] < 0.6 < result.facts["constant_loss"]


@pytest.mark.parametrize("name", [*BOTH, "clean_cnn", "cnn_release"])
def test_where_there_is_nothing_to_learn_it_says_so_and_answers_the_class_shares(stage, name):
    """Fresh noise. What is trained on undefended images learns these, and answers nonsense."""
    result = stage.attack(STATIC, stage.registry.get("attacks", name), 0)

    assert result.status == "ok", result.reason
    assert result.scores["top1"]["low"] <= result.scores["top1"]["chance"] <= result.scores["top1"]["high"]
    assert result.facts["learned"] is (name == "clean_cnn")


@pytest.mark.parametrize("name", BOTH)
def test_a_picture_whose_label_is_another_sources_is_read_as_any_source(stage, name):
    """Nothing can be learned of the label, and `any_source` is not at chance."""
    result = stage.attack(MISLABELLED, stage.registry.get("attacks", name), 0)

    top1, any_source = result.scores["top1"], result.scores["any_source"]
    assert result.facts["answers"] == "any source"
    assert any_source["mean"] > 0.9 and any_source["low"] > any_source["chance"]
    assert top1["low"] <= top1["chance"]


@pytest.mark.parametrize("name", BOTH)
def test_shuffled_public_labels_are_no_proof(name):
    """A sabotaged recipe: it ties with the class shares on undefended images, and fails there."""
    stage = bench(None, splits(private=12, public=90, shuffled=True))

    result = stage.attack(stage.undefended, stage.registry.get("attacks", name), 0)

    assert result.status == "failed"
    assert "not above chance" in result.reason


def test_a_classifier_worse_than_the_class_shares_is_a_failed_training(monkeypatch):
    """Hardly any penalty on nonsense: confidently wrong on every fold."""
    monkeypatch.setattr(linear_classifier, "STRENGTHS", (1e4,))
    images, labels = stripes(90)
    dealt = np.random.default_rng(3).permutation(labels)
    bank = mirrored_bank(torch.from_numpy(images), dealt, folds_of(dealt, np.random.default_rng(0)))

    with pytest.raises(NotConverged, match="significantly above"):
        fit_classifier(bank, {"thumbnails and HOG": [thumbnails_and_hog]}, 3)


# The classifier


def test_it_is_scikit_learns_pipeline_of_scaling_and_logistic_regression():
    images, labels = stripes(90)
    bank = mirrored_bank(torch.from_numpy(images), labels, folds_of(labels, np.random.default_rng(0)))

    classifier, facts = fit_classifier(bank, {"thumbnails and HOG": [thumbnails_and_hog]}, 3)

    scaler = StandardScaler().fit(thumbnails_and_hog(bank.images))
    model = LogisticRegression(C=facts["strength"], max_iter=1000)
    model.fit(scaler.transform(thumbnails_and_hog(bank.images)), bank.labels)
    asked = torch.from_numpy(stripes(30, seed=4)[0])
    expected = model.predict_proba(scaler.transform(thumbnails_and_hog(asked)))
    assert np.allclose(classifier.predict(asked).numpy(), expected, atol=0.02)


def test_every_class_is_spread_over_the_folds_and_no_mixture_over_two(stage):
    folds = folds_of(np.repeat([0, 1], (50, 7)), np.random.default_rng(0))
    per_fold = np.array([[np.sum(folds[:50] == fold), np.sum(folds[50:] == fold)] for fold in range(5)])
    assert (per_fold[:, 0] == 10).all() and set(per_fold[:, 1]) == {1, 2}

    mix = stage.registry.get("defenses", "mix")
    seen, told = observed(stage, "linear", mix), []

    def answer(release, secret, rows):
        told.append(rows[secret.sources])
        return release.labels

    bank = rehearsed_bank(seen, KEY, answer, 2)

    sources = np.concatenate(told)
    folds_of_images = [set(bank.folds[(sources == image).any(1)]) for image in range(90)]
    assert all(len(found) == 1 for found in folds_of_images)
    assert len(bank.labels) == 180 and bank.first.sum() == 90


def test_a_class_that_no_fold_can_spare_is_inapplicable():
    with pytest.raises(Inapplicable, match="too few"):
        folds_of(np.array([0, 0, 1]), np.random.default_rng(0))
    with pytest.raises(Inapplicable, match="too few"):
        folds_of(np.repeat([0, 1], 3), np.random.default_rng(0), sources=2, intra_class=True)


def test_recogniser_and_floor_are_trained_on_the_same_rehearsals(stage, monkeypatch):
    mix, banks, fit = stage.registry.get("defenses", "mix"), [], linear_classifier.fit_classifier

    def spy(bank, *more, **knobs):
        banks.append(bank)
        return fit(bank, *more, **knobs)

    for module in (linear_module, classifier):
        monkeypatch.setattr(module, "fit_classifier", spy)
    memo.forget()
    for name in BOTH:
        bind(stage.registry.get("attacks", name))(observed(stage, name, mix), generator())

    one, other = banks
    assert torch.equal(one.images, other.images)
    assert np.array_equal(one.labels, other.labels) and np.array_equal(one.folds, other.folds)


def test_a_class_of_one_image_does_not_stop_the_others_from_being_learned():
    images, labels = stripes(90)
    rare = np.where(np.arange(90) == np.flatnonzero(labels == 2)[0], 3, labels)
    folds = folds_of(rare, np.random.default_rng(0))
    bank = mirrored_bank(torch.from_numpy(images), rare, folds)

    _, facts = fit_classifier(bank, {"thumbnails and HOG": [thumbnails_and_hog]}, 4)

    assert folds.max() == 4 and facts["learned"] and facts["held_out_hits"] > 70
    held_out = linear_classifier._cross_validated(thumbnails_and_hog(bank.images), bank, 4)[0]
    alone = rare == 3
    share = 1 / ((folds != folds[alone]).sum() * 2 + 4)
    assert np.allclose(held_out.sum(1), 1) and np.allclose(held_out[:90][alone, 3], share)


def test_the_work_on_many_images_is_bounded(stage, monkeypatch):
    """Fewer rehearsals of each, and two folds instead of five."""
    monkeypatch.setattr(linear_classifier, "_MANY", 80)
    monkeypatch.setattr(linear_classifier, "_ROWS", 200)

    bank = rehearsed_bank(observed(stage, "linear"), KEY, lambda release, *_: release.labels, 6)

    assert len(bank.labels) == 180 and bank.folds.max() == 1


def test_class_shares_are_laplaces():
    assert np.allclose(class_shares(np.array([0, 0, 2]), 3), [3 / 6, 1 / 6, 2 / 6])


@pytest.mark.parametrize("name", BOTH)
def test_the_same_rehearsals_give_the_same_answers(stage, name):
    seen = observed(stage, name)
    attack = bind(stage.registry.get("attacks", name))

    one = attack(seen, generator()).scores
    memo.forget()
    again = attack(seen, generator(b"another generator")).scores

    assert torch.equal(one, again)


@pytest.mark.parametrize("knob", ["grid", "orientations", "rehearsals"])
def test_a_knob_of_zero_is_refused(stage, knob):
    with pytest.raises(HarnessError, match=f"{knob} 0"):
        linear(observed(stage, "linear"), generator(), **{"grid": 8, "orientations": 9, "rehearsals": 2, knob: 0})


# Features


def test_thumbnails_are_area_means_and_hog_is_scikit_images():
    images = torch.from_numpy(stripes(3, size=16)[0])

    features = thumbnails_and_hog(images, grid=8, orientations=9)

    means = images.numpy().reshape(3, 3, 8, 2, 8, 2).mean((3, 5)) / 255
    first = hog(images[0].permute(1, 2, 0).numpy(), 9, (4, 4), (2, 2), channel_axis=-1)
    assert features.shape == (3, 192 + 324) and features.dtype == np.float32
    assert np.allclose(features[:, :192], means.reshape(3, -1), atol=1e-6)
    assert np.allclose(features[0, 192:], first, atol=1e-6)


@pytest.mark.parametrize(("shape", "columns"), [((17, 30), 516), ((6, 20), 192)])
def test_images_of_odd_sizes_have_features_too(shape, columns):
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 3, *shape), dtype=np.uint8))

    assert thumbnails_and_hog(images).shape == (4, columns)
    assert PatchFilters(images, np.random.default_rng(0))(images).shape == (4, 1600)


def test_whitened_patches_have_no_correlation_and_filters_are_unit_vectors_of_them():
    """On noise: the covariance of patches after whitening is the identity, up to the floor and the sample."""
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (50, 3, 16, 16), dtype=np.uint8))

    filters = PatchFilters(images, np.random.default_rng(0))

    patches, places = filters._patches(images)
    flat = patches.flatten(0, 1) - filters.mean
    variances, axes = torch.linalg.eigh(flat.T @ flat / len(flat))
    undone = (axes * (variances + 0.1).sqrt() @ axes.T) @ filters.matrix
    assert places == (11, 11) and patches.shape == (50, 121, 108)
    assert patches.mean(2).abs().max() < 1e-5 and (patches.var(2) - 1).abs().max() < 0.05
    assert (undone.norm(dim=0) - 1).abs().max() < 0.1


def test_a_brighter_image_and_one_of_more_contrast_have_the_same_responses():
    images = torch.from_numpy(stripes(6, size=16)[0]).float() * 0.4 + 20
    filters = PatchFilters(images.byte(), np.random.default_rng(0))

    one, other = (filters(part.round().byte()) for part in (images, images * 1.5 + 30))

    assert np.abs(one - other).mean() < 0.1 * one.mean()


def test_the_regressions_run_on_one_thread_whatever_torch_is_set_to(monkeypatch):
    """On busy cores, threads that wait for each other took minutes where one takes a second."""
    threads, trained = [], linear_classifier._trained

    def recorded(*arguments):
        threads.extend(pool["num_threads"] for pool in threadpool_info())
        return trained(*arguments)

    monkeypatch.setattr(linear_classifier, "_trained", recorded)
    labels = np.arange(40) % 2
    folds = np.arange(40) // 2 % 2
    images = torch.zeros(40, 3, 8, 8, dtype=torch.uint8)
    bank = linear_classifier.Bank(images, labels, folds, np.arange(40), np.ones(40, bool))
    features = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    linear_classifier.fit_classifier(bank, {"some": [lambda images: features[: len(images)]]}, 2)

    assert threads and set(threads) == {1}
