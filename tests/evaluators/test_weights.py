"""Where weights are is said without torch, and as torch says it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import Inception_V3_Weights

from harness.errors import Skipped
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
    assert Path(Inception_V3_Weights.IMAGENET1K_V1.url).name == weights.INCEPTION


def test_they_are_missing_until_they_are_there_or_may_be_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("HARNESS_DOWNLOAD", raising=False)
    entry = load_registry().get("metrics", "fid")

    with pytest.raises(Skipped, match="Inception"):
        weights.inception()
    assert "Inception" in (why_not_ready(entry) or "")

    monkeypatch.setenv("HARNESS_DOWNLOAD", "1")
    assert why_not_ready(entry) is None

    monkeypatch.delenv("HARNESS_DOWNLOAD")
    weights.checkpoints().mkdir(parents=True)
    (weights.checkpoints() / weights.INCEPTION).touch()
    assert why_not_ready(entry) is None
