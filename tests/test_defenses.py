"""`harness.defenses`: the registered defenses on one's own tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import harness
from harness.errors import HarnessError
from harness.registry import load_registry
from harness.run.bench import Bench
from tests.helpers.planted import bench, splits
from tests.helpers.pretend_cuda import PretendCuda, values


def test_every_registered_defense_is_there():
    assert harness.defenses.names() == list(load_registry().section("defenses"))
    assert "Fisher" not in harness.defenses.mix.__doc__ and "Average the sources" in harness.defenses.mix.__doc__


@pytest.mark.parametrize("number", (0, 3))
@pytest.mark.parametrize("name", ("shuffle_mix", "graft_mix", "mixup"))
def test_a_release_is_that_of_the_benchmark(name, number):
    data = splits()
    of_run: Bench = bench(None, data, releases=4, epochs=4)
    expected, secret = of_run.client.release(of_run.registry.get("defenses", name), 7, number)

    release, own = getattr(harness.defenses, name)(
        data.private.images, data.private.labels, seed=7, number=number, classes=3
    )

    assert torch.equal(release.images, expected.images) and torch.equal(release.labels, expected.labels)
    assert np.array_equal(own.sources, secret.sources) and np.array_equal(own.dominant, secret.dominant)


def test_a_mixture_is_the_weighted_mean_of_what_the_secret_names(images, classes):
    release, secret = harness.defenses.mix(images, classes, weights=[0.7, 0.3], seed=1)

    expected = torch.einsum("nk,nkchw->nchw", torch.from_numpy(secret.shares), images[secret.sources])
    assert (release.images.float() - 255 * expected).abs().max() < 0.51
    assert release.labels.tolist() == classes[secret.dominant_rows].tolist()
    assert sorted(secret.sources[:, 0].tolist()) == list(range(24))


def test_soft_labels_are_the_shares(images, classes):
    release, secret = harness.defenses.mixup(images, classes, classes=5)

    assert release.labels.shape == (24, 5)
    assert torch.allclose(release.labels.sum(1), torch.ones(24), atol=1e-5)
    largest = np.where(classes[secret.sources[:, 0]] == classes[secret.sources[:, 1]], 1, secret.shares.max(1))
    assert release.labels.max(1).values.numpy() == pytest.approx(largest, abs=1e-5)


def test_a_seed_repeats_a_release_and_none_does_not(images, classes):
    def released(**options):
        return harness.defenses.shuffle_mix(images, classes, block=4, **options)[0].images

    assert torch.equal(released(seed=5), released(seed=5))
    assert not torch.equal(released(seed=5), released(seed=6))
    assert not torch.equal(released(seed=5), released(seed=5, number=1))
    assert not torch.equal(released(seed=None), released(seed=None))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"images": torch.rand(4, 8, 8)}, r"shuffle_mix: images have shape \(4, 8, 8\)"),
        ({"images": torch.rand(4, 3, 8, 8) * 9}, "shuffle_mix: images go from"),
        ({"labels": torch.rand(4)}, "shuffle_mix: labels are float32"),
        ({"block": 5}, "shuffle_mix: block 5 does not divide 8x8 images; use 2, 4 or 8"),
        ({"blocks": 5}, "shuffle_mix: no knob called 'blocks'; did you mean 'block'"),
        ({"weights": [0.5, 0.6]}, "shuffle_mix: weights 0.5,0.6 sum to 1.1"),
        ({"seed": "x"}, "shuffle_mix: seed is 'x'; expected a whole number"),
        ({"seed": -1}, "seed -1 is too small"),
        ({"images": torch.rand(1, 3, 8, 8), "labels": [0]}, "shuffle_mix: 1 image is too few for mixtures of 2"),
        ({"labels": [0, 1, 2, 7], "classes": 3}, "shuffle_mix: a label is 7, and there are 3 classes"),
    ],
)
def test_wrong_input_is_one_sentence(changed, said):
    given = {"images": torch.rand(4, 3, 8, 8), "labels": torch.tensor([0, 1, 0, 1]), **changed}

    with pytest.raises(HarnessError, match=said) as refused:
        harness.defenses.shuffle_mix(**given)

    assert "\n" not in str(refused.value)


def test_it_follows_the_device(images, classes, monkeypatch):
    monkeypatch.setattr("harness.release.in_thread", lambda work: work())  # what is pretended holds for one thread
    plain, _ = harness.defenses.pixelize_mix(images[:4], classes[:4], grid=8)
    with PretendCuda():
        release, _ = harness.defenses.pixelize_mix(images[:4].to("cuda"), classes[:4], grid=8)
        assert release.images.device.type == "cuda"

    assert (values(release.images).int() - plain.images.int()).abs().max() <= 1
