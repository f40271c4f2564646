"""The offline classifier names classes by ImageNet's labels; without weights its reason says how to get them."""

from __future__ import annotations

import hashlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from harness.errors import HarnessError, Inapplicable, Skipped
from harness.plugins.attacks import timm_labels as attack
from harness.randomness import torch_generator
from harness.registry import bind, load_registry
from harness.train import networks
from harness.train import pretrained as weights
from tests.helpers.planted import bench, splits

TENCH, TABBY, EGYPTIAN, PUG, CROSSWORD, WOLF = 0, 281, 285, 254, 918, 269
NAMES = {"across": ["tench"], "down": ["n02123045-n02124075"], "slanted": ["pug"]}


class Stripes(nn.Module):
    """A network with planted outputs: each direction of stripes is a fish, a cat or a dog; anything is a crossword."""

    def __init__(self):
        super().__init__()
        self.pretrained_cfg = {"input_size": (3, 32, 32), "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

    def forward(self, images):
        grey = images.mean(1)
        vertical, horizontal = ((grey.diff(dim=dim)).abs().mean((1, 2)) for dim in (1, 2))
        ratio = vertical / (vertical + horizontal)
        logits = torch.zeros(len(images), 1000)
        logits[:, CROSSWORD] = 9
        logits[:, TENCH] = torch.where(ratio > 0.62, 8.0, -1)
        logits[:, TABBY] = logits[:, EGYPTIAN] = torch.where(ratio < 0.38, 8.0, -1)
        logits[:, PUG] = torch.where((ratio >= 0.38) & (ratio <= 0.62), 8.0, -1)
        return logits


@pytest.fixture(scope="module")
def stage():
    return bench(None, splits(private=30, public=6))


@pytest.fixture
def nothing_here(monkeypatch, tmp_path):
    """A machine without weights, and without leave to fetch them."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *arguments, **options: None)
    monkeypatch.setattr(networks, "_missing", {})
    for name in ("HARNESS_DOWNLOAD", "HARNESS_WEIGHTS_SHA256"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.fixture
def planted(monkeypatch, nothing_here):
    monkeypatch.setattr(networks, "why_no_weights", lambda name: None)
    monkeypatch.setattr(networks, "build", lambda name, classes, size, pretrained: Stripes())


def run(stage, **settings):
    chosen = load_registry().get("attacks", "timm_labels").with_settings({"synonyms": NAMES, **settings})
    return bind(chosen)(stage.client.observe(stage.undefended, chosen, 0), torch_generator(b"rng", "cpu"))


def truth(stage):
    _, secret = stage.client.release(stage.undefended, 0, 0)
    return stage.splits.private.labels[secret.dominant_rows]


# Reading


def test_the_labels_name_the_classes(stage, planted):
    """The likeliest label is a crossword, which is no class; the next is the answer."""
    guess = run(stage)

    assert (guess.scores.argmax(1).numpy() == truth(stage)).all()
    assert ((guess.scores > 0).sum(1) == 1).all()
    assert guess.report == {"classes_with_a_label": 3, "class_named": 1.0, "several_classes_named": 0.0}


def test_with_a_table_of_wrong_labels_it_fails(stage, planted):
    turned = {"down": ["tench"], "across": ["n02123045-n02124075"], "slanted": ["pug"]}

    hits = run(stage, synonyms=turned).scores.argmax(1).numpy() == truth(stage)

    np.testing.assert_array_equal(hits, truth(stage) == 2)


def test_a_class_whose_labels_are_not_among_the_first_is_no_answer(stage, planted):
    guess = run(stage, labels=1)

    assert (guess.scores == 0).all() and guess.report["class_named"] == 0


def test_a_class_of_several_labels_has_their_probability_together(stage, planted):
    scores = run(stage).scores[torch.from_numpy(truth(stage) == 1)][:, 1]

    logits = torch.zeros(1000)
    logits[[TABBY, EGYPTIAN, CROSSWORD, TENCH, PUG]] = torch.tensor([8.0, 8.0, 9.0, -1.0, -1.0])
    alone = logits.softmax(0)[TABBY]
    torch.testing.assert_close(scores, (2 * alone).expand(len(scores)))


def test_classes_without_an_imagenet_label_make_it_inapplicable(stage, planted):
    with pytest.raises(Inapplicable, match="no label for any of across, down, slanted"):
        run(stage, synonyms={})


def test_a_network_without_imagenets_labels_is_refused(stage, planted):
    with pytest.raises(HarnessError, match="not ImageNet's"):
        run(stage, arch="vit_base_patch16_clip_224.openai")


def test_weights_that_give_nan_are_refused(stage, planted, monkeypatch):
    monkeypatch.setattr(Stripes, "forward", lambda self, images: torch.full((len(images), 1000), torch.nan))

    with pytest.raises(HarnessError, match="NaN"):
        run(stage)


def test_the_built_in_table_finds_imagenets_labels():
    """cat is every domestic cat and no lemur or lynx, dog every breed and no wolf: counted in the list of labels."""
    table = load_registry().get("attacks", "timm_labels").params["synonyms"]
    classes = ("cat", "dog", "bird", "monkey", "horse", "truck", "ship", "tench", "french_horn", "deer")
    names = attack.vocabulary(classes, table)

    said = attack._imagenet("resnet50.a1_in1k")

    stands = [next((names.class_of(label) for label in one if names.class_of(label) is not None), None) for one in said]
    counts = {name: stands.count(number) for number, name in enumerate(classes)}
    assert len(said) == 1000 and stands[WOLF] is None and stands[PUG] == 1
    assert counts["cat"] == 5 and counts["dog"] == 118 and counts["bird"] == 59 and counts["monkey"] == 18
    assert counts["tench"] == counts["horse"] == 1 and counts["deer"] == 0


# Weights


def test_without_weights_it_is_skipped_and_the_reason_names_file_and_folder(stage, nothing_here):
    chosen = load_registry().get("attacks", "timm_labels").with_settings({"synonyms": NAMES})

    result = stage.attack(stage.undefended, chosen, 0)

    assert result.status == "skipped"
    assert "HARNESS_DOWNLOAD=1" in result.reason and "https://huggingface.co/timm/" in result.reason
    assert "\n" not in result.reason and str(Path.home()) not in result.reason


def test_weights_that_were_placed_are_read_without_the_network(nothing_here, monkeypatch):
    name = "mobilenetv3_small_050.lamb_in1k"
    torch.manual_seed(0)
    published = timm.create_model(name)
    torch.save(published.state_dict(), nothing_here / f"{name}.pth")

    model = networks.build(name, 1000, (0, 0), pretrained=True)

    assert all(torch.equal(value, published.state_dict()[key]) for key, value in model.state_dict().items())


def test_weights_that_cannot_be_read_are_named(nothing_here):
    name = "mobilenetv3_small_050.lamb_in1k"
    (nothing_here / f"{name}.pth").write_bytes(b"not weights")

    with pytest.raises(Skipped, match="unreadable pretrained weights"):
        networks.build(name, 1000, (0, 0), pretrained=True)


def test_a_download_is_tried_only_where_it_is_allowed_and_once_per_process(nothing_here, monkeypatch):
    asked = []

    def unreachable(address, *arguments, **options):
        asked.append((address, socket.getdefaulttimeout()))
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setenv("HARNESS_WEIGHTS_SHA256", f"resnet18={'0' * 64}")
    with pytest.raises(Skipped, match="no pretrained weights"):
        networks.build("resnet18", 1000, (0, 0), pretrained=True)
    assert asked == []
    monkeypatch.setenv("HARNESS_DOWNLOAD", "1")
    for _ in range(2):
        with pytest.raises(Skipped, match=r"no pretrained weights of resnet18 \(OSError\)"):
            networks.build("resnet18", 1000, (0, 0), pretrained=True)
    assert asked == [(weights.timm_address("resnet18"), weights.TIMEOUT)]


@pytest.fixture
def published(nothing_here, monkeypatch, tmp_path):
    """Weights of a small model behind an address, which may be fetched; returns the model's name and their SHA-256."""
    name, file = "mobilenetv3_small_050.lamb_in1k", tmp_path / "model.safetensors"
    torch.manual_seed(0)
    safetensors.torch.save_file(timm.create_model(name).state_dict(), file)
    monkeypatch.setattr(weights, "timm_address", lambda asked: file.as_uri())
    monkeypatch.setenv("HARNESS_DOWNLOAD", "1")
    monkeypatch.delenv("HARNESS_OFFLINE", raising=False)
    return name, hashlib.sha256(file.read_bytes()).hexdigest()


def kept(folder):
    return [each.name for each in folder.iterdir() if not each.name.startswith(".")]


def test_a_download_lands_where_the_next_run_looks(published, nothing_here, monkeypatch):
    name, digest = published
    monkeypatch.setenv("HARNESS_WEIGHTS_SHA256", f"{name}={digest}")

    networks.build(name, 1000, (0, 0), pretrained=True)
    monkeypatch.delenv("HARNESS_DOWNLOAD")

    assert networks.why_no_weights(name) is None
    assert weights.timm_file(name) == nothing_here / f"{name}.safetensors"
    assert kept(nothing_here) == [f"{name}.safetensors"]


def test_nothing_is_fetched_without_a_digest(published, nothing_here):
    name, _ = published

    with pytest.raises(Skipped, match=rf"no SHA-256 .* state it as HARNESS_WEIGHTS_SHA256={name}=<64 hex digits>, as"):
        networks.build(name, 1000, (0, 0), pretrained=True)

    assert kept(nothing_here) == []


def test_a_download_with_another_digest_is_not_kept(published, nothing_here, monkeypatch):
    name, digest = published
    monkeypatch.setenv("HARNESS_WEIGHTS_SHA256", f"{name}={digest[:-1]}{'1' if digest[-1] == '0' else '0'}")

    with pytest.raises(Skipped, match="another file than expected") as caught:
        networks.build(name, 1000, (0, 0), pretrained=True)

    assert kept(nothing_here) == [] and "\n" not in str(caught.value)


@pytest.mark.parametrize("right", [True, False])
def test_the_digest_in_the_name_of_the_published_file_is_one(published, nothing_here, monkeypatch, tmp_path, right):
    name, digest = published
    file = tmp_path / f"small-{digest[:8] if right else '0123abcd'}.safetensors"
    (tmp_path / "model.safetensors").rename(file)
    monkeypatch.setattr(weights, "timm_address", lambda asked: file.as_uri())

    if right:
        networks.build(name, 1000, (0, 0), pretrained=True)
    else:
        with pytest.raises(Skipped, match="another file than expected"):
            networks.build(name, 1000, (0, 0), pretrained=True)

    assert bool(kept(nothing_here)) == right


def test_a_placed_file_has_the_stated_digest_or_is_refused_and_stays(published, nothing_here, monkeypatch, tmp_path):
    name, digest = published
    (tmp_path / "model.safetensors").rename(nothing_here / f"{name}.safetensors")
    monkeypatch.delenv("HARNESS_DOWNLOAD")
    monkeypatch.setenv("HARNESS_WEIGHTS_SHA256", f"{name}={digest}")
    networks.build(name, 1000, (0, 0), pretrained=True)

    monkeypatch.setenv("HARNESS_WEIGHTS_SHA256", f"{name}={'0' * 64}")
    with pytest.raises(Skipped, match="SHA-256 begins with"):
        networks.build(name, 1000, (0, 0), pretrained=True)

    assert kept(nothing_here) == [f"{name}.safetensors"]


def test_two_threads_fetch_a_file_once(published, nothing_here, monkeypatch):
    name, digest = published
    monkeypatch.setenv("HARNESS_WEIGHTS_SHA256", f"{name}={digest}")
    real, fetched = torch.hub.download_url_to_file, []

    def slow(address, *arguments, **options):
        fetched.append(address)
        time.sleep(0.2)
        real(address, *arguments, **options)

    monkeypatch.setattr(torch.hub, "download_url_to_file", slow)
    with ThreadPoolExecutor(2) as pool:
        places = list(pool.map(weights.fetch_timm, [name, name]))

    assert len(fetched) == 1 and places == [nothing_here / f"{name}.safetensors"] * 2


@pytest.mark.parametrize("name", ["resnet50.no_such_tag", "resnet0"])
def test_a_model_that_has_no_weights_anywhere_is_refused(name):
    with pytest.raises(HarnessError, match=r"no network called|Invalid pretrained tag|no published pretrained weights"):
        networks.why_no_weights(name)


def test_the_address_is_where_timm_fetches_from():
    assert (
        weights.timm_address("resnet50.a1_in1k")
        == "https://huggingface.co/timm/resnet50.a1_in1k/resolve/main/model.safetensors"
    )
