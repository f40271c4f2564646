"""A tensor on the wrong device fails here, without a GPU: forward passes on tensors that say they are on one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import release as releases
from harness.client.client import Client, scheme_of
from harness.errors import Inapplicable
from harness.registry import bind, load_registry
from harness.run.work import measure_release, run_attack
from harness.scores import embeddings
from harness.train import networks
from tests.helpers.planted import splits
from tests.helpers.pretend_cuda import OnCuda, PretendCuda, values

REGISTRY = load_registry()
TRAINED = {
    "cnn_mcpherson", "cnn_linked", "interpolation_learned", "inversion", "inversion_linked", "multi_release", "oracle",
    "attribute_linked", "reid", "timm_labels", "google_vision", "auto", "invert", "unmix",
}  # fmt: skip
"""Backward passes need a GPU (the engine of autograd asks for one); two of these need something from outside."""


ALWAYS = ("smooth", "linear", "cnn", "denoise_tuned", "candidate_matching", "mean_image", "random_other")


@pytest.fixture(autouse=True)
def cuda(monkeypatch):
    monkeypatch.setattr("harness.train.learner.low_precision", lambda device: None)
    monkeypatch.setattr(releases, "in_thread", lambda work: work())  # what is pretended holds for one thread
    with PretendCuda():
        yield


# What the tensors themselves refuse


def test_two_devices_in_one_operation_are_refused():
    on_gpu = torch.rand(2, 3, device="cuda")

    with pytest.raises(RuntimeError, match="same device"):
        on_gpu + torch.ones(3)
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(3)[torch.tensor([0], device="cuda")]
    with pytest.raises((RuntimeError, TypeError)):
        on_gpu.numpy()
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(2, device="cuda", generator=torch.Generator())


def test_what_cuda_takes_is_taken():
    on_gpu = torch.rand(2, 3, device="cuda")

    assert all(isinstance(each, OnCuda) for each in (on_gpu + 1, on_gpu[torch.tensor([0])], on_gpu * torch.tensor(2.0)))
    assert torch.equal(on_gpu.cpu(), values(on_gpu)) and on_gpu.cpu().numpy().shape == (2, 3)
    assert on_gpu.sum().item() == pytest.approx(float(np.sum(on_gpu.tolist())))


# What the harness does on a GPU


@pytest.mark.parametrize("name", list(REGISTRY.section("defenses")))
def test_a_defense_follows_its_images(name):
    scheme = scheme_of(REGISTRY.get("defenses", name), REGISTRY)
    data = splits()

    made, _ = releases.obfuscate(
        scheme, data.private.images, data.private.labels, len(data.classes), b"key", device="cuda"
    )

    assert isinstance(made.images, OnCuda) and made.images.dtype == torch.uint8


@pytest.mark.parametrize("name", [name for name, entry in REGISTRY.section("metrics").items() if not entry.ready])
def test_a_metric_gives_what_it_gives_on_the_cpu(name):
    metric = bind(REGISTRY.get("metrics", name))
    images, originals = torch.rand(2, 5, 3, 32, 32)

    found = metric(images.to("cuda"), originals.to("cuda"))

    assert isinstance(found, OnCuda)
    assert torch.allclose(values(found).float(), metric(images, originals).float(), atol=1e-4)


@pytest.mark.parametrize("name", list(embeddings()))
def test_an_embedding_gives_what_it_gives_on_the_cpu(name):
    embedding = bind(REGISTRY.get("evaluators", name))
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(256, (5, 2, 3, 32, 32), dtype=torch.uint8, generator=rng)
    gallery = torch.randint(256, (7, 3, 32, 32), dtype=torch.uint8, generator=rng)

    found = embedding(images.to("cuda"), gallery.to("cuda"), "cuda")

    assert isinstance(found, OnCuda)
    assert torch.allclose(values(found), embedding(images, gallery, "cpu"), atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "mcpherson_face", "test_resnet"])
def test_a_network_is_run(name):
    network = networks.build(name, 5, (32, 32)).to("cuda").eval()

    with torch.no_grad():
        assert isinstance(network(torch.rand(2, 3, 32, 32, device="cuda")), OnCuda)


@pytest.fixture
def data():
    return splits(private=12, public=24, test=6, size=16)


def test_releases_are_measured(data):
    on_gpu, on_cpu = (Client(data, REGISTRY, device, 2, 12) for device in ("cuda", "cpu"))

    found, expected = (measure_release(client, REGISTRY.get("defenses", "mix"), 0)[0] for client in (on_gpu, on_cpu))

    measured = [name for name, score in expected.items() if "mean" in score]
    assert {"dssim", "reid_rank1"} <= set(measured)
    for name in measured:
        assert found[name]["mean"] == pytest.approx(expected[name]["mean"], abs=1e-4), name


@pytest.mark.parametrize("name", [name for name in REGISTRY.section("attacks") if name not in TRAINED])
@pytest.mark.parametrize("defense", ["noise_mix", "blur", "graft_mix"])
def test_an_attack_follows_its_images(name, defense, data):
    client = Client(data, REGISTRY, "cuda", 2, 12)
    try:
        run_attack(client, REGISTRY.get("defenses", defense), REGISTRY.get("attacks", name), 0, must_learn=False)
    except Inapplicable as reason:
        assert name not in ALWAYS, reason
