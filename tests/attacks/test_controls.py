"""What every board is measured from: the release, its smoothing, one mean for all, and another image at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import piq
import pytest
import torch

from harness.errors import HarnessError, Inapplicable
from harness.images import to_images
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.common.filters import smoothed
from harness.randomness import torch_generator
from harness.registry import bind
from tests.helpers.planted import bench, dataset, defense, splits, stripes

SEED = 0
CONTROLS = ("look", "smooth", "mean_image", "random_other")


def generator():
    return torch_generator(b"the rng of an attack", "cpu")


def entry(stage, name, **settings):
    return stage.registry.get("attacks", name).with_settings(settings)


def noise(stage, sigma):
    return stage.registry.get("defenses", "noise_mix").with_settings({"sigma": sigma, "weights": 1.0})


def guess(stage, against, name):
    return bind(entry(stage, name))(stage.client.observe(against, entry(stage, name), SEED), generator())


@pytest.fixture(scope="module")
def stage():
    return bench(None, splits(size=32))


# Looking


def test_no_attack_on_an_undefended_release_is_the_original(stage):
    seen = stage.attack(stage.undefended, entry(stage, "look"), SEED)

    assert seen.status == "ok", seen.reason
    assert seen.scores["attacked_dssim"]["mean"] == pytest.approx(0, abs=1e-6)


def test_no_attack_scores_like_the_release(stage):
    mix = stage.registry.get("defenses", "mix")

    seen, released = stage.attack(mix, entry(stage, "look"), SEED), stage.release(mix, SEED)

    assert seen.scores["attacked_dssim"]["mean"] == pytest.approx(released.scores["dssim"]["mean"])
    assert released.scores["dssim"]["mean"] > 0.1


# Smoothing


def test_smoothing_removes_strong_noise_with_a_wide_window(stage):
    noisy, faint = noise(stage, 60), noise(stage, 4)

    strong, weak = (guess(stage, against, "smooth").report["setting"] for against in (noisy, faint))
    gained = stage.attack(noisy, entry(stage, "smooth"), SEED).scores["attacked_dssim"]["mean"]

    assert float(strong.split()[1]) > float(weak.split()[1])
    assert gained < stage.release(noisy, SEED).scores["dssim"]["mean"] - 0.2


def test_smoothing_leaves_an_undefended_release_as_it_is(stage):
    made = guess(stage, stage.undefended, "smooth")

    observed = stage.client.observe(stage.undefended, entry(stage, "smooth"), SEED)
    assert made.report["setting"] == "gaussian 0"
    assert torch.equal(made.candidates[:, 0], observed.images[observed.targets])


def test_a_gaussian_of_one_pixel_is_scipys(photographs):
    """Far from the border, and to the rounding of OpenCV's 8-bit arithmetic."""
    from scipy.ndimage import gaussian_filter

    made = smoothed(torch.from_numpy(photographs.copy()), ("gaussian", 1.0)).numpy().astype(float)

    reference = gaussian_filter(photographs.astype(float), (0, 0, 1, 1))
    inside = (..., slice(8, -8), slice(8, -8))
    assert np.abs(made[inside] - reference[inside]).mean() < 0.5


def test_a_median_is_scipys(photographs):
    from scipy.ndimage import median_filter

    made = smoothed(torch.from_numpy(photographs.copy()), ("median", 5)).numpy()

    inside = (..., slice(2, -2), slice(2, -2))
    assert np.array_equal(made[inside], median_filter(photographs, (1, 1, 5, 5))[inside])


# The mean and the other


def test_the_mean_image_is_numpys_mean(stage):
    mix = stage.registry.get("defenses", "mix")

    made = guess(stage, mix, "mean_image").candidates

    release, _ = stage.client.release(mix, SEED, 0)
    assert made.shape == (30, 1, 3, 32, 32)
    assert (made.numpy() == release.images.numpy().mean(0).round().astype(np.uint8)).all()


def test_the_mean_image_does_not_depend_on_the_release(stage):
    """The undefended release is the original; the mean is as far from each as before."""
    mean, other = (stage.attack(stage.undefended, entry(stage, name), SEED) for name in ("mean_image", "random_other"))

    assert mean.scores["attacked_dssim"]["mean"] > 0.6
    assert other.scores["attacked_dssim"]["mean"] > 0.4


@pytest.mark.parametrize("sources", [1, 2, 3])
def test_another_image_is_never_a_source(stage, sources):
    mixed = stage.registry.get("defenses", "mix").with_settings({"weights": [1 / sources] * sources})

    made = guess(stage, mixed, "random_other").candidates

    private = {image.tobytes() for image in stage.splits.private.images}
    public = {image.tobytes() for image in stage.splits.public.images}
    offered = [{image.numpy().tobytes() for image in row} for row in made]
    assert all(len(row) == sources and row <= public and not row & private for row in offered)
    assert len(set().union(*offered)) > 15  # drawn anew for every target


def test_controls_are_marked_in_the_registry(stage):
    control = {name for name in CONTROLS if "control" in entry(stage, name).traits}

    assert control == {"mean_image", "random_other"}


# Choosing by rehearsal


def observed(stage, against, granted=("defense", "public")):
    return stage.client.observe(against, replace(entry(stage, "smooth"), granted=granted), SEED)


def test_the_best_setting_is_the_one_with_the_highest_ssim(stage):
    """Against piq on the whole rehearsal, by hand."""
    watching = observed(stage, stage.undefended)

    setting, scores = rehearse.best_setting(
        watching, [0, 7, 20], lambda releases, shift: releases.roll(shift, -1), images=12
    )

    released, originals = rehearse.rehearsal(watching, 12)
    by_hand = [float(piq.ssim(to_images(released.roll(s, -1)), to_images(originals), downsample=False)) for s in scores]
    assert setting == 0 and list(scores) == [0, 7, 20] and len(released) == 12
    assert list(scores.values()) == pytest.approx(by_hand, abs=1e-5)


def test_of_equal_settings_the_first_is_chosen(stage):
    setting, _ = rehearse.best_setting(
        observed(stage, stage.undefended), ["b", "a"], lambda releases, _: releases, images=6
    )

    assert setting == "b"


def test_of_several_guesses_the_best_counts(stage):
    """As in the scoring: a bad second candidate changes nothing."""

    def guesses(releases, count):
        return torch.stack([releases, *[255 - releases] * (count - 1)][::-1], 1)

    _, scores = rehearse.best_setting(observed(stage, stage.undefended), [1, 2], guesses, images=6)

    assert scores[1] == pytest.approx(1) and scores[2] == pytest.approx(1)


def test_a_rehearsal_within_classes_takes_enough_of_each():
    many = dataset(stripes(40, seed=3)[0], np.repeat(np.arange(20), 2))
    within = bench(None, replace(splits(), public=many))
    mixed = within.registry.get("defenses", "mix").with_settings({"intra_class": True})

    rows = rehearse.first_rows(observed(within, mixed), images=8)

    assert np.bincount(many.labels[rows]).tolist() == [2] * 20


def test_too_few_images_to_rehearse_on_are_inapplicable():
    lonely = bench(None, splits(public=1))

    with pytest.raises(Inapplicable, match="1 public images are too few to mix 2"):
        rehearse.rehearsal(observed(lonely, lonely.registry.get("defenses", "mix")), 8)


def test_no_setting_at_all_is_refused(stage):
    with pytest.raises(HarnessError, match="no setting"):
        rehearse.best_setting(observed(stage, stage.undefended), [], lambda releases, _: releases)


def test_a_nonlinear_defense_is_smoothed_as_well(stage):
    """Nothing is required of a third party's defense but that it runs."""
    turned = bench(None, splits(size=32), defense("turn"))

    assert turned.attack(defense("turn"), entry(stage, "smooth"), SEED).status == "ok"
