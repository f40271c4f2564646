"""A known blur is undone as far as rounding lets it; SciPy's `wiener` undoes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve, convolve1d

from harness.errors import Inapplicable
from harness.images import blur, gaussian_window, to_bytes, to_images
from harness.plugins.attacks.common.gaussian_blur import blur_matrix, blur_response, cosines, deconvolved, known_kernel
from harness.plugins.attacks.richardson_lucy import sharpen
from harness.plugins.attacks.wiener import local_wiener
from harness.types import Splits
from tests.helpers.planted import bench, dataset

SEED = 0
DEBLURRING = ("deconvolution", "richardson_lucy")


def entry(stage, name, **settings):
    return stage.registry.get("attacks", name).with_settings(settings)


def blurred(stage, kernel):
    return stage.registry.get("defenses", "blur").with_settings({"kernel": kernel})


@pytest.fixture(scope="module")
def stage(photographs, classes):
    """Photographs in two roles; each in one."""
    images, labels = photographs, classes
    parts = [dataset(images[rows], labels[rows]) for rows in (slice(0, None, 2), slice(1, None, 2))]
    parts.append(dataset(images[:1, ..., ::-1].copy(), labels[:1]))  # strangers for the gallery: a mirror image
    return bench(None, Splits("photographs", *parts, fingerprint="0" * 32))


def gain(stage, against, name):
    found = stage.attack(against, entry(stage, name), SEED)
    assert found.status == "ok", found.reason
    return stage.release(against, SEED).scores["dssim"]["mean"] - found.scores["attacked_dssim"]["mean"]


# Deconvolution


@pytest.mark.parametrize("kernel", [3, 7])
def test_without_rounding_a_known_blur_is_undone(images, kernel):
    released = blur(images.double(), kernel)

    found = deconvolved(released, kernel, 1e-12)

    assert (found - images).abs().max() < 0.01 < 0.1 < (released - images).abs().max()


def test_rounding_protects_a_blur(images):
    """The same division that was perfect drowns in half a grey level."""
    released = to_images(to_bytes(blur(images, 17)))

    assert (deconvolved(released, 17, 1e-12) - images).abs().mean() > 1
    assert (deconvolved(released, 17, 1e-3) - images).abs().mean() < (released - images).abs().mean()


@pytest.mark.parametrize(("kernel", "size"), [(3, 16), (7, 16), (17, 33), (31, 16)])
def test_the_blur_is_a_product_of_cosines_whatever_its_reach(kernel, size):
    """Against SciPy's convolution with mirrored borders."""
    signal = np.random.default_rng(0).random(size)

    forth, back = cosines(size)
    made = back @ (blur_response(kernel, size) * (forth @ torch.from_numpy(signal)))

    assert np.allclose(made, convolve1d(signal, gaussian_window(kernel).numpy(), mode="mirror"), atol=1e-12)
    assert torch.allclose(forth @ back, torch.eye(size, dtype=torch.float64), atol=1e-10)


def test_oblong_images_are_deconvolved(images):
    released = blur(images[..., :40].double(), 5)

    assert (deconvolved(released, 5, 1e-12) - images[..., :40]).abs().max() < 0.01


# Richardson and Lucy


def test_the_matrix_is_the_blur(images):
    made = blur_matrix(9, 64) @ images.double() @ blur_matrix(9, 64).T

    assert torch.allclose(made, blur(images.double(), 9), atol=1e-10)


def test_two_rounds_equal_the_textbook_formula(images):
    """Richardson 1972 with SciPy's convolution, inside the border; from the third round on ours is accelerated."""
    released = blur(images[:1].double(), 5)
    kernel = torch.outer(gaussian_window(5), gaussian_window(5)).numpy()

    ours = sharpen(released, 5, 2)

    textbook = [_two_rounds(plane.numpy(), kernel) for plane in released[0]]
    inside = (..., slice(16, -16), slice(16, -16))
    assert np.allclose(ours[0].numpy()[inside], np.stack(textbook)[inside], atol=1e-6)


def _two_rounds(released, kernel):
    estimate = released
    for _ in range(2):
        seen = released / convolve(estimate, kernel, mode="mirror")
        estimate = estimate * convolve(seen, kernel, mode="mirror")
    return estimate


def test_more_rounds_come_nearer_where_nothing_was_rounded(images):
    released = blur(images, 7)

    errors = [float((sharpen(released, 7, rounds) - images).square().mean()) for rounds in (0, 5, 20, 60)]

    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 3


def test_sharpening_keeps_the_brightness_and_stays_positive(images):
    found = sharpen(blur(images, 7), 7, 30)

    assert found.min() > 0
    assert torch.allclose(found.mean((2, 3)), images.mean((2, 3)), atol=0.01)


def test_without_blur_there_is_nothing_to_sharpen(images):
    assert torch.allclose(sharpen(images, 1, 10), images.clamp(min=1 / 1024), atol=1e-5)


# Wiener's smoother


def test_scipys_wiener_averages_across_colours():
    """A red dot on black leaks into green: the default window is 3x3x3."""
    picture = np.zeros((9, 9, 3), np.uint8)
    picture[4, 4, 0] = 200
    picture[..., 2] = np.random.default_rng(0).integers(0, 255, (9, 9))

    assert local_wiener(picture)[..., 1].max() > 0


def test_a_flat_picture_stays_as_it_is():
    flat = np.full((16, 16, 3), 90, np.uint8)
    flat[..., 1] = 0

    assert np.array_equal(local_wiener(flat * 0), flat * 0)
    assert np.isfinite(local_wiener(flat)).all()


# The attacks


@pytest.mark.parametrize("name", DEBLURRING)
@pytest.mark.parametrize("kernel", [7, 17])
def test_deconvolution_is_nearer_than_the_release(stage, kernel, name):
    assert gain(stage, blurred(stage, kernel), name) > 0.05


@pytest.mark.parametrize("kernel", [7, 17])
def test_scipys_wiener_is_not_nearer_than_the_release(stage, kernel):
    assert gain(stage, blurred(stage, kernel), "wiener") < 0.01


@pytest.mark.parametrize("name", DEBLURRING)
def test_a_blur_of_one_pixel_leaves_nothing_to_undo(stage, name):
    assert abs(gain(stage, blurred(stage, 1), name)) < 0.01


@pytest.mark.parametrize("name", DEBLURRING)
@pytest.mark.parametrize("defense", ["none", "noise_mix", "pixelize"])
def test_a_defense_without_blur_is_inapplicable(stage, name, defense):
    found = stage.attack(stage.registry.get("defenses", defense), entry(stage, name), SEED)

    assert found.status == "inapplicable" and "no known blur" in found.reason


def test_a_blur_of_unknown_kernel_is_inapplicable(stage):
    observed = stage.client.observe(blurred(stage, 7), entry(stage, "deconvolution"), SEED)
    unknown = replace(observed, _known=replace(observed.defense, params={"radius": 3}))

    with pytest.raises(Inapplicable, match="knob `kernel`"):
        known_kernel(unknown)
    assert known_kernel(observed) == 7
