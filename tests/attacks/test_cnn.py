"""The learned attack reads undefended releases, must prove itself first, and scores no image that it was trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.errors import HarnessError, Inapplicable
from harness.plugins.attacks.cnn import cnn, cnn_release
from harness.plugins.attacks.common import classifier
from harness.randomness import torch_generator
from harness.registry import bind
from harness.train import Learner, convergence, networks
from tests.helpers.planted import bench, defense, splits

pytestmark = pytest.mark.usefixtures("short_trainings")

SEED = 0
TURN = defense("turn")


def generator():
    return torch_generator(b"the rng of an attack", "cpu")


def entry(stage, name="cnn", **settings):
    """The attack with McPherson's network, shortened. What does not depend on the network: test_linear.py."""
    return stage.registry.get("attacks", name).with_settings({"arch": "mcpherson_face", "train_epochs": 2, **settings})


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return bench(tmp_path_factory.mktemp("cnn"), splits(private=60, public=90), TURN)


@pytest.fixture(scope="module")
def undefended(stage):
    return stage.attack(stage.undefended, entry(stage), SEED)


# Reading


def test_an_undefended_release_is_read_far_above_chance(undefended):
    top1 = undefended.scores["top1"]

    assert undefended.status == "ok", undefended.reason
    assert top1["chance"] == pytest.approx(1 / 3)
    assert top1["low"] > 0.7 and top1["corrected"] > 0.6
    assert undefended.scores["any_source"] == pytest.approx(top1)  # one source each


def test_the_record_has_the_facts_of_the_training(undefended):
    facts = undefended.facts

    assert facts["steps"] >= convergence.LEAST_STEPS
    assert facts["last_quarter_fall"] < 0.02
    assert facts["held_out_n"] == 18 and facts["held_out_hits"] > 12  # one in five of 90


def test_the_right_rehearsal_beats_the_wrong_one(stage, undefended):
    """A defense that turns every image: rehearsed with it the attack works, rehearsed without it not."""
    right = stage.attack(TURN, entry(stage), SEED)
    turned, secret = stage.client.release(TURN, SEED, 0)
    seen = stage.client.observe(stage.undefended, entry(stage), SEED)

    guess = bind(entry(stage))(replace(seen, images=turned.images, targets=np.arange(len(turned))), generator())

    truth = stage.splits.private.labels[secret.dominant_rows]
    wrong = (guess.scores.argmax(1).numpy() == truth).mean()
    assert right.status == "ok", right.reason
    assert right.scores["top1"]["low"] > 0.7
    assert wrong < right.scores["top1"]["low"]


# Proof


@pytest.fixture(scope="module")
def deceived(tmp_path_factory):
    """A bench whose public labels are shuffled, and the results of the attack: undefended, then defended."""
    stage = bench(tmp_path_factory.mktemp("deceived"), splits(private=12, public=90, shuffled=True))
    mix = stage.registry.get("defenses", "mix")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convergence, "LEAST_STEPS", 60)  # there is nothing to learn
        return [stage.attack(row, entry(stage), SEED) for row in (stage.undefended, mix)]


def test_an_attack_that_learned_nothing_is_a_failed_cell(deceived):
    proof, _ = deceived

    assert proof.status == "failed" and not proof.scores
    assert "not above chance" in proof.reason or "still fell" in proof.reason


def test_a_defense_is_not_private_because_the_attack_learned_nothing(deceived):
    proof, defended = deceived

    assert defended.status == "failed" and not defended.scores
    assert "the same recipe fails on undefended images" in defended.reason and proof.reason in defended.reason


def test_without_public_images_the_attack_is_inapplicable():
    whole = splits(private=12, public=12)
    empty = replace(whole.public, images=whole.public.images[:0], labels=whole.public.labels[:0])
    stage = bench(None, replace(whole, public=replace(empty, hashes=whole.public.hashes[:0], names=())))

    results = [stage.attack(each, entry(stage), SEED) for each in (stage.undefended, TURN)]

    assert [result.status for result in results] == ["inapplicable", "inapplicable"]
    assert all("--public-share 0" in result.reason for result in results)


# The release alone


class Spy:
    """Replaces training and prediction: records which images each network was trained on and scored."""

    def __init__(self, monkeypatch):
        self.learned, self.scored = {}, {}
        spy = self

        def epoch(self, images, labels):
            spy.learned.setdefault(id(self), (self, set()))[1].update(image.numpy().tobytes() for image in images)
            self.steps += 1000
            return 0.5

        def predict(self, images, batch=256):
            spy.scored.setdefault(id(self), []).append([image.numpy().tobytes() for image in images])
            return torch.full((len(images), 3), 1 / 3)

        facts = {"learned": True, "held_out_loss": 0.5, "constant_loss": 1.1}
        monkeypatch.setattr(classifier, "compared_with_constant", lambda *_, **__: facts)
        monkeypatch.setattr(Learner, "epoch", epoch)
        monkeypatch.setattr(Learner, "predict", predict)


@pytest.mark.parametrize("folds", [2, 3])
def test_no_image_is_scored_by_a_network_trained_on_it(monkeypatch, folds):
    stage = bench(None, splits(private=48))
    seen = stage.client.observe(
        stage.registry.get("defenses", "noise_mix"), stage.registry.get("attacks", "cnn_release"), SEED
    )
    spy = Spy(monkeypatch)

    guess = cnn_release(seen, generator(), arch="mcpherson_face", train_epochs=1, folds=folds)

    answered = {key: set(calls[-1]) for key, calls in spy.scored.items()}  # the calls before only judge the training
    judged = {key: set().union(*calls[:-1]) for key, calls in spy.scored.items()}
    assert len(spy.learned) == len(answered) == folds
    assert all(images and not images & answered[key] for key, (_, images) in spy.learned.items())
    assert all(not judged[key] & answered[key] for key in answered)
    assert set().union(*answered.values()) == {image.numpy().tobytes() for image in seen.images}
    assert tuple(guess.scores.shape) == (48, 3) and (guess.scores > 0).all()


@pytest.mark.parametrize("folds", [1, 0])
def test_fewer_than_two_folds_are_refused(stage, folds):
    """Else every row is "no answer", and a defense looks private."""
    seen = stage.client.observe(stage.undefended, entry(stage, "cnn_release"), SEED)

    with pytest.raises((HarnessError, Inapplicable), match="folds"):
        cnn_release(seen, generator(), arch="mcpherson_face", train_epochs=1, folds=folds)


def test_held_out_images_are_not_trained_on(monkeypatch):
    """`cnn` stops by images that it holds back: no judged release is one that it learned from."""
    stage = bench(None, splits(private=6, public=60))
    spy = Spy(monkeypatch)

    seen = stage.client.observe(stage.undefended, entry(stage), SEED)

    cnn(seen, generator(), arch="mcpherson_face", train_epochs=1)

    ((key, (_, learned)),) = spy.learned.items()
    held_out = set().union(*spy.scored[key]) - {image.numpy().tobytes() for image in seen.images}
    assert len(learned) == 48 and len(held_out) == 12 and not learned & held_out


def test_a_network_trained_on_the_release_alone_reads_above_chance(stage):
    """The default one, judged by every image: six held-out images of a fold are too few to prove another's learning."""
    read = stage.attack(stage.undefended, entry(stage, "cnn_release", arch="kmeans_patches"), SEED)

    assert read.status == "ok", read.reason
    assert read.scores["top1"]["n"] == 60
    assert read.scores["top1"]["low"] > read.scores["top1"]["chance"]


# Networks


@pytest.mark.parametrize("attack", [cnn, cnn_release])
def test_an_unknown_network_is_refused_by_name(stage, attack):
    granting = entry(stage, attack.__name__)
    more = {"folds": 2} if attack is cnn_release else {}
    seen = stage.client.observe(stage.undefended, granting, SEED)

    with pytest.raises(HarnessError, match="no network called 'resnet81'; did you mean 'resnet18'"):
        attack(seen, generator(), arch="resnet81", train_epochs=1, **more)


def test_one_image_a_class_is_too_few_to_learn_from(stage):
    seen = bench(None, splits(private=12, public=3)).client.observe(stage.undefended, entry(stage), SEED)

    with pytest.raises(Inapplicable, match="too few"):
        cnn(seen, generator(), arch="mcpherson_face", train_epochs=1)


def test_pooling_before_the_rectifier_is_the_published_network():
    """Same numbers, same gradients as convolution, LeakyReLU, pooling."""
    network = networks.face(5, (24, 24)).eval()
    layers = list(network)
    published = torch.nn.Sequential(*(layers[i] for i in (0, 2, 1, 3, 5, 4, 6, 8, 7)), *layers[9:])
    images = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(0))

    (mine,), (theirs,) = (torch.autograd.grad(n(images).square().sum(), n[0].weight) for n in (network, published))

    assert [type(layer).__name__ for layer in published[:3]] == ["Conv2d", "LeakyReLU", "MaxPool2d"]
    assert torch.equal(network(images), published(images))
    assert torch.allclose(mine, theirs, rtol=1e-5)


@pytest.mark.parametrize(("network", "size"), [(networks.face, 16), (networks.face, 96), (networks.cifar, 32)])
def test_the_published_networks_score_every_class(network, size):
    model = network(7, (size, size)).eval()

    assert model(torch.zeros(2, 3, size, size)).shape == (2, 7)


def test_the_face_network_has_the_published_layers():
    """32-64-128 filters, a dense layer of 1024: the weights at 96 px, counted by hand (pooling 2/2/3 leaves 8x8)."""
    filters = (3 * 32 + 32 * 64 + 64 * 128) * 9 + 32 + 64 + 128
    dense = 128 * 8 * 8 * 1024 + 1024 + 1024 * 10 + 10

    assert sum(weights.numel() for weights in networks.face(10, (96, 96)).parameters()) == filters + dense
