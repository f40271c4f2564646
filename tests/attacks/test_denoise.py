"""Denoising helps where its strength follows the noise, and only there."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import scipy.fft
import torch

from harness.errors import HarnessError
from harness.images import to_bytes
from harness.plugins.attacks.common.filters import (
    denoise_patches,
    denoised,
    estimate_sigma,
    measured_noise,
    non_local_means,
)
from harness.randomness import torch_generator
from harness.registry import bind
from tests.helpers.planted import bench, splits

SEED = 0


def generator():
    return torch_generator(b"the rng of an attack", "cpu")


def entry(stage, name, **settings):
    return stage.registry.get("attacks", name).with_settings(settings)


def noise(stage, sigma, weights=1.0):
    return stage.registry.get("defenses", "noise_mix").with_settings({"sigma": sigma, "weights": weights})


def guess(stage, against, name):
    return bind(entry(stage, name))(stage.client.observe(against, entry(stage, name), SEED), generator())


def gain(stage, against, name):
    """By how much the attack lowers dSSIM."""
    found = stage.attack(against, entry(stage, name), SEED)
    assert found.status == "ok", found.reason
    return stage.release(against, SEED).scores["dssim"]["mean"] - found.scores["attacked_dssim"]["mean"]


@pytest.fixture(scope="module")
def stage():
    return bench(None, splits(private=12, public=24, size=32))


def planted_noise(images, sigma):
    rng = torch_generator(b"noise", "cpu")
    return to_bytes(images * 0.6 + 0.2 + torch.randn(images.shape, generator=rng) * sigma / 255)


# The level


@pytest.mark.parametrize("sigma", [5, 20, 40])
def test_the_level_of_planted_noise_is_estimated_within_a_few_percent(sigma):
    y, x = torch.meshgrid(torch.linspace(0, 6, 64), torch.linspace(0, 6, 64), indexing="ij")
    waves = torch.stack([y.sin(), x.cos(), (x + y).sin()]).div(2).add(0.5).expand(8, 3, 64, 64)

    assert estimate_sigma(planted_noise(waves, sigma)) == pytest.approx(sigma, rel=0.05)


def test_the_level_is_estimated_on_photographs_too(images):
    """Texture adds to it: a median over the image keeps that small, once there is noise to speak of."""
    clean, noisy = (estimate_sigma(planted_noise(images, sigma)).median() for sigma in (0, 25))

    assert float(noisy) == pytest.approx(25, rel=0.1)
    assert float(clean) < 8


def test_the_noise_level_of_images_without_texture_is_zero():
    slope = torch.arange(64, dtype=torch.uint8).expand(1, 3, 64, 64)

    assert float(estimate_sigma(slope)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("weights", "share"), [([1.0], 1.0), ([0.75, 0.25], 0.625**0.5), ([0.5, 0.5], 0.5**0.5)])
def test_the_level_through_the_defense_is_the_published_one_times_the_weights(stage, weights, share):
    """sigma sqrt(sum of lambda^2), section 3.4, and the defense's knobs are not read."""
    against = noise(stage, 20, weights)

    measured = measured_noise(stage.client.observe(against, entry(stage, "denoise_tuned"), SEED))

    assert measured == pytest.approx(20 * share, rel=0.02)


def test_mixing_adds_no_noise_to_grey_images(stage):
    mix = stage.registry.get("defenses", "mix")

    assert measured_noise(stage.client.observe(mix, entry(stage, "denoise_tuned"), SEED)) == 0


# The denoisers


def test_non_local_means_is_opencvs_on_blue_first(photographs):
    picture = photographs[3].transpose(1, 2, 0).copy()

    made = non_local_means(picture, 10, 10, 7, 21)

    assert np.array_equal(
        made[..., ::-1], cv2.fastNlMeansDenoisingColored(picture[..., ::-1].copy(), None, 10, 10, 7, 21)
    )


def test_patches_are_those_of_scipys_cosine_transform():
    """One patch with one large coefficient survives a threshold that cuts the noise around it."""
    wave = scipy.fft.idctn(np.eye(64)[10].reshape(8, 8) * 400, norm="ortho")
    tiled = torch.from_numpy(np.tile(128 + wave, (4, 4))).float().round().to(torch.uint8).expand(1, 3, 32, 32)

    level = torch.tensor([5.0])

    assert (denoise_patches(tiled, level * 2.4, level).int() - tiled.int()).abs().float().mean() < 2


@pytest.mark.parametrize("method", ["non-local", "dct"])
def test_no_noise_means_no_denoising(images, method):
    photographs = to_bytes(images)

    made = denoised(photographs, torch.zeros(len(images)), (method, 1.0))

    assert (made.int() - photographs.int()).abs().max() <= 1


@pytest.mark.parametrize(("method", "strength", "least"), [("non-local", 0.6, 1.2), ("dct", 2.4, 2.0)])
def test_denoising_brings_photographs_nearer(images, method, strength, least):
    truth = images * 0.6 + 0.2
    noisy = planted_noise(images, 20)

    made = denoised(noisy, torch.full((len(images),), 20.0), (method, strength))

    before, after = ((each / 255 - truth).square().mean() for each in (noisy, made))
    assert before / after > least


def test_windows_without_a_centre_are_refused(photographs):
    with pytest.raises(HarnessError, match="odd"):
        non_local_means(photographs[0].transpose(1, 2, 0).copy(), 3, 3, 6, 21)


# The attacks


def test_the_papers_setting_does_nothing_to_strong_noise(stage):
    """Raynal et al. 2020, section 4.4: -0.0001 dSSIM."""
    assert abs(gain(stage, noise(stage, 40, [0.75, 0.25]), "denoise")) < 0.01


@pytest.mark.parametrize("name", ["denoise_tuned", "denoise_blind"])
def test_a_strength_in_noise_levels_removes_the_noise(stage, name):
    assert gain(stage, noise(stage, 40), name) > 0.2


@pytest.mark.parametrize("name", ["denoise", "denoise_tuned", "denoise_blind"])
def test_denoising_an_undefended_release_changes_little(stage, name):
    assert -0.05 < gain(stage, stage.undefended, name) <= 1e-6


def test_the_tuned_attack_leaves_an_undefended_release_alone(stage):
    made = guess(stage, stage.undefended, "denoise_tuned")

    assert made.report["setting"] == "none 0" and not made.report["sigma_measured"]


def test_the_noise_is_measured_where_the_defense_is_granted_and_else_estimated(stage):
    measured, estimated = (guess(stage, noise(stage, 30), name).report for name in ("denoise_tuned", "denoise_blind"))

    assert measured["sigma_measured"] and measured["sigma"] == pytest.approx(30, rel=0.02)
    assert not estimated["sigma_measured"] and estimated["sigma"] == pytest.approx(30, rel=0.1)
