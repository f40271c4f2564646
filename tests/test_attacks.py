"""`harness.attacks.run`: attacks on one's own released tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import harness
from harness.errors import HarnessError, NotGranted
from harness.randomness import derive, root_of, torch_generator
from harness.registry import bind, load_registry
from harness.types import Guess
from tests.helpers.planted import bench, splits


def benchmarked(data, defense, attack, releases=1):
    """What the benchmark's own client gives this attack, and what it guesses."""
    own = bench(None, data, epochs=releases, releases=releases)
    entries = own.registry.get("defenses", defense), own.registry.get("attacks", attack)
    observation = own.client.observe(*entries, 0)
    return own, bind(entries[1])(observation, torch_generator(derive(root_of(0), "attack", attack), "cpu"))


@pytest.mark.parametrize("attack", ("smooth", "wiener", "denoise_tuned"))
def test_a_reconstruction_is_that_of_the_benchmark(attack):
    data = splits()
    own, expected = benchmarked(data, "noise_mix", attack)
    release, _ = own.client.release(own.registry.get("defenses", "noise_mix"), 0, 0)
    public = (data.public.images, data.public.labels)

    guess = harness.attacks.run(attack, release, defense="noise_mix", public=public)

    found, known = (np.asarray(each.candidates) for each in (guess, expected))
    assert found.shape[0] == len(release) and np.array_equal(found, known)


def test_class_scores_are_those_of_the_benchmark():
    data = splits()
    own, expected = benchmarked(data, "mix", "linear")
    release, _ = own.client.release(own.registry.get("defenses", "mix"), 0, 0)

    public = (data.public.images, data.public.labels)
    guess = harness.attacks.run(
        "linear", (release.images, release.labels), defense="mix", public=public, classes=data.classes
    )

    assert np.allclose(np.asarray(guess.scores), np.asarray(expected.scores))


def test_a_function_of_ones_own_sees_what_is_granted(images, classes):
    def shown(observation, rng):
        labels = [release.labels.tolist() for release in observation.releases]
        with pytest.raises(NotGranted):
            observation.public  # noqa: B018
        return Guess(candidates=observation.images[:, None], report={"labels": labels, "k": observation.sources})

    made = [harness.defenses.mix(images, classes, number=number)[0] for number in range(3)]
    plugin = harness.AttackPlugin(shown, granted=["releases"])

    guess = harness.attacks.run(plugin, made, defense="mix")

    assert torch.equal(guess.candidates[:, 0], made[0].images)
    assert guess.report == {"labels": [each.labels.tolist() for each in made], "k": 2}


@pytest.mark.parametrize(
    ("attack", "given", "said"),
    [
        ("smooth", {}, 'smooth: it needs the defense; give defense="shuffle_mix", say'),
        ("smooth", {"defense": "mix"}, r"smooth: it needs images of the adversary's own; give public=\(images, labels"),
        ("oracle", {}, "oracle: it needs the true pairing, which no adversary has"),
        ("reid_raw", {}, "reid_raw: it looks for originals in a gallery; give gallery=images"),
        ("cnn_release", {}, r"cnn_release: it needs the public labels; give \(images, labels\)"),
        ("smoth", {}, "no attack called 'smoth'; did you mean 'smooth'"),
        ("wiener", {"kernel": 3}, "wiener: no knob called 'kernel'"),
        ("wiener", {"released": torch.rand(3, 8, 8)}, "wiener: released images have shape"),
        ("wiener", {"released": []}, "wiener: released is empty"),
        ("wiener", {"seed": 1.5}, "seed is 1.5; expected a whole number"),
        ("wiener", {"device": "tpu"}, "device 'tpu' is"),
        ("wiener", {"classes": "ten"}, "wiener: classes are 'ten'"),
        (3, {}, "attack 3 is int; expected a name, a function, or a list of them"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(attack, given, said):
    given = {"released": torch.rand(4, 3, 16, 16), **given}

    with pytest.raises(HarnessError, match=said):
        harness.attacks.run(attack, given.pop("released"), **given)


def test_public_images_of_another_size_are_refused(images, classes):
    with pytest.raises(HarnessError, match=r"smooth: public images are \(3, 32, 32\), released ones \(3, 64, 64\)"):
        harness.attacks.run("smooth", images, defense="mix", public=(images[..., :32, :32], classes))


def test_the_names_are_those_of_the_registry():
    assert harness.attacks.names() == list(load_registry().section("attacks"))
