"""`harness.metrics`: the registered metrics on one's own tensors."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

import harness
from harness.errors import HarnessError
from harness.registry import load_registry
from tests.helpers.pretend_cuda import PretendCuda, values


@pytest.fixture
def pair(images):
    """Photographs, and the same with noise."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    return (images + 0.2 * noise).clamp(0, 1), images


def test_dssim_is_one_minus_ssim(pair):
    ours, theirs = (stack.double().permute(0, 2, 3, 1).numpy() for stack in pair)
    options = {"channel_axis": 2, "data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "win_size": 11}
    maps = [
        structural_similarity(x, y, use_sample_covariance=False, full=True, **options)[1][5:-5, 5:-5]
        for x, y in zip(ours, theirs, strict=True)
    ]

    found = harness.metrics.dssim(*pair)

    assert found.shape == (24,) and found.min() > 0.1
    assert found.numpy() == pytest.approx([1 - each.mean() for each in maps], abs=1e-4)


def test_bytes_are_divided_by_255(pair):
    stored = [(stack * 255).round().to(torch.uint8) for stack in pair]

    found = harness.metrics.dssim(*stored)

    assert torch.equal(found, harness.metrics.dssim(*(each.float() / 255 for each in stored)))
    assert torch.equal(found, harness.metrics.dssim(*(each.numpy() for each in stored)))
    assert torch.equal(found, harness.metrics.dssim(stored[0], stored[1].float() / 255))
    assert harness.metrics.mse(stored[0], stored[1]).numpy() == pytest.approx(
        (stored[0].double() - stored[1].double()).square().mean((1, 2, 3)).numpy(), rel=1e-5
    )


def test_every_registered_metric_is_there_and_says_what_it_takes():
    registered = list(load_registry().section("metrics"))

    assert harness.metrics.names() == registered
    assert set(registered) < set(dir(harness.metrics))
    for name in registered:
        metric = getattr(harness.metrics, name)
        assert metric.__name__ == name and len(metric.__doc__) > 40
        assert list(inspect.signature(metric).parameters)[:2] == ["images", "originals"]


def test_settings_are_those_of_the_registry_unless_given(pair):
    assert not torch.equal(harness.metrics.dssim(*pair, sigma=3.0), harness.metrics.dssim(*pair))
    with pytest.raises(HarnessError, match="no knob called 'sigmas'; did you mean 'sigma'"):
        harness.metrics.dssim(*pair, sigmas=3.0)


def test_a_pair_that_is_none_is_refused(pair):
    ours, theirs = pair
    with pytest.raises(HarnessError, match=r"dssim: images have shape \(24, 3, 64, 64\) and originals \(23, 3, 64, 64"):
        harness.metrics.dssim(ours, theirs[1:])
    with pytest.raises(HarnessError, match=r"dssim: images have shape \(3, 64, 64\); .*use images\[None\]"):
        harness.metrics.dssim(ours[0], theirs[0])
    with pytest.raises(HarnessError, match=r"dssim: originals go from 0 to 25"):
        harness.metrics.dssim(ours, theirs * 255)
    with pytest.raises(HarnessError, match="dssim: images of 8x8 px; it needs 11 px a side"):
        harness.metrics.dssim(ours[..., :8, :8], theirs[..., :8, :8])


def test_another_name_is_an_attribute_error_with_the_nearest():
    with pytest.raises(AttributeError, match=r"harness\.metrics has no 'dsim'; did you mean 'dssim'"):
        harness.metrics.dsim  # noqa: B018


@pytest.mark.parametrize("name", ["fid", "lpips", "dists"])
def test_missing_weights_are_said_as_one_error(name, pair, monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))

    with pytest.raises(HarnessError, match=rf"^{name}: no .*weights"):
        getattr(harness.metrics, name)(*(stack[:1] for stack in pair))


def test_what_is_measured_while_training_holds_no_graph(pair):
    assert not harness.metrics.dssim(pair[0].clone().requires_grad_(), pair[1]).requires_grad


def test_it_follows_the_device(pair):
    with PretendCuda():
        ours, theirs = (stack[:2].to("cuda") for stack in pair)
        found = harness.metrics.dssim(ours, theirs)
        assert found.device.type == "cuda"
        with pytest.raises(HarnessError, match="dssim: images are on cuda and originals on cpu"):
            harness.metrics.dssim(ours, pair[1][:2])

    assert np.allclose(values(found), harness.metrics.dssim(pair[0][:2], pair[1][:2]), atol=1e-5)
