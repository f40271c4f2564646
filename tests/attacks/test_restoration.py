"""The dense closed form inverts what a solution holds, corrections agree with it, and images are varied rightly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.images import blur, pixelize, shuffle_blocks, to_images
from harness.observation import LabelledImages
from harness.plugins.attacks.multi_release import multi_release
from harness.plugins.attacks.restoration import linked, training
from harness.plugins.attacks.restoration.augmentation import augmented
from harness.plugins.attacks.restoration.measurement import measure
from harness.plugins.attacks.restoration.training import Batch, fit
from harness.registry import load_registry
from harness.train import convergence
from tests.helpers.epochs import Seen, generator, graft, mixed, noisy, shuffled, waves

NOISE = 0.002


def blurred(sources, weights, rng):
    return blur(mixed(sources, weights, rng), 7)


def cells(sources, weights, rng):
    return pixelize(mixed(sources, weights, rng), 5)


def gaussian_images(count, seed, size=16):
    """Images whose rows and columns have the covariance .9^distance, and that covariance's dense root."""
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    axis = np.linalg.cholesky(0.9**distance)
    draws = np.random.default_rng(seed).normal(size=(count, 3, size, size))
    return torch.from_numpy(0.5 + 0.1 * axis @ draws @ axis.T).float(), axis @ axis.T


def noise_like(images, seed=3):
    return NOISE * torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("function", [blurred, cells])
def test_the_first_estimate_is_the_linear_estimate_of_least_squared_error(function):
    """Of Gaussian images with a known covariance: mu + C A' (A C A' + N)^-1 (y - A mu), as one dense matrix."""
    seen = Seen(function, (0.75, 0.25)).observation
    own, axis = gaussian_images(256, 0)
    images, _ = gaussian_images(64, 1)
    apply = {blurred: lambda x: blur(x, 7), cells: lambda x: pixelize(x, 5)}[function]
    measured = apply(images) + noise_like(images)

    found = measure(seen, apply(own) + noise_like(own, 4), own).estimates(measured)[:, :3]

    pixels = torch.eye(256).view(256, 1, 16, 16).expand(-1, 3, -1, -1)
    matrix = apply(pixels)[:, 0].reshape(256, 256).T.double().numpy()
    covariance = 0.01 * np.kron(axis, axis)
    gain = covariance @ matrix.T @ np.linalg.inv(matrix @ covariance @ matrix.T + NOISE**2 * np.eye(256))
    residual = (measured - apply(torch.full_like(images, 0.5))).reshape(-1, 256).double().numpy()
    dense = 0.5 + (residual @ gain.T).reshape(images.shape)
    errors = [np.square(estimate - images.numpy()).mean() for estimate in (found.numpy(), dense)]
    assert errors[0] < 1.05 * errors[1]
    assert errors[0] < 0.8 * float((measured - images).square().mean())


def test_what_was_measured_of_cells_holds_exactly_after_the_correction():
    seen = Seen(cells, (0.75, 0.25)).observation
    own = to_images(seen.public.images)
    exact = pixelize(own, 5)
    measured = measure(seen, exact, own)

    corrected = measured.corrected(torch.full_like(own, 0.3), exact)

    assert (pixelize(corrected, 5) - exact).abs().max() < 1e-4
    assert torch.allclose(measured.corrected(own, exact), own, atol=1e-4)  # what agrees already is left alone


def test_block_means_of_shuffled_images_hold_after_the_correction():
    seen = Seen(shuffled, (0.75, 0.25), traits=("linear", "permutes_in_blocks"), params={"block": 4}).observation
    own = to_images(seen.public.images)
    means = pixelize(own, 4)
    measured = measure(seen, means, own)

    corrected = measured.corrected(shuffle_blocks(own, 4, torch.Generator()) + 0.1, means)

    assert (pixelize(corrected, 4) - means).abs().max() < 1e-4


def test_a_shuffled_release_itself_holds_its_block_means():
    """What varies inside the blocks is no noise of what was measured."""
    seen = Seen(shuffled, (0.75, 0.25), traits=("linear", "permutes_in_blocks"), params={"block": 4}).observation
    own = to_images(seen.public.images)
    released = shuffle_blocks(own, 4, torch.Generator().manual_seed(1))

    corrected = measure(seen, released, own).corrected(torch.full_like(own, 0.3), released)

    assert (pixelize(corrected, 4) - pixelize(own, 4)).abs().max() < 1e-4


def test_a_correction_never_adds_what_the_blur_has_removed():
    """Noise of a frequency that the blur removes would be amplified without bounds by the inverse."""
    seen = Seen(blurred, (0.75, 0.25)).observation
    own = to_images(seen.public.images)
    measured = blur(own, 7) + noise_like(own)
    known = measure(seen, measured, own)

    assert (known.corrected(own, measured) - own).square().mean() < 0.1 * (own - own.mean(0)).square().mean()
    assert (known.estimates(measured)[:, :3] - own).square().mean() < 0.5 * (blur(own, 7) - own).square().mean()


@pytest.mark.parametrize("function", [mixed, noisy, graft, shuffled])
def test_without_a_fixed_map_of_rows_and_columns_nothing_is_measured(function):
    """Mixing alone loses nothing; noise, grafting and undeclared shuffling are no fixed map."""
    seen = Seen(function, (0.75, 0.25)).observation
    own = to_images(seen.public.images)

    assert measure(seen, own, own) is None


def test_what_is_not_the_map_of_the_images_is_no_measurement():
    seen = Seen(blurred, (0.75, 0.25)).observation
    own = to_images(seen.public.images)

    assert measure(seen, blur(own.roll(1, 0), 7), own) is None


def test_few_public_images_are_enough():
    seen = Seen(cells, (0.75, 0.25)).observation
    seen = replace(seen, _public=LabelledImages(seen.public.images[:3], seen.public.labels[:3]))
    own = to_images(seen.public.images)

    found = measure(seen, pixelize(own, 5), own).estimates(pixelize(own, 5))

    assert bool(found.isfinite().all()) and found.abs().max() < 3


# Varied images


def test_varied_images_are_the_images_moved_and_recoloured():
    images = torch.from_numpy(waves(70, 5, 32))

    one, same, other = (augmented(images, np.random.default_rng(seed)) for seed in (1, 1, 2))

    assert one.dtype == torch.uint8 and one.shape == images.shape
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert (one != images).flatten(1).any(1).float().mean() > 0.95
    assert (to_images(one).mean((1, 2, 3)) - to_images(images).mean((1, 2, 3))).abs().mean() < 0.1


@pytest.mark.parametrize(("function", "varied"), [(cells, True), (noisy, False)])
def test_images_are_varied_where_a_fixed_map_was_measured(monkeypatch, function, varied):
    """Elsewhere the defense's own draws vary what the network sees."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 40)
    monkeypatch.setattr(convergence, "_LEAST_FALL", 1.0)
    seen, trained_on = Seen(function, (0.75, 0.25), epochs=2), []
    fitted = linked.fit
    monkeypatch.setattr(linked, "fit", lambda rehearsed, *rest, **more: trained_on.append(rehearsed(0)) or fitted(
        rehearsed, *rest, **more))  # fmt: skip

    multi_release(seen.observation, generator(), train_epochs=1, width=8, batch=8)

    own = {image.tobytes() for image in seen.observation.public.images.numpy()}
    own |= {image.tobytes() for image in seen.observation.public.images.flip(-1).contiguous().numpy()}
    assert all(image.tobytes() in own for image in trained_on[0].truths[:, 0].contiguous().numpy()) is not varied


# Restored images


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.5]])
def test_a_mirror_image_is_restored_to_the_mirror_image(monkeypatch, weights):
    """Exactly, whatever the network: the answer is the mean over both."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 20)
    monkeypatch.setattr(convergence, "_LEAST_FALL", 1.0)
    monkeypatch.setattr(training.INGREDIENTS, "mirrored", True)
    truths = torch.from_numpy(np.stack([waves(48, seed) for seed in range(len(weights))], 1))
    mixture = (torch.tensor(weights).view(1, -1, 1, 1, 1) * truths).sum(1)
    data = Batch(0.6 * mixture / 255, truths, torch.tensor([weights]).expand(48, -1))
    restorer = fit(lambda done: data, data, key=b"k", device="cpu", rounds=1, width=8, batch=8)

    restored = restorer.restore(data.inputs)
    again = restorer.restore(data.inputs.flip(-1)).flip(-1)

    assert restorer.report["answers"] == "network"
    if len(weights) > 1:  # in either order
        swapped = (restored.int() - again.int()).abs().amax((1, 2, 3, 4)) > 1
        again = torch.where(swapped.view(-1, 1, 1, 1, 1), again.flip(1), again)
    assert (restored.int() - again.int()).abs().max() <= 1


def test_the_ingredients_are_no_knobs():
    for name in ("multi_release", "oracle", "inversion_linked", "inversion"):
        assert set(load_registry().get("attacks", name).params) == {"train_epochs", "width", "batch"}
    assert all(vars(training.INGREDIENTS).values())
