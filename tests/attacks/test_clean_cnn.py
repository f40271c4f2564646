"""A network trained on undefended images reads undefended releases, and not defended ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import Inapplicable
from harness.plugins.attacks.clean_cnn import clean_cnn
from harness.plugins.attacks.cnn import cnn
from harness.randomness import torch_generator
from harness.train import Learner
from tests.helpers.planted import bench, defense, splits

pytestmark = pytest.mark.usefixtures("short_trainings")

TURN = defense("turn")


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return bench(tmp_path_factory.mktemp("clean"), splits(private=60, public=90), TURN)


def entry(stage, name="clean_cnn"):
    return stage.registry.get("attacks", name).with_settings({"arch": "mcpherson_face", "train_epochs": 2})


def test_an_undefended_release_is_read_far_above_chance(stage):
    read = stage.attack(stage.undefended, entry(stage), 0)

    assert read.status == "ok", read.reason
    assert read.scores["top1"]["low"] > 0.7 > read.scores["top1"]["chance"]
    assert read.facts["held_out_n"] == 18 and read.facts["held_out_hits"] > 12


def test_it_is_at_chance_on_a_defense_that_the_rehearsed_network_still_reads(stage):
    """Turned, across is down and down is across; slanted stays slanted: a third is right, which is chance."""
    clean = stage.attack(TURN, entry(stage), 0)
    seen = stage.client.observe(TURN, entry(stage, "cnn"), 0)
    answers = cnn(seen, torch_generator(b"rng", "cpu"), arch="mcpherson_face", train_epochs=2).scores.argmax(1).numpy()

    _, secret = stage.client.release(TURN, 0, 0)
    rehearsed = (answers == stage.splits.private.labels[secret.dominant_rows]).mean()
    assert clean.status == "ok", clean.reason
    assert clean.scores["top1"]["low"] <= clean.scores["top1"]["chance"] <= clean.scores["top1"]["high"]
    assert rehearsed > 0.8


def test_it_touches_neither_the_defense_nor_the_labels(stage, monkeypatch):
    """It learns from the public images alone, each exactly as it is."""
    learned = []

    def epoch(self, images, labels):
        learned.extend(image.numpy().tobytes() for image in images)
        self.steps += 1000
        return 0.5

    monkeypatch.setattr(Learner, "epoch", epoch)
    seen = stage.client.observe(TURN, entry(stage), 0)

    clean_cnn(seen, torch_generator(b"rng", "cpu"), arch="mcpherson_face", train_epochs=1)

    assert seen.granted == {"public"}
    assert set(learned) < {image.tobytes() for image in stage.splits.public.images}
    assert len(set(learned)) == 72  # four in five of 90


def test_without_public_images_it_is_inapplicable():
    whole = splits(private=12, public=12)
    empty = replace(whole.public, images=whole.public.images[:0], labels=whole.public.labels[:0])
    stage = bench(None, replace(whole, public=replace(empty, hashes=whole.public.hashes[:0], names=())))

    assert stage.attack(stage.undefended, entry(stage), 0).status == "inapplicable"


def test_one_image_a_class_is_too_few(stage):
    seen = bench(None, splits(private=12, public=3)).client.observe(stage.undefended, entry(stage), 0)

    with pytest.raises(Inapplicable, match="too few"):
        clean_cnn(seen, torch_generator(b"rng", "cpu"), arch="mcpherson_face", train_epochs=1)
