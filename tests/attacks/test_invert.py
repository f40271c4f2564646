"""Descent through the defense explains the release, and sees what the defense averaged away only by its prior."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from harness.errors import Inapplicable
from harness.images import average, to_bytes, to_images
from harness.plugins.attacks.common.rehearse import expected_weights
from harness.plugins.attacks.invert import descend, invert, starting_images, total_variation
from harness.randomness import torch_generator
from harness.registry import bind
from harness.types import Splits
from tests.helpers.planted import bench, dataset, defense

SEED = 0


def generator(key=b"the rng of an attack"):
    return torch_generator(key, "cpu")


@pytest.fixture(scope="module")
def stage(photographs, classes):
    """Quarters of photographs, 32x32, in two roles; each in one."""
    images = photographs[..., 16:48, 16:48]
    parts = [dataset(images[rows], classes[rows]) for rows in (slice(0, None, 2), slice(1, None, 2))]
    parts.append(dataset(images[:1, ..., ::-1].copy(), classes[:1]))  # strangers for the gallery: a mirror image
    return bench(None, Splits("photographs", *parts, fingerprint="0" * 32))


def entry(stage, **settings):
    return stage.registry.get("attacks", "invert").with_settings(settings)


def against(stage, name, **settings):
    return stage.registry.get("defenses", name).with_settings(settings)


def observed(stage, defended):
    return stage.client.observe(defended, entry(stage), SEED)


def gain(stage, defended):
    found = stage.attack(defended, entry(stage), SEED)
    assert found.status == "ok", found.reason
    return stage.release(defended, SEED).scores["dssim"]["mean"] - found.scores["attacked_dssim"]["mean"]


def found_sources(watching, weights, strength, key=b"rng"):
    released = to_images(watching.images)
    shares = torch.tensor(weights).expand(len(released), -1)
    start = released.unsqueeze(1).repeat(1, len(weights), 1, 1, 1)
    return descend(watching, released, start, shares, generator(key), steps=60, rate=0.05, strength=strength)


# Descent


def test_the_solution_rounds_to_the_release(stage):
    """Without a prior, for a defense without random draws: nearly every value lies within half a grey level."""
    watching = observed(stage, against(stage, "pixelize_mix", grid=8))

    sources = found_sources(watching, [0.75, 0.25], 0.0)

    made = watching.apply(sources, torch.tensor([[0.75, 0.25]]).expand(len(sources), -1), generator())
    assert (to_bytes(made).int() - watching.images.int()).abs().float().mean() < 0.5


def test_the_prior_flattens_the_source_with_the_smallest_share(stage):
    """The dominant source explains a release with the least variation; the other stays flat."""
    sources = found_sources(observed(stage, against(stage, "mix", weights=[0.75, 0.25])), [0.75, 0.25], 0.03)

    dominant, other = (float(sources[:, column].diff(dim=-1).abs().mean()) for column in (0, 1))
    assert other < dominant / 2


def test_sources_stay_in_the_range_of_images(stage):
    sources = found_sources(observed(stage, against(stage, "noise_mix", sigma=60)), [0.75, 0.25], 0.001)

    assert sources.min() >= 0 and sources.max() <= 1


def test_other_random_draws_lead_to_nearly_the_same_sources(stage):
    """Expectation over transformations: what a single draw does is averaged out."""
    watching = observed(stage, against(stage, "noise_mix", weights=1.0))

    one, another = (found_sources(watching, [1.0], 0.03, key) for key in (b"one", b"another"))

    assert (one - another).abs().mean() < 4 / 255


def test_total_variation_is_the_length_of_the_slopes():
    """A step of 0.6 along 8 of 9 rows: the last row has no neighbour below it and does not count."""
    step = torch.zeros(9, 9)
    step[:, 4:] = 0.6

    assert float(total_variation(step)) == pytest.approx(8 * 0.6 + 8 * 7 * 0.01, rel=1e-3)


# What it knows


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.75, 0.25], [0.75, 0.25]),
        ([[0.5, 0.5], [0.7, 0.3]], [0.6, 0.4]),
        ({"beta": 1.0}, [0.75, 0.25]),  # the larger part of a stick that is broken anywhere
        ("distortion", [0.6, 0.4]),  # .3 to .7 in five steps, the larger first: (.7 + .6 + .5 + .6 + .7) / 5 = .62
        ([0.7, 0.2, 0.1], [0.7, 0.2, 0.1]),
    ],
)
def test_the_expected_weights_are_those_of_the_published_mixing(stage, weights, expected):
    mixed = against(stage, "mix")
    mixed = replace(mixed, mixing={**mixed.mixing, "weights": weights})

    found = expected_weights(observed(stage, mixed), b"key")

    assert found.tolist() == pytest.approx(expected, abs=0.04)


def test_with_a_known_blur_it_starts_from_the_deconvolution(stage):
    blurred, mixed = (observed(stage, against(stage, name)) for name in ("blur", "mix"))
    released = to_images(blurred.images)

    assert total_variation(starting_images(blurred, released)) > 1.3 * total_variation(released)
    assert torch.equal(starting_images(mixed, released), released)


# The attack


@pytest.mark.parametrize(
    ("name", "settings", "least"),
    [
        ("blur", {"kernel": 9}, 0.05),
        ("noise_mix", {"sigma": 60, "weights": 1.0}, 0.1),
        ("pixelize", {"grid": 11}, 0.02),
    ],
)
def test_inversion_is_nearer_than_the_release(stage, name, settings, least):
    assert gain(stage, against(stage, name, **settings)) > least


def test_inversion_finds_nothing_more_in_an_undefended_release(stage):
    assert abs(gain(stage, stage.undefended)) < 0.02


def test_sources_of_equal_share_are_not_separated(stage):
    """The sources of a mixture of equals are exchangeable: no prior on each alone separates them."""
    assert abs(gain(stage, against(stage, "mix"))) < 0.02


@pytest.mark.parametrize("sources", [1, 2, 3])
def test_it_offers_as_many_candidates_as_sources(stage, sources):
    mixed = against(stage, "mix", weights=[1 / sources] * sources)
    quick = entry(stage, steps=2, variation=[0.01])

    guess = bind(quick)(observed(stage, mixed), generator())

    assert guess.candidates.shape == (len(guess.candidates), sources, 3, 32, 32)
    assert len(guess.candidates) == len(observed(stage, mixed).targets)


def test_the_second_candidate_is_the_mixture(stage):
    """Of a mixture without prior or obfuscation that is the release itself."""
    guess = invert(
        observed(stage, against(stage, "mix", weights=[0.6, 0.4])), generator(), steps=1, rate=1e-9, variation=[0]
    )

    watching = observed(stage, against(stage, "mix", weights=[0.6, 0.4]))
    assert (guess.candidates[:, 1].int() - watching.images[watching.targets].int()).abs().max() <= 1


def test_a_defense_that_is_not_linear_is_inapplicable(stage):
    """Nothing is declared of the planted one."""
    found = stage.attack(defense("turn"), entry(stage), SEED)

    assert found.status == "inapplicable" and "no trait `linear`" in found.reason


def test_a_defense_without_a_gradient_is_inapplicable(stage, monkeypatch):
    watching = observed(stage, stage.undefended)
    monkeypatch.setattr(type(watching), "apply", lambda self, sources, weights, rng: average(sources.detach(), weights))

    with pytest.raises(Inapplicable, match="no gradient"):
        found_sources(watching, [1.0], 0.0)
