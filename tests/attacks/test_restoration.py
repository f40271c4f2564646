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
from harness.plugins.attacks.restoration.finish import Finish, choose_finish, restored
from harness.plugins.attacks.restoration.measurement import measure
from harness.plugins.attacks.restoration.training import Batch, fit
from harness.registry import bind, load_registry
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


def seen_bytes(images):
    """(n, 1, 3, H, W) uint8."""
    return (images * 255).round().to(torch.uint8)[:, None]


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


@pytest.mark.parametrize("function", [blurred, cells])
def test_a_correction_is_nearly_the_mean_given_the_restored_image_and_what_was_measured(function):
    """Of a Gaussian error with a tenth of the images' covariance: x + C A' (A C A' + N)^-1 (y - A x), dense."""
    seen = Seen(function, (0.75, 0.25)).observation
    own, axis = gaussian_images(256, 0)
    images, _ = gaussian_images(64, 1)
    guess = images + 0.1**0.5 * (gaussian_images(64, 2)[0] - 0.5)
    apply = {blurred: lambda x: blur(x, 7), cells: lambda x: pixelize(x, 5)}[function]
    measured = apply(images) + noise_like(images)

    found = measure(seen, apply(own) + noise_like(own, 4), own).corrected(guess, measured)

    pixels = torch.eye(256).view(256, 1, 16, 16).expand(-1, 3, -1, -1)
    matrix = apply(pixels)[:, 0].reshape(256, 256).T.double().numpy()
    covariance = 0.1 * 0.01 * np.kron(axis, axis)
    gain = covariance @ matrix.T @ np.linalg.inv(matrix @ covariance @ matrix.T + NOISE**2 * np.eye(256))
    missing = (measured - apply(guess)).reshape(-1, 256).double().numpy()
    dense = guess + torch.from_numpy(missing @ gain.T).view(images.shape)
    before, after, least = (float((each - images).square().mean()) for each in (guess, found, dense))
    assert after < 0.8 * before
    assert least <= after < 1.5 * least  # whose weights do not know that coefficients are correlated


@pytest.mark.parametrize(("grid", "symmetric"), [(4, True), (5, None)])
def test_cells_that_differ_in_size_are_known_to_be_no_mirror_images(grid, symmetric):
    seen = Seen(lambda sources, weights, rng: pixelize(mixed(sources, weights, rng), grid), (0.75, 0.25)).observation
    own = to_images(seen.public.images)

    found = measure(seen, pixelize(own, grid), own).symmetric

    alike = torch.allclose(pixelize(own.flip(-1), grid), pixelize(own, grid).flip(-1), atol=1e-3)
    assert found is alike and symmetric in (None, alike)


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


# What comes after the network

CHUNKS = [slice(0, 30), slice(30, 60)]


def truth_and_cells():
    seen = Seen(cells, (0.75, 0.25)).observation
    own = to_images(seen.public.images)
    return own, pixelize(own, 5), measure(seen, pixelize(own, 5), own)


def test_the_correction_is_chosen_where_the_network_contradicts_what_was_measured():
    own, measured, known = truth_and_cells()

    half_as_bright = lambda inputs: 0.5 * inputs[:, None]  # noqa: E731
    finish, facts = choose_finish(half_as_bright, measured, seen_bytes(own), CHUNKS, known)

    assert finish.strength == 1 and facts["finish"] == str(finish)
    scores = facts["held_out_dssim"]
    assert len(scores) == 6 and scores[str(finish)] == min(scores.values())


def test_the_correction_is_not_chosen_where_the_measurement_is_wrong():
    own, measured, known = truth_and_cells()
    shifted = torch.cat([measured.flip(0), own], 1)  # what was measured is of other images

    finish, _ = choose_finish(lambda inputs: inputs[:, None, 3:], shifted, seen_bytes(own), CHUNKS, known)

    assert finish.strength == 0


def test_the_mirrored_mean_is_not_chosen_where_a_side_is_restored_differently():
    own = truth_and_cells()[0]
    ramp = torch.linspace(0, 0.4, own.shape[-1])

    finish, facts = choose_finish(lambda inputs: (inputs + ramp)[:, None], own - ramp, seen_bytes(own), CHUNKS, None)

    assert finish == (False, 0) and len(facts["held_out_dssim"]) == 2
    assert torch.allclose(restored(lambda x: (x + ramp)[:, None], own - ramp, finish, None)[:, 0], own, atol=1e-6)


@pytest.mark.parametrize("shape", [(11, 11), (17, 23), (32, 20)])
def test_the_choice_is_by_the_harness_own_dssim(shape):
    images, truths = torch.rand(2, 5, 3, *shape, generator=torch.Generator().manual_seed(1)).unbind()
    metric = bind(load_registry().get("metrics", "dssim"))

    _, facts = choose_finish(lambda inputs: inputs[:, None], images, seen_bytes(truths), [slice(0, 5)], None)

    exact = metric(images, to_images(seen_bytes(truths)[:, 0])).mean()
    assert facts["held_out_dssim"]["no mirrored mean, correction 0"] == pytest.approx(float(exact), abs=1e-5)


def test_a_release_that_holds_a_mixture_corrects_no_single_source(monkeypatch):
    """Where several images are restored from one release, only the mirrored mean is chosen."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 20)
    monkeypatch.setattr(convergence, "_LEAST_FALL", 1.0)
    own, measured, known = truth_and_cells()
    data = Batch(measured, seen_bytes(own).expand(-1, 2, -1, -1, -1), torch.full((60, 2), 0.5))

    restorer = fit(lambda done: data, data, key=b"k", device="cpu", rounds=1, width=8, batch=8, measurement=known)

    assert restorer.finish.strength == 0 and restorer.measurement is None


def one_sided(sources, weights, rng):
    """A blur towards one side: a mirrored release is the release of no image."""
    images = mixed(sources, weights, rng)
    return (images + images.roll(1, -1) + images.roll(2, -1)) / 3


@pytest.mark.parametrize("function", [one_sided, cells])
def test_what_the_network_trains_on_is_the_map_of_its_truths(monkeypatch, function):
    """Solved inputs are mirrored only where the map is: at any size, square or not."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 40)
    monkeypatch.setattr(convergence, "_LEAST_FALL", 1.0)
    images = waves(40, 1, 24)[:, :, :17]
    seen = Seen(function, (0.75, 0.25), epochs=6, images=images).observation
    seen = replace(seen, _public=LabelledImages(torch.from_numpy(waves(60, 2, 24)[:, :, :17]), np.arange(60) % 2))
    trained_on, fitted = [], linked.fit
    monkeypatch.setattr(linked, "fit", lambda rehearsed, *rest, **more: trained_on.append(rehearsed(0)) or fitted(
        rehearsed, *rest, **more))  # fmt: skip

    guess = multi_release(seen, generator(), train_epochs=1, width=8, batch=8)

    truths = to_images(trained_on[0].truths)
    mapped = function(truths, torch.ones(len(truths), 1), None)
    assert guess.candidates.shape[2:] == (3, 17, 24)
    assert (trained_on[0].inputs[:, :3].float() - mapped).square().mean() < 0.02**2


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
    restorer = replace(restorer, finish=Finish(mirrored=True))

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
