"""One way to train: in even batches, repeatable, and nothing learned from nonsense."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from harness.errors import HarnessError, NotConverged
from harness.train import (
    RECIPES,
    Learner,
    Recipe,
    batch_for,
    hits,
    recipe_named,
    require_evaluation_mode,
    seeded,
)
from tests.helpers.planted import stripes

KEY = b"k" * 32
ADAM = Recipe("adam", 0.01)


# Batches


@pytest.mark.parametrize(
    ("images", "epochs", "batch"), [(100, 10, 16), (16_000, 10, 128), (4_000, 10, 32), (1_000_000, 100, 128), (9, 1, 9)]
)
def test_a_batch_is_as_large_as_a_thousand_steps_allow(images, epochs, batch):
    assert batch_for(images, epochs, RECIPES["default"]) == batch
    assert batch == 16 or images < 16 or images * epochs // batch >= 1000


def test_the_paper_takes_batches_of_200_and_never_more_than_there_are():
    assert batch_for(22_800, 20, RECIPES["paper"]) == 200
    assert batch_for(120, 20, RECIPES["paper"]) == 120


class Recorder(nn.Module):
    """Keeps the mean of every image that it is shown in training."""

    def __init__(self, classes):
        super().__init__()
        self.head, self.batches = nn.Linear(1, classes), []

    def forward(self, images):
        means = images.mean((1, 2, 3))
        self.batches.append(means.detach().clone())
        return self.head(means[:, None])


def flat_colours(counts):
    """Images whose grey level is unique, and within a class in one band of levels."""
    labels = np.repeat(np.arange(len(counts)), counts)
    levels = np.concatenate([np.arange(count) + 60 * label for label, count in enumerate(counts)])
    images = torch.from_numpy(levels.astype(np.uint8))[:, None, None, None].expand(-1, 3, 8, 8).contiguous()
    return images, torch.from_numpy(labels), levels


def levels_seen(model):
    """Grey levels of every batch, read back from the centred images."""
    return [((batch / 4 + 0.5) * 255).round().int().numpy() for batch in model.batches]


def test_balanced_batches_hold_the_classes_in_equal_number():
    """However uneven the set: 50, 30 and 4 images of three classes."""
    images, labels, _ = flat_colours((50, 30, 4))
    model = Recorder(3)

    Learner(model, Recipe("adam", 0.001, balanced=True), 12, KEY, "cpu").epoch(images, labels)

    seen = levels_seen(model)
    assert len(seen) == 7
    assert all(np.array_equal(np.bincount(batch // 60, minlength=3), [4, 4, 4]) for batch in seen)


def test_plain_batches_show_every_image_once():
    images, labels, levels = flat_colours((20, 12))
    model = Recorder(2)

    Learner(model, ADAM, 8, KEY, "cpu").epoch(images, labels)

    assert np.array_equal(np.sort(np.concatenate(levels_seen(model))), np.sort(levels))


def test_a_small_last_batch_is_left_out():
    """Batch norm cannot take it."""
    images, labels, _ = flat_colours((9, 8))
    model = Recorder(2)

    Learner(model, ADAM, 8, KEY, "cpu").epoch(images, labels)

    assert [len(batch) for batch in model.batches] == [8, 8]


# Repeatable


def network():
    layers = [nn.Conv2d(3, 12, 5, padding=2), nn.BatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(12, 3))


def trained(images, labels, key=KEY, epochs=1, recipe=ADAM):
    with seeded(key, "cpu"):
        learner = Learner(network(), recipe, 16, key, "cpu")
        for _ in range(epochs):
            learner.epoch(images, labels)
    return learner


def test_training_is_a_function_of_its_key():
    images, labels = (torch.from_numpy(part) for part in stripes(48))
    flipped = Recipe("adam", 0.01, flip=True)

    one, again, other = (trained(images, labels, key, recipe=flipped).state() for key in (KEY, KEY, b"o" * 32))

    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_loss_that_is_not_finite_is_not_converged():
    images, labels = (torch.from_numpy(part) for part in stripes(32))
    learner = Learner(network(), Recipe("sgd", float("inf")), 16, KEY, "cpu")

    with pytest.raises(NotConverged, match="diverged"):
        for _ in range(3):
            learner.epoch(images, labels)


def test_training_does_not_write_into_its_images():
    images, labels = (torch.from_numpy(part) for part in stripes(32))
    before = images.clone()

    trained(images, labels)

    assert torch.equal(images, before)


def test_predictions_do_not_depend_on_the_size_of_a_batch():
    images, labels = (torch.from_numpy(part) for part in stripes(40))
    learner = trained(images, labels)

    whole, single, some = (learner.predict(images, batch) for batch in (256, 1, 7))

    assert torch.allclose(whole, single, atol=2e-3) and torch.allclose(whole, some, atol=2e-3)
    assert torch.allclose(whole.sum(1), torch.ones(40), atol=1e-5)


class AlwaysTraining(nn.Sequential):
    """A network that ignores `eval`."""

    def train(self, mode=True):
        return super().train(True)


@pytest.mark.parametrize(
    ("layer", "noticed"), [(nn.BatchNorm2d(12), True), (nn.Dropout2d(0.5), True), (nn.ReLU(), False)]
)
def test_evaluation_in_training_mode_is_noticed_by_what_the_network_predicts(layer, noticed):
    """Batch norm follows the batch and dropout draws anew; a layer that is the same in both modes passes."""
    images, labels = (torch.from_numpy(part) for part in stripes(40))
    with seeded(KEY, "cpu"):
        layers = [nn.Conv2d(3, 12, 5), layer, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(12, 3)]
        learner = Learner(AlwaysTraining(*layers), ADAM, 16, KEY, "cpu")
        for _ in range(20):
            learner.epoch(images, labels)
        predicted = learner.predict(images)
        with pytest.raises(HarnessError, match=r"moved by \S+ with the images") if noticed else nullcontext():
            require_evaluation_mode(learner, images, predicted)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_a_network_in_evaluation_mode_passes_however_few_images(count):
    images, labels = (torch.from_numpy(part) for part in stripes(40))
    learner = trained(images, labels, epochs=4)

    require_evaluation_mode(learner, images[:count], learner.predict(images[:count]))


def test_predicting_changes_no_weights():
    images, labels = (torch.from_numpy(part) for part in stripes(40))
    learner = trained(images, labels)
    before = learner.state()

    learner.predict(images)

    assert all(torch.equal(before[name], value) for name, value in learner.state().items())


def test_seeded_restores_the_random_state():
    before = torch.get_rng_state()

    with seeded(KEY, "cpu"):
        first = torch.rand(4)
    between = torch.get_rng_state()
    with seeded(KEY, "cpu"):
        again = torch.rand(4)
    with seeded(b"o" * 32, "cpu"):
        other = torch.rand(4)

    assert torch.equal(before, between) and torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_seeded_restores_the_random_state_after_an_error():
    before = torch.get_rng_state()

    with pytest.raises(ZeroDivisionError), seeded(KEY, "cpu"):
        torch.rand(1)
        raise ZeroDivisionError

    assert torch.equal(before, torch.get_rng_state())


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(HarnessError, match="no recipe called 'papre'; use default or paper"):
        recipe_named("papre")


# Judging


def test_a_row_without_a_positive_score_never_hits():
    scores = torch.tensor([[0.0, 0.0], [-2.0, -1.0], [0.1, 0.9], [0.1, 0.0]])

    assert hits(scores, np.array([0, 1, 1, 1])).tolist() == [False, False, True, False]


def test_the_loss_is_the_cross_entropy_of_the_predictions():
    """For hard labels and for the same labels as shares."""
    images, labels = (torch.from_numpy(part) for part in stripes(30))
    learner = trained(images, labels)
    chosen = learner.predict(images)[torch.arange(30), labels]

    hard = learner.loss(images, labels)
    soft = learner.loss(images, nn.functional.one_hot(labels, 3).float())

    assert hard == pytest.approx(float(-chosen.log().mean()), abs=1e-4)
    assert soft == pytest.approx(hard, abs=1e-4)


def test_shuffled_labels_train_to_chance():
    """The same training learns what the stripes are called, and nothing where names are dealt out at random."""
    images, labels = stripes(480, seed=1)
    dealt = np.random.default_rng(3).permutation(labels)
    known, asked = torch.from_numpy(images[:240]), torch.from_numpy(images[240:])

    right, wrong = (
        hits(trained(known, torch.from_numpy(said[:240]), epochs=12).predict(asked), said[240:]).mean()
        for said in (labels, dealt)
    )

    four_sigma = 4 * (1 / 3 * 2 / 3 / 240) ** 0.5
    assert right > 0.9
    assert abs(wrong - 1 / 3) < four_sigma
