"""Several epochs give the originals, one does not, and from noise nothing is reconstructed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.errors import HarnessError, Inapplicable, NotGranted
from harness.images import to_images
from harness.observation import Pairing
from harness.plugins.attacks.linking.link import link
from harness.plugins.attacks.linking.solve import solve
from harness.plugins.attacks.multi_release import multi_release, oracle, pick, reconstruct
from harness.plugins.attacks.restoration import linked
from harness.plugins.attacks.restoration.loss import ssim
from harness.registry import load_registry
from harness.registry.entry import read_registry
from harness.train import convergence, memo
from tests.helpers.epochs import GRANTED, Seen, generator, mixed, noisy, shuffled, static, waves

KNOBS = {"train_epochs": 1, "width": 8, "batch": 8}
PLANS = GRANTED | {"plans"}


@pytest.fixture
def hurried(monkeypatch):
    """Trainings of a few steps: for what does not depend on how well they end."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 20)
    monkeypatch.setattr(convergence, "_LEAST_FALL", 1.0)
    monkeypatch.setattr(linked, "_BANK", 48)


def dissimilarity(images, originals):
    """(N,) dSSIM of uint8 images."""
    originals = torch.from_numpy(originals) if isinstance(originals, np.ndarray) else originals
    return 1 - ssim(to_images(images), to_images(originals), step=1)


def best(guess, seen):
    """(n,) of the dominant original and the candidate that is nearest to it."""
    originals = seen.images[seen.secrets[0].dominant_rows[seen.observation.targets]]
    candidates = guess.candidates[: len(originals)]  # later releases follow
    each = [dissimilarity(candidates[:, place], originals) for place in range(candidates.shape[1])]
    return torch.stack(each).amin(0)


def first(seen):
    """(n, 2) every target of release 0."""
    return np.stack([np.zeros(len(seen.observation.targets), int), seen.observation.targets], 1)


def unrestored(seen, pairings):
    """(n, k, 3, H, W) the answers to the targets of release 0 before the network."""
    solution = solve(seen.observation, seen.observation.releases, pairings, 40)
    return pick(seen.observation, pairings, first(seen), solution.bytes())


def looked(seen):
    rows = seen.observation.targets
    return dissimilarity(seen.observation.images[rows], seen.images[seen.secrets[0].dominant_rows[rows]])


# What it can do


@pytest.mark.parametrize(
    ("weights", "more"),
    [
        ((0.75, 0.25), {}),
        ((0.5, 0.5), {}),
        ([[0.5, 0.5], [0.6, 0.4], [0.7, 0.3]], {}),
        ((0.5, 0.3, 0.2), {}),
        ((0.5, 0.5), {"intra_class": True}),
    ],
)
def test_mixtures_of_eight_epochs_are_undone(weights, more):
    seen = Seen(mixed, weights, epochs=8, **more)

    guess = multi_release(seen.observation, generator(), **KNOBS)

    assert looked(seen).mean() > 0.05
    assert best(guess, seen).mean() < 0.02
    assert tuple(guess.candidates[:40].shape) == (40, seen.observation.sources, 3, 16, 16)
    assert guess.candidates.dtype == torch.uint8


def test_both_sources_of_a_release_are_among_its_candidates():
    seen = Seen(mixed, (0.5, 0.5), epochs=8)

    guess = multi_release(seen.observation, generator(), **KNOBS)

    sources = torch.from_numpy(seen.images[seen.secrets[0].sources])
    grid = dissimilarity(guess.candidates[:40, :, None].expand(-1, 2, 2, -1, -1, -1), sources[:, None])
    assert grid.amin(1).mean() < 0.02


def test_targets_alone_are_answered():
    seen = Seen(mixed, (0.75, 0.25), epochs=3)
    whole = multi_release(seen.observation, generator(), **KNOBS).candidates

    some = multi_release(replace(seen.observation, targets=np.array([5, 31, 2])), generator(), **KNOBS)

    assert torch.equal(some.candidates[:3], whole[[5, 31, 2]])


def test_one_epoch_is_look_and_says_so():
    seen = Seen(mixed, (0.5, 0.5), epochs=1).observation
    some = replace(seen, targets=np.array([3, 8]))

    guess = multi_release(some, generator(), **KNOBS)

    assert torch.equal(guess.candidates, seen.images[[3, 8]][:, None])
    assert guess.report == {"is": "look"}


def test_noise_that_regression_leaves_is_restored(monkeypatch):
    """Three epochs of strong noise: the network halves what least squares leaves, on the pictures themselves."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 250)
    monkeypatch.setattr(linked, "_BANK", 96)
    seen = Seen(lambda sources, weights, rng: noisy(sources, weights, rng, sigma=40), (0.75, 0.25), epochs=3)

    guess = multi_release(seen.observation, generator(), **KNOBS)

    solved = unrestored(seen, link(seen.observation))
    left = dissimilarity(solved[:, 0], seen.images[seen.secrets[0].dominant_rows]).mean()
    assert guess.report["restored"] and guess.report["held_out_loss"] < guess.report["held_out_before"]
    assert best(guess, seen).mean() < 0.7 * left < 0.7 * looked(seen).mean()


# The ceiling


@pytest.mark.parametrize("weights", [(0.75, 0.25), (0.5, 0.5)])
@pytest.mark.parametrize("epochs", [2, 4])
def test_the_true_pairing_is_no_worse_than_a_guessed_one(weights, epochs):
    seen = Seen(mixed, weights, epochs=epochs, granted=PLANS)

    blind, told = (best(attack(seen.observation, generator(), **KNOBS), seen) for attack in (multi_release, oracle))

    more = (told - blind).numpy()
    assert more.mean() < 5e-4 + 2 * more.std() / len(more) ** 0.5
    assert told.mean() < 0.02


def test_the_oracle_is_an_upper_bound_for_shuffled_blocks_and_noise_too(hurried):
    """Before the network: it is the same for both."""
    for function, more in (
        (noisy, {}),
        (shuffled, {"traits": ("linear", "permutes_in_blocks"), "params": {"block": 4}}),
    ):
        seen = Seen(function, (0.5, 0.5), epochs=4, granted=PLANS, **more)
        told, blind = (unrestored(seen, pairs) for pairs in (seen.truth, link(seen.observation)))
        originals = seen.images[seen.secrets[0].dominant_rows]
        each = [
            torch.stack([dissimilarity(some[:, place], originals) for place in (0, 1)]).amin(0)
            for some in (told, blind)
        ]

        assert (each[0] - each[1]).mean() < 5e-3


# Where there is nothing


def test_it_reconstructs_nothing_from_pure_noise(hurried):
    """No better than the mean image, and no nearer to its own original than to the others."""
    seen = Seen(static, (0.5, 0.5), epochs=4)

    guess = multi_release(seen.observation, generator(), **KNOBS)

    originals = seen.images[seen.secrets[0].dominant_rows]
    own = dissimilarity(guess.candidates[:40, 0], originals)
    others = torch.stack(
        [dissimilarity(guess.candidates[:40, 0], np.roll(originals, by, 0)) for by in range(1, 40)]
    ).mean(0)
    lead = others - own
    assert lead.mean() < 3 * lead.std() / 40**0.5
    mean = torch.from_numpy(seen.images).float().mean(0).round().to(torch.uint8).expand(40, -1, -1, -1)
    assert own.mean() > 0.95 * dissimilarity(mean, originals).mean()


def test_epochs_of_other_images_add_nothing(hurried):
    """Every epoch's originals are replaced: without links the result must not be nearer than the release."""
    seen = Seen(mixed, (0.5, 0.5), epochs=4)
    others = [Seen(mixed, (0.5, 0.5), epochs=4, images=waves(40, 30 + epoch)) for epoch in range(4)]
    releases = [seen.observation.releases[0], *(other.observation.releases[e] for e, other in enumerate(others) if e)]

    guess = multi_release(replace(seen.observation, _releases=releases), generator(), **KNOBS)

    assert best(guess, seen).mean() > looked(seen).mean()


def test_an_unknown_source_is_the_release_less_the_known_one():
    seen = Seen(mixed, (0.75, 0.25), epochs=4)
    truth = seen.truth[0]
    doubted = truth.sources.copy()
    doubted[6, 1] = -1

    found = pick(seen.observation, [Pairing(doubted, truth.shares)], first(seen), torch.from_numpy(seen.images))

    known, rest = seen.images[truth.sources[6]]
    assert np.array_equal(found[6, 0].numpy(), known)
    assert np.abs(found[6, 1].numpy().astype(int) - rest).max() <= 3  # rounding, four times
    assert torch.equal(found[7], torch.from_numpy(seen.images[truth.sources[7]]))


def test_without_any_known_source_the_release_is_the_answer():
    seen = Seen(mixed, (0.5, 0.5), epochs=2)
    nothing = Pairing(np.full((40, 2), -1), np.full((40, 2), 0.5, np.float32))

    found = pick(seen.observation, [nothing], first(seen), torch.zeros((1, 3, 16, 16), dtype=torch.uint8))

    assert torch.equal(found, seen.observation.images[:, None].expand(-1, 2, -1, -1, -1))


# What it reports, and what it may see


@pytest.mark.parametrize("attack", [multi_release, oracle])
def test_the_report_can_be_written_down(hurried, attack):
    seen = Seen(noisy, (0.75, 0.25), epochs=2, granted=PLANS).observation

    report = attack(seen, generator(), **KNOBS).report

    assert json.loads(json.dumps(dict(report))) == report
    assert report["originals"] == 40 and 0 <= report["unexplained"] <= 1


def test_the_same_seed_gives_the_same_guess(hurried):
    seen = Seen(noisy, (0.5, 0.5), count=24, epochs=2).observation

    one = multi_release(seen, generator(), **KNOBS)
    memo.forget()
    again = multi_release(seen, generator(), **KNOBS)

    assert torch.equal(one.candidates, again.candidates) and one.report == again.report


def test_defenses_with_different_traits_share_no_training(hurried):
    """One function, one rehearsal, other traits: nothing trained for the one is used for the other."""
    declared, silent = (Seen(noisy, (0.75, 0.25), count=24, epochs=2, traits=t).observation for t in (("linear",), ()))

    multi_release(declared, generator(), **KNOBS)
    after_the_other = multi_release(silent, generator(), **KNOBS)
    memo.forget()

    assert torch.equal(after_the_other.candidates, multi_release(silent, generator(), **KNOBS).candidates)


@pytest.mark.parametrize("grant", ["plans", "gallery"])
def test_only_the_oracle_can_read_the_plans(grant):
    seen = Seen(mixed, (0.75, 0.25), epochs=2).observation

    assert grant not in load_registry().get("attacks", "multi_release").granted
    with pytest.raises(NotGranted, match=grant):
        getattr(seen, grant)
    with pytest.raises(NotGranted, match="plans"):
        oracle(seen, generator(), **KNOBS)


def test_an_attack_that_is_granted_plans_must_be_a_control(tmp_path):
    file = tmp_path / "mine.yaml"
    text = (
        "attacks: {{cheat: {{use: a.b:c, version: 1, kind: reconstruction, granted: [plans], traits: {}, cite: me}}}}"
    )

    assert "control" in load_registry().get("attacks", "oracle").traits
    file.write_text(text.format("[control]"))
    assert read_registry(file, "mine")[0].granted == ("plans",)
    file.write_text(text.format("[learned]"))
    with pytest.raises(HarnessError, match="granted plans is for controls only; add control"):
        read_registry(file, "mine")


def test_public_images_too_few_to_rehearse_on_are_inapplicable():
    seen = Seen(mixed, (0.5, 0.5), epochs=2, public=1).observation

    with pytest.raises(Inapplicable, match="public images are too few"):
        multi_release(seen, generator(), **KNOBS)


@pytest.mark.parametrize("count", [2, 7])
@pytest.mark.parametrize("pairing", ["permutation", "matching"])
def test_tiny_sets_are_answered(hurried, count, pairing):
    seen = Seen(mixed, (0.5, 0.5), count=count, epochs=3, pairing=pairing, public=20)

    guess = multi_release(seen.observation, generator(), **KNOBS)

    assert len(guess.candidates) >= len(seen.truth[0]) and guess.candidates.shape[1] == 2


def test_more_sources_work_alike():
    """`reconstruct` with the true pairing of four sources."""
    seen = Seen(mixed, (0.4, 0.3, 0.2, 0.1), epochs=6, granted=PLANS)

    guess = reconstruct(seen.observation, seen.observation.plans, solve, **KNOBS)

    assert best(guess, seen).mean() < 0.02
