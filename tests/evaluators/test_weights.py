"""Where weights are is said without torch, and as torch says it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torchvision.models import Inception_V3_Weights

from harness.plugins.evaluators import weights
from harness.registry import load_registry, why_not_ready


@pytest.mark.parametrize(
    "variables",
    [{}, {"TORCH_HOME": "here"}, {"XDG_CACHE_HOME": "cache"}, {"TORCH_HOME": "~/here", "XDG_CACHE_HOME": "cache"}],
)
def test_the_folder_is_that_of_torch(variables, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert weights.checkpoints() == Path(torch.hub.get_dir()) / "checkpoints"
    assert Inception_V3_Weights.IMAGENET1K_V1.url == weights.INCEPTION.url
    assert Path(weights.INCEPTION.url).name == weights.INCEPTION.name


@pytest.mark.parametrize(
    ("metric", "files"),
    [
        ("fid", [weights.INCEPTION]),
        ("lpips", [weights.VGG16, weights.LPIPS]),
        ("dists", [weights.VGG16, weights.DISTS]),
    ],
    ids=["fid", "lpips", "dists"],
)
def test_they_are_missing_until_they_are_there_or_may_be_fetched(metric, files, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("HARNESS_DOWNLOAD", "HARNESS_OFFLINE", "HARNESS_WEIGHTS_SHA256"):
        monkeypatch.delenv(name, raising=False)
    entry = load_registry().get("metrics", metric)

    monkeypatch.setenv("HARNESS_DOWNLOAD", "1")
    assert why_not_ready(entry) is None

    monkeypatch.delenv("HARNESS_DOWNLOAD")
    weights.checkpoints().mkdir(parents=True)
    for file in files:
        assert (why_not_ready(entry) or "").startswith(f"{metric}: no {file.what} in ")
        (weights.checkpoints() / file.name).touch()
    assert why_not_ready(entry) is None

    monkeypatch.setenv("HARNESS_WEIGHTS_SHA256", "what")
    assert "is not name=hex" in (why_not_ready(entry) or "")


@pytest.mark.parametrize("file", [weights.INCEPTION, weights.VGG16, weights.LPIPS, weights.DISTS], ids=lambda f: f.name)
def test_names_carry_the_first_digits_of_the_digests(file):
    assert re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", file.sha256)
    assert Path(file.name).stem.endswith(f"-{file.sha256[:8]}")
    assert file.url.startswith("https://")
