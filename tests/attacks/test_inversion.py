"""Learned inversion undoes invertible defenses, reconstructs nothing from noise, and reports failed training."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import piq
import pytest
import torch

from harness.errors import HarnessError, Inapplicable, NotConverged
from harness.images import average, to_bytes, to_images
from harness.observation import KnownDefense, LabelledImages, Observation
from harness.plugins.attacks.inversion import _rehearsal, inversion
from harness.plugins.attacks.restoration import training as restorer
from harness.plugins.attacks.restoration.loss import dominated, restoration_loss, ssim
from harness.plugins.attacks.restoration.training import MOST_PICTURES, Batch, fit
from harness.plugins.attacks.restoration.unet import UNet
from harness.randomness import torch_generator
from harness.registry import Entry
from harness.release import Scheme, obfuscate
from harness.run.scoring import must_beat_chance
from harness.train import convergence, memo
from tests.helpers.planted import CLASSES, stripes

KEY = b"k" * 32
KNOBS = {"train_epochs": 1, "width": 8, "batch": 8}


@pytest.fixture
def hurried(monkeypatch):
    """Trainings of a few steps: for what does not depend on how well they end."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 10)
    monkeypatch.setattr(convergence, "_LEAST_FALL", 1.0)


@pytest.fixture
def short(monkeypatch):
    """Stripes of 16 px are learned in less than the thousand steps that photographs take."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 250)


def generator(key=b"the rng of an attack"):
    return torch_generator(key, "cpu")


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def observed(function, weights=(1.0,), private=24, public=60, size=16, **mixing):
    """What an adversary sees of a planted defense, and the originals: dominant ones, then all (n, k, ...)."""
    mixing = {"weights": list(weights), "pairing": "permutation", "intra_class": False, "label": "dominant", **mixing}
    scheme = Scheme("planted", function, mixing)
    images, labels = stripes(private, seed=1, size=size)
    release, secret = obfuscate(scheme, images, labels, 3, KEY)
    known = KnownDefense({}, mixing, frozenset())
    theirs, theirs_labels = stripes(public, 2, size)
    own = LabelledImages(torch.from_numpy(theirs), theirs_labels)
    granted = frozenset({"defense", "public"})
    seen = Observation(
        release.images, np.arange(len(release)), CLASSES, scheme.sources, "cpu", granted,
        _known=known, _scheme=scheme, _public=own, _key=KEY,
    )  # fmt: skip
    return seen, to_images(torch.from_numpy(images[secret.dominant_rows])), images[secret.sources]


def dissimilarity(images, originals):
    return 1 - ssim(to_images(images), originals, step=1)


# Planted defenses


def negative(sources, weights, rng):
    """Colours swapped and grey levels inverted, with a little noise: invertible but for the noise."""
    seen = 1 - sources[:, 0].flip(1)
    return seen + 0.02 * torch.randn(seen.shape, generator=rng)


def static(sources, weights, rng):
    """Fresh noise, without anything of the image."""
    return torch.rand(sources[:, 0].shape, generator=rng)


def mixed(sources, weights, rng):
    return average(sources, weights)


# Reconstructions


def test_an_invertible_defense_is_undone(short):
    seen, originals, _ = observed(negative)

    guess = inversion(seen, generator(), **KNOBS)

    looked = dissimilarity(seen.images, originals).mean()
    inverted = dissimilarity(guess.candidates[:, 0], originals).mean()
    assert looked > 0.9
    assert inverted < 0.2
    assert guess.report["steps"] >= 250 and guess.report["last_quarter_fall"] < 0.02


def test_it_reconstructs_nothing_from_pure_noise(monkeypatch):
    """A reconstruction from noise is no nearer to its own original than to others, and no better than the mean."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 50)
    seen, originals, _ = observed(static, private=48)

    guess = inversion(seen, generator(), **KNOBS)

    own = dissimilarity(guess.candidates[:, 0], originals)
    others = torch.stack([dissimilarity(guess.candidates[:, 0], originals.roll(by, 0)) for by in range(1, 48)]).mean(0)
    mean_image = to_images(seen.public.images).mean(0).expand_as(originals)
    lead = others - own
    assert lead.mean() < 3 * lead.std() / 48**0.5
    assert own.mean() > 0.95 * (1 - ssim(mean_image, originals, step=1)).mean()


def test_where_there_is_nothing_to_learn_it_says_so_and_answers_a_constant(short):
    """The mean or median public image, whichever is better on held-out images: the same for every target."""
    guess = inversion(observed(static)[0], generator(), **KNOBS)

    report = guess.report
    assert report["learned"] is False and report["answers"] == "constant"
    assert report["constant_loss"] < report["release_loss"]
    assert (guess.candidates == guess.candidates[:1]).all()


def test_undefended_releases_are_answered_as_they_are_and_prove_the_recipe(short):
    """The held-out loss is far below that of a constant; nothing is nearer to the originals than the release."""
    seen, _, _ = observed(mixed)

    guess = inversion(seen, generator(), **KNOBS)

    assert guess.report["learned"] is True and guess.report["answers"] == "release"
    assert torch.equal(guess.candidates[:, 0], seen.images)


def test_a_network_that_gains_nothing_over_the_release_leaves_it_as_it_is(monkeypatch):
    """Half as bright, and a learning rate of zero: the release is still nearer than any constant."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 20)
    monkeypatch.setattr(restorer, "_RATE", 0.0)
    seen, _, _ = observed(lambda sources, weights, rng: sources[:, 0] * 0.5)

    guess = inversion(seen, generator(), **KNOBS)

    assert guess.report["learned"] is False and guess.report["answers"] == "release"
    assert torch.equal(guess.candidates[:, 0], seen.images)


@pytest.mark.parametrize("function", [mixed, static])
def test_an_absurd_learning_rate_is_a_failed_training(monkeypatch, function):
    """On undefended releases as on noise: it ends above the best constant image, or diverges."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 50)
    monkeypatch.setattr(restorer, "_RATE", 3.0)

    with pytest.raises(NotConverged, match=r"significantly above|diverged"):
        inversion(observed(function)[0], generator(), **KNOBS)


def test_pictures_of_other_originals_teach_nothing(short):
    """A sabotaged recipe: every undefended release is paired with another image. That is no proof."""
    images = torch.from_numpy(stripes(80, 3, 16)[0])
    other = images.roll(1, 0)[:, None]

    taught = Batch(images[:60], other[:60], torch.ones(60, 1))
    held_out = Batch(images[60:], images[60:].roll(1, 0)[:, None], torch.ones(20, 1))

    report = fitted(lambda done: taught, held_out).report

    assert report["learned"] is False
    with pytest.raises(NotConverged, match="learned nothing"):
        must_beat_chance(Entry("inversion", "attacks", "here:inversion", kind="reconstruction"), report, {})


def test_two_sources_of_equal_share_are_separated(short):
    """At the better assignment the candidates are nearer to the sources than the release."""
    seen, _, sources = observed(mixed, (0.5, 0.5))

    guess = inversion(seen, generator(), **KNOBS)

    truths = to_images(torch.from_numpy(sources))
    looked = 1 - ssim(to_images(seen.images).unsqueeze(1), truths, step=1).mean(1)
    found = restored_by(to_images(guess.candidates), truths)
    assert found.mean() < 0.75 * looked.mean()


def restored_by(pictures, truths):
    """dSSIM at the better assignment of two pictures to two sources."""
    grid = 1 - ssim(pictures.unsqueeze(2), truths.unsqueeze(1), step=1)
    return torch.minimum(grid[:, 0, 0] + grid[:, 1, 1], grid[:, 0, 1] + grid[:, 1, 0]) / 2


# Candidates and inputs


@pytest.mark.parametrize(("weights", "offered"), [((1.0,), 1), ((0.75, 0.25), 2), ((1 / 3,) * 3, 3), ((0.25,) * 4, 1)])
def test_there_is_a_candidate_for_every_source_up_to_three(hurried, weights, offered):
    seen, _, _ = observed(mixed, weights)

    guess = inversion(replace(seen, targets=np.array([3, 5])), generator(), **KNOBS)

    assert tuple(guess.candidates.shape) == (2, offered, 3, 16, 16)
    assert guess.candidates.dtype == torch.uint8
    assert offered <= MOST_PICTURES


@pytest.mark.parametrize("weights", [(0.8, 0.2), (0.5, 0.5), (0.2, 0.5, 0.3)])
def test_a_rehearsal_has_its_sources_with_the_dominant_one_first(weights):
    """The truths, mirrored or not, averaged by the shares are the rehearsed release."""
    seen, _, _ = observed(mixed, weights)

    inputs, truths, shares = _rehearsal(seen, np.arange(40), 3, KEY)

    again = to_bytes(average(to_images(truths), shares))
    assert (again.int() - inputs.int()).abs().max() <= 1
    assert (shares[:, :-1] >= shares[:, 1:]).all()


def test_the_guess_depends_on_the_rehearsals_alone(hurried):
    seen, _, _ = observed(mixed, (0.5, 0.5))

    one = inversion(seen, generator(KEY), **KNOBS).candidates
    memo.forget()
    again = inversion(seen, generator(b"o" * 32), **KNOBS).candidates
    other = inversion(replace(seen, _key=b"o" * 32), generator(KEY), **KNOBS).candidates

    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_mixing_within_classes_needs_enough_of_each(hurried):
    seen, _, _ = observed(mixed, (0.5, 0.5), intra_class=True, public=30)
    few, _, _ = observed(mixed, (0.5, 0.5), intra_class=True, public=9)

    assert len(inversion(seen, generator(), **KNOBS).candidates) == 24
    with pytest.raises(Inapplicable, match="a class has 3 public images"):
        inversion(few, generator(), **KNOBS)


@pytest.mark.parametrize("public", [0, 1, 3])
def test_too_few_public_images_are_inapplicable(public):
    seen, _, _ = observed(mixed, (0.5, 0.5))
    own = LabelledImages(seen.public.images[:public], seen.public.labels[:public])

    with pytest.raises(Inapplicable, match="public"):
        inversion(replace(seen, _public=own), generator(), **KNOBS)


@pytest.mark.parametrize("knob", ["train_epochs", "width", "batch"])
def test_a_knob_of_zero_is_refused(knob):
    seen, _, _ = observed(mixed, (0.5, 0.5))

    with pytest.raises(HarnessError, match=f"{knob} 0"):
        inversion(seen, generator(), **{**KNOBS, knob: 0})


# Training


def rehearsed(count=16, k=1, planes=3, size=16, seed=0):
    """Inputs of several planes, the first three of which are nearly the first original."""
    truths = torch.from_numpy(stripes(count * k, seed, size)[0]).unflatten(0, (count, k))
    extra = noise(count, planes - 3, size, size)
    inputs = torch.cat([to_images(truths[:, 0]) * 0.8, extra], 1)
    return Batch(inputs, truths, torch.full((count, k), 1 / k))


def fitted(rehearse, held_out=None, **options):
    options = {"key": KEY, "device": "cpu", "rounds": 1, "width": 8, "batch": 8, **options}
    return fit(rehearse, held_out or rehearsed(seed=9), **options)


def test_a_loss_that_is_not_finite_is_not_converged():
    broken = rehearsed()
    broken.inputs[3, 0, 5, 5] = float("nan")

    with pytest.raises(NotConverged, match="diverged after"):
        fitted(lambda done: broken)


def test_a_network_that_does_not_improve_on_its_start_is_not_converged(monkeypatch):
    """Flat from the first step on, at the loss of the release itself, which is above that of a constant."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 20)
    monkeypatch.setattr(restorer, "_RATE", 0.0)

    with pytest.raises(NotConverged, match="significantly above"):
        inversion(observed(negative)[0], generator(), **KNOBS)


def test_a_loss_that_still_falls_is_not_converged(monkeypatch):
    """Held-out images are judged by a network that always gets better."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 20)
    falling = iter(np.linspace(9, 0, 1000))
    monkeypatch.setattr(
        "harness.plugins.attacks.restoration.training._Trainer.loss", lambda self, held_out: float(next(falling))
    )

    with pytest.raises(NotConverged, match="still fell by"):
        fitted(lambda done: rehearsed(seed=done))


def test_any_stack_of_planes_goes_in_and_odd_sizes_too(hurried):
    """Floats of five planes, 13 x 22 pixels; in chunks as in one piece."""
    data = rehearsed(count=70, planes=5, size=22)
    data = Batch(data.inputs[:, :, :13], data.truths[:, :, :, :13], data.weights)

    restorer = fitted(lambda done: data, data)

    whole = restorer.restore(data.inputs)
    assert tuple(whole.shape) == (70, 1, 3, 13, 22)
    assert (whole[64:].int() - restorer.restore(data.inputs[64:]).int()).abs().max() <= 1


def test_bytes_and_floats_are_the_same_input(hurried):
    data = rehearsed()
    stored = data.inputs.mul(255).round().to(torch.uint8)

    restorer = fitted(lambda done: data)

    assert torch.equal(restorer.restore(stored), restorer.restore(to_images(stored)))


@pytest.mark.parametrize(("images", "height", "width"), [(1, 7, 9), (3, 16, 16), (2, 33, 5)])
def test_the_network_fits_any_size_and_starts_near_the_release(images, height, width):
    planes = noise(2, 4, height, width)

    pictures = UNet(4, images, 8)(planes)

    assert pictures.shape == (2, 3 * images, height, width)
    assert torch.allclose(pictures, planes[:, :3].repeat(1, images, 1, 1), atol=0.05)


# The loss


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_loss_is_the_least_over_all_assignments(k):
    """Against every assignment tried in turn, row by row."""
    pictures, truths = noise(5, k, 3, 16, 16), noise(5, k, 3, 16, 16, seed=1)
    weights = torch.tensor([[0.5, 0.3, 0.2]])[:, :k].expand(5, k)

    loss = restoration_loss(pictures, truths, weights, ordered=False)

    tried = [restoration_loss(pictures[:, list(order)], truths, weights, True) for order in permutations(range(k))]
    assert torch.allclose(loss, torch.stack(tried).amin(0), atol=1e-6)


def test_the_order_of_pictures_matters_only_where_a_source_dominates():
    pictures, truths = noise(4, 3, 3, 16, 16), noise(4, 3, 3, 16, 16, seed=1)
    weights = torch.full((4, 3), 1 / 3)

    free, turned = (restoration_loss(some, truths, weights, False) for some in (pictures, pictures.roll(1, 1)))
    bound, moved = (restoration_loss(some, truths, weights, True) for some in (pictures, pictures.roll(1, 1)))

    assert torch.allclose(free, turned, atol=1e-6)
    assert not torch.allclose(bound, moved, atol=1e-3)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([[1.0]], True), ([[0.75, 0.25]], True), ([[0.5, 0.5]], False), ([[0.8, 0.2], [0.51, 0.49]], False)],
)
def test_a_source_dominates_where_no_release_is_in_doubt(weights, expected):
    assert dominated(torch.tensor(weights)) is expected


@pytest.mark.parametrize("size", [16, 64])
def test_ssim_is_that_of_piq(size):
    a = noise(4, 3, size, size)
    b = (a + 0.3 * noise(4, 3, size, size, seed=1)).clamp(0, 1)

    ours = ssim(a, b, step=1)

    theirs = piq.ssim(a, b, data_range=1.0, downsample=False, reduction="none")
    assert torch.allclose(ours, theirs, atol=1e-5)
