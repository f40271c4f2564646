"""Unmixed pixels of a graft are found where they can be, and what lies under the others is filled in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.errors import HarnessError, Inapplicable
from harness.images import average, graft_mask, to_bytes, to_images
from harness.plugins.attacks.grafting import inpainting, masks_em
from harness.plugins.attacks.grafting.mask_network import MaskNetwork
from harness.plugins.attacks.interpolation import interpolation, interpolation_learned
from harness.randomness import torch_generator
from harness.run.scoring import must_beat_chance
from harness.types import Splits
from tests.helpers.planted import bench, dataset

SEED, SIZE = 0, 48
KNOBS = {"rounds": 10, "rehearsed": 12}


def generator():
    return torch_generator(b"the rng of an attack", "cpu")


def grafted(p, per="pixel", share=0.5):
    """Releases of pairs of colour wedges, their two sources (4, 2, 3, H, W), and the true mask."""
    y, x = torch.meshgrid(torch.linspace(0, 1, SIZE), torch.linspace(0, 1, SIZE), indexing="ij")
    first = torch.stack([0.1 + 0.3 * x, 0.2 + 0.2 * y, 0.3 - 0.2 * x])
    second = torch.stack([0.9 - 0.3 * y, 0.8 - 0.2 * x, 0.7 + 0.2 * x])
    sources = torch.stack([first, second])[None].repeat(4, 1, 1, 1, 1)
    kept = graft_mask(sources, p, per, generator())
    mixed = average(sources, torch.tensor([[share, 1 - share]]).expand(4, 2))
    return to_images(to_bytes(torch.where(kept, sources[:, 0], mixed))), sources, kept


@pytest.fixture(scope="module")
def stage(tmp_path_factory, photographs, classes):
    """A bench on photographs: 12 private, 12 public."""
    odd = np.arange(24) % 2 == 1
    parts = [dataset(photographs[rows], classes[rows]) for rows in (~odd, odd)]
    parts.append(dataset(photographs[:1, ..., ::-1].copy(), classes[:1]))  # strangers for the gallery: a mirror image
    data = Splits("photographs", *parts, fingerprint="0" * 32)
    return bench(tmp_path_factory.mktemp("interpolation"), data)


def graft(stage, **settings):
    return stage.registry.get("defenses", "graft_mix").with_settings(settings)


def seen(stage, defense, attack="interpolation"):
    return stage.client.observe(defense, stage.registry.get("attacks", attack), SEED)


# The mask


@pytest.mark.parametrize("per", ["pixel", "channel"])
@pytest.mark.parametrize("p", [0.6, 0.8])
def test_the_pixels_of_two_smooth_surfaces_are_distinguished(p, per):
    images, _, kept = grafted(p, per)

    found = masks_em.unmixed(images, p, per, rounds=10) > 0.5

    assert found.shape == kept.shape
    assert (found == kept).float().mean() > 0.99


def test_two_equal_surfaces_cannot_be_distinguished():
    """Nothing to see: the belief stays at the share that is known."""
    flat = torch.full((1, 3, SIZE, SIZE), 0.5)

    belief = masks_em.unmixed(flat, 0.7, "pixel", rounds=10)

    assert (belief - 0.7).abs().max() < 0.02


def test_a_surface_is_the_weighted_mean_of_a_pixels_neighbours():
    """Against the definition, at one pixel, without the pixel itself."""
    images = torch.rand(1, 3, 9, 9, generator=generator())
    weights = torch.rand(1, 1, 9, 9, generator=generator())
    y, x = np.mgrid[0:9, 0:9]
    window = np.exp(-((y - 4) ** 2 + (x - 4) ** 2) / (2 * 0.8**2)) * (np.maximum(abs(y - 4), abs(x - 4)) <= 2)
    window[4, 4] = 0
    share = window * weights[0, 0].numpy()

    surface = masks_em.normalised(images, weights, 0.8, others=True)

    expected = (images[0].numpy() * share).sum((1, 2)) / share.sum()
    assert surface[0, :, 4, 4].numpy() == pytest.approx(expected, abs=1e-4)


def test_inpainting_leaves_what_is_kept():
    images, _, kept = grafted(0.7, "channel")

    filled = masks_em.inpainted(images, kept)

    assert torch.equal(filled[kept], images[kept])
    assert not torch.equal(filled, images)


# Both sources


@pytest.mark.parametrize("method", ["convolve", "inpaint", "shift"])
def test_every_filling_finds_the_dominant_source_under_the_true_mask(method):
    images, sources, kept = grafted(0.6)

    found = inpainting.dominant(images, kept.float(), 0.5, method)

    assert (found - sources[:, 0]).abs().mean() < 0.02
    assert (images - sources[:, 0]).abs().mean() > 0.08


def test_the_other_source_is_solved_for_from_the_remainder():
    images, sources, kept = grafted(0.6)

    found = inpainting.remainder(
        images, kept.float(), 0.5, inpainting.dominant(images, kept.float(), 0.5, "shift"), 1.5
    )

    assert (found - sources[:, 1]).abs().mean() < 0.03


# The attack


def test_interpolation_is_nearer_to_photographs_than_the_release_or_a_median(stage):
    defense, attack = graft(stage, p=0.7), stage.registry.get("attacks", "interpolation")

    result = stage.attack(defense, attack, SEED)

    facts, look = result.facts, stage.release(defense, SEED).scores["dssim"]["mean"]
    assert result.status == "ok", result.reason
    assert result.scores["attacked_dssim"]["high"] < look
    assert facts["filling"] in ("convolve", "inpaint", "shift")
    assert facts[f"rehearsed_{facts['filling']}"] < min(facts["rehearsed_median"], facts["rehearsed_look"])
    assert facts["share_in_mixed"] == pytest.approx(0.5, abs=1e-3)


def test_where_every_pixel_is_unmixed_the_release_is_the_answer(stage):
    observation = seen(stage, graft(stage, p=1.0))

    guess = interpolation(observation, generator(), **KNOBS)

    released = observation.images[torch.from_numpy(observation.targets)]
    assert (guess.candidates[:, 0].int() - released.int()).abs().max() <= 1
    assert guess.report["rehearsed_look"] < 1e-6


def test_after_grafting_without_mixing_a_mixed_pixel_holds_nothing_of_the_dominant_source(stage):
    guess = interpolation(
        seen(stage, stage.registry.get("defenses", "graft").with_settings({"p": 0.7})), generator(), **KNOBS
    )

    assert guess.report["share_in_mixed"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("attack", [interpolation, interpolation_learned])
def test_a_defense_that_keeps_no_pixels_is_inapplicable(stage, attack):
    knobs = KNOBS if attack is interpolation else {"steps": 5, "rehearsed": 12}

    with pytest.raises(Inapplicable, match="keeps no pixels"):
        attack(seen(stage, stage.registry.get("defenses", "mix"), attack.__name__), generator(), **knobs)


def test_a_defense_without_a_known_ratio_is_inapplicable(stage):
    observation = seen(stage, graft(stage))
    unnamed = replace(observation, _known=replace(observation.defense, params={}))

    with pytest.raises(Inapplicable, match="no share p"):
        interpolation(unnamed, generator(), **KNOBS)


# Learned


def test_a_small_network_learns_the_mask_from_rehearsals(stage):
    observation = seen(stage, graft(stage, p=0.6), "interpolation_learned")

    report = interpolation_learned(observation, generator(), steps=150, rehearsed=12).report

    assert report["steps"] == 150 and 3_000 < report["parameters"] < 10_000
    assert report["held_out_accuracy"] > report["held_out_chance"] + 0.03
    assert report["held_out_precision"] > 0.65


def test_the_network_has_an_answer_for_every_entry_where_channels_are_grafted_apart():
    assert MaskNetwork(3)(*torch.zeros(2, 2, 3, 8, 8)).shape == (2, 3, 8, 8)


def test_a_network_no_better_than_a_constant_answer_learned_nothing(stage):
    """After one step it says that every pixel is unmixed, as a constant does."""
    observation = seen(stage, graft(stage, p=0.8), "interpolation_learned")

    guess = interpolation_learned(observation, generator(), steps=1, rehearsed=12)

    assert guess.report["learned"] is False
    assert guess.report["held_out_accuracy"] == pytest.approx(guess.report["held_out_chance"])


def test_undefended_images_are_their_own_answer(stage):
    """The proof run of a learned attack: nothing is mixed, nothing has to be learned."""
    observation = seen(stage, stage.undefended, "interpolation_learned")

    guess = interpolation_learned(observation, generator(), steps=5, rehearsed=12)

    must_beat_chance(stage.registry.get("attacks", "interpolation_learned"), guess.report, {})
    assert torch.equal(guess.candidates[:, 0], observation.images[torch.from_numpy(observation.targets)])


@pytest.mark.parametrize(
    ("attack", "knobs"),
    [(interpolation, {"rounds": 0, "rehearsed": 12}), (interpolation_learned, {"steps": 0, "rehearsed": 12})],
)
def test_knobs_that_do_nothing_are_refused(stage, attack, knobs):
    with pytest.raises(HarnessError, match=attack.__name__):
        attack(seen(stage, graft(stage), attack.__name__), generator(), **knobs)
