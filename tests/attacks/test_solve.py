"""Assignment, ridge regression and pixels agree with closed forms and with brute force."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch

from harness.observation import Pairing
from harness.plugins.attacks.linking import assignment
from harness.plugins.attacks.linking import solve as pixels
from harness.plugins.attacks.linking.assignment import assign
from harness.plugins.attacks.linking.ridge import Mixing
from harness.plugins.attacks.linking.solve import dominated, noise_to_signal, solve
from harness.types import Release
from tests.helpers.epochs import Seen, graft, mixed, noisy, shuffled, waves


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def dense(pairings, originals):
    """W of all epochs, one row per release."""
    rows = []
    for pairing in pairings:
        for sources, shares in zip(pairing.sources, pairing.shares, strict=True):
            row = np.zeros(originals)
            row[sources] = shares
            rows.append(row)
    return np.stack(rows)


def right_side(mixing, stacks):
    return sum(mixing.gather(epoch, stack) for epoch, stack in enumerate(stacks))


# Regression


@pytest.mark.parametrize("epochs", [2, 3, 6])
@pytest.mark.parametrize(("weights", "ridge"), [((0.75, 0.25), 1e-6), ((0.5, 0.5), 0.05), ((0.5, 0.3, 0.2), 0.01)])
def test_solving_is_dense_ridge_regression(weights, ridge, epochs):
    seen = Seen(mixed, weights, count=20, epochs=epochs)
    stacks = [normal(20, 7, seed=epoch) for epoch in range(epochs)]
    mixing = Mixing(seen.truth, 20, "cpu")

    found = mixing.solve(right_side(mixing, stacks), ridge).numpy()

    whole = np.vstack([dense(seen.truth, 20), ridge**0.5 * np.eye(20)])
    data = np.vstack([torch.cat(stacks).numpy(), np.zeros((20, 7))])
    expected = np.linalg.lstsq(whole, data, rcond=None)[0]
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_noiseless_mixtures_of_two_epochs_give_the_originals_back():
    seen, originals = Seen(mixed, (0.75, 0.25), count=20, epochs=2), normal(20, 5)
    stacks = [torch.from_numpy(dense([pairing], 20)).float() @ originals for pairing in seen.truth]
    mixing = Mixing(seen.truth, 20, "cpu")

    found = mixing.solve(right_side(mixing, stacks), 0.0)

    assert (found - originals).abs().max() < 1e-3


def test_a_release_with_an_unknown_source_is_left_out():
    """As if it were not there, whatever it shows."""
    seen = Seen(mixed, (0.75, 0.25), count=20, epochs=3)
    doubted, shorter = [], []
    for pairing in seen.truth:
        sources = pairing.sources.copy()
        sources[4, 1] = -1
        doubted.append(Pairing(sources, pairing.shares))
        kept = np.delete(np.arange(20), 4)
        shorter.append(Pairing(pairing.sources[kept], pairing.shares[kept]))
    stacks = [normal(20, 3, seed=epoch) for epoch in range(3)]
    with_doubt, without = Mixing(doubted, 20, "cpu"), Mixing(shorter, 20, "cpu")

    found = with_doubt.solve(right_side(with_doubt, stacks), 0.01)

    kept = [torch.cat([stack[:4], stack[5:]]) for stack in stacks]
    assert torch.allclose(found, without.solve(right_side(without, kept), 0.01), atol=1e-5)


def test_an_original_in_no_release_gets_the_zero_solution():
    pairing = Pairing(np.array([[0, 1], [1, 0]]), np.full((2, 2), 0.5, np.float32))
    mixing = Mixing([pairing], 4, "cpu")

    found = mixing.solve(right_side(mixing, [normal(2, 3)]), 0.01)

    assert torch.equal(found[2:], torch.zeros(2, 3)) and bool(found.isfinite().all())


def test_without_a_known_pairing_the_solution_is_zero():
    pairing = Pairing(np.full((3, 2), -1), np.full((3, 2), 0.5, np.float32))
    mixing = Mixing([pairing], 4, "cpu")

    assert torch.equal(mixing.solve(right_side(mixing, [normal(3, 2)]), 0.01), torch.zeros(4, 2))


# Assignment


def brute(release, originals, vectors):
    """The least squared residual over all ordered tuples of originals and all share vectors."""
    tuples = permutations(range(len(originals)), vectors.shape[1])
    tried = [
        (float((release - vector @ originals[list(rows)]).square().sum()), rows)
        for rows in tuples
        for vector in vectors
    ]
    return min(tried)


@pytest.mark.parametrize(
    "vectors",
    [
        [[1.0]],
        [[0.75, 0.25]],
        [[0.5, 0.5], [0.6, 0.4], [0.7, 0.3]],
        [[0.5, 0.3, 0.2]],
        [[0.4, 0.3, 0.3], [0.6, 0.3, 0.1]],
    ],
)
def test_the_sources_are_those_of_brute_force(vectors):
    """In twelve dimensions, a little noise; `most` is large enough that nothing is reassigned."""
    vectors, originals, rng = torch.tensor(vectors), normal(7, 12), np.random.default_rng(3)
    k = vectors.shape[1]
    rows = np.stack([rng.permutation(7)[:k] for _ in range(12)])
    shares = vectors[torch.from_numpy(rng.integers(len(vectors), size=12))]
    releases = torch.einsum("nk,nkd->nd", shares, originals[torch.from_numpy(rows)]) + 0.05 * normal(12, 12, seed=1)

    sources, found, residual = assign(releases, originals, vectors, 100)

    expected = [brute(release, originals, vectors) for release in releases]
    assert np.allclose(residual, [least for least, _ in expected], atol=1e-4)
    again = torch.einsum("nk,nkd->nd", found, originals[sources])
    assert torch.allclose((releases - again).square().sum(1), residual, atol=1e-5)
    assert [sorted(row) for row in sources.tolist()] == [sorted(row) for _, row in expected]


def crowd():
    """Eight releases that are all most like original 0, the last six of them only a little."""
    originals = torch.eye(9)
    releases = originals[1:9].clone()
    releases[:, 0] = 1.02
    releases[:2, 0] = 3.0
    return releases, originals


def test_surplus_releases_go_to_their_next_best_originals():
    releases, originals = crowd()

    sources, _, _ = assign(releases, originals, torch.tensor([[1.0]]), 2)

    assert sources.flatten().tolist() == [0, 0, 3, 4, 5, 6, 7, 8]


def test_without_a_surplus_there_is_one_search(monkeypatch):
    """Prices change nothing where no original is in more releases than the protocol allows."""
    releases, originals = crowd()
    calls = []
    search = assignment._search
    monkeypatch.setattr(assignment, "_search", lambda *given: calls.append(len(given[0])) or search(*given))

    sources, _, _ = assign(releases, originals, torch.tensor([[1.0]]), 8)

    assert sources.flatten().tolist() == [0] * 8 and calls == [8]


def test_a_price_changes_only_the_releases_that_pay_it(monkeypatch):
    """A release of an original without surplus is not searched again and keeps its source."""
    releases, originals = crowd()
    releases = torch.cat([releases, originals[5:6]])
    calls = []
    search = assignment._search
    monkeypatch.setattr(assignment, "_search", lambda *given: calls.append(len(given[0])) or search(*given))

    sources, _, residual = assign(releases, originals, torch.tensor([[1.0]]), 2)

    assert sources[8, 0] == 5 and residual[8] < 1e-6
    assert calls[0] == 9 and len(calls) > 1 and max(calls[1:]) == 8


def test_fewer_originals_than_sources_do_not_stop_it():
    sources, shares, residual = assign(normal(4, 3), normal(1, 3, seed=1), torch.tensor([[0.5, 0.5]]), 2)

    assert sources.shape == shares.shape == (4, 2) and bool(residual.isfinite().all())
    assert sources.unique().tolist() == [0]


# Pixels


def grey_levels(planes):
    return 255 * planes.numpy().astype(np.float64)


def error(solution, images):
    return np.abs(grey_levels(solution.images) - images).mean()


def solved(seen, **changed):
    observation = replace(seen.observation, **changed)
    return solve(observation, observation.releases, seen.truth, len(seen.images))


def test_the_pixels_of_mixtures_are_those_of_the_originals():
    seen = Seen(mixed, (0.75, 0.25), epochs=3)

    assert error(solved(seen), seen.images) < 0.5


def test_noise_averages_out_over_the_epochs():
    """The least error of least squares is the averaged noise: sigma / sqrt(T sum of squared shares)."""
    errors = {
        epochs: np.std(grey_levels(solved(seen).images) - seen.images)
        for epochs in (4, 16)
        for seen in [Seen(noisy, (0.75, 0.25), epochs=epochs)]
    }

    assert errors[16] < 0.6 * errors[4]
    assert errors[16] == pytest.approx(20 / (16 * 0.625) ** 0.5, rel=0.15)


def test_columns_in_blocks_equal_those_in_one_piece(monkeypatch):
    """No more than a block of pixels of all releases is ever a float."""
    seen = Seen(noisy, (0.5, 0.5))
    whole = solved(seen).images

    monkeypatch.setattr(pixels, "_COLUMNS", 40 * 100)
    widths, floats = [], pixels._floats
    monkeypatch.setattr(pixels, "_floats", lambda some, device: widths.append(some.numel()) or floats(some, device))
    parts = solved(seen).images

    assert max(widths) <= 40 * 100
    assert (parts - whole).abs().max() <= 1 / 255


def test_a_grafted_pixel_is_its_most_frequent_value():
    """At p = .6 two of nine epochs agree on a pixel with all but .4 %; noise-free, it is then exact."""
    seen = Seen(graft, epochs=9, traits=("linear", "keeps_pixels"), params={"p": 0.6, "per": "pixel"})

    found = solved(seen)

    exact = (found.bytes().numpy() == seen.images).all(1).mean()
    assert found.spread is None
    assert exact > 0.985
    assert error(found, seen.images) < 0.5


def test_grafted_channels_are_compared_one_by_one():
    """Together they would agree in a fifth of the releases alone."""

    def by_channel(sources, weights, rng):
        from harness.plugins.defenses.graft import graft

        return graft(sources, weights, rng, p=0.6, per="channel")

    seen = Seen(by_channel, epochs=20, traits=("linear", "keeps_pixels"), params={"p": 0.6, "per": "channel"})

    found = solved(seen)

    assert (np.abs(grey_levels(found.images) - seen.images) <= 3).mean() > 0.99


def test_few_releases_are_in_memory_at_once_where_pixels_are_put_together(monkeypatch):
    seen = Seen(graft, epochs=5, traits=("linear", "keeps_pixels"), params={"p": 0.6, "per": "pixel"})
    whole = solved(seen).images

    monkeypatch.setattr(pixels, "_COLUMNS", 5 * 768 * 3)

    assert torch.equal(solved(seen).images, whole)


def test_an_original_that_nothing_is_known_of_is_grey():
    seen = Seen(graft, epochs=3, traits=("linear", "keeps_pixels"), params={"p": 0.6, "per": "pixel"})

    found = solve(seen.observation, seen.observation.releases, seen.truth, 41)

    assert (found.bytes()[40] == 128).all()


SHUFFLED = {"traits": ("linear", "permutes_in_blocks"), "params": {"block": 4}}


def blocks(images, block):
    """(N, 3, h, w, block * block)"""
    n, c, height, width = images.shape
    cut = images.reshape(n, c, height // block, block, width // block, block)
    return cut.transpose(0, 1, 2, 4, 3, 5).reshape(n, c, height // block, width // block, -1)


def test_of_shuffled_blocks_the_means_are_found():
    seen = Seen(shuffled, (0.75, 0.25), epochs=4, **SHUFFLED)

    found = blocks(grey_levels(solved(seen).images), 4)

    assert (found.min(-1) == found.max(-1)).all()
    assert np.abs(found.mean(-1) - blocks(seen.images.astype(float), 4).mean(-1)).mean() < 1


def test_the_spread_of_unmixed_shuffled_blocks_is_the_deviation_inside_them():
    """Four times it, in grey levels."""
    seen = Seen(shuffled, (1.0,), epochs=3, **SHUFFLED)

    spread = blocks(grey_levels(solved(seen).spread), 4)

    expected = 4 * blocks(seen.images.astype(float), 4).std(-1)
    assert (spread.min(-1) == spread.max(-1)).all()
    assert np.abs(spread[..., 0] - expected).max() <= 1


def test_rows_of_blocks_in_parts_equal_those_in_one_piece(monkeypatch):
    seen = Seen(shuffled, (0.5, 0.5), epochs=3, **SHUFFLED)
    whole = solved(seen).images

    monkeypatch.setattr(pixels, "_COLUMNS", 40 * 150)

    assert (solved(seen).images - whole).abs().max() <= 1 / 255


@pytest.mark.parametrize("params", [{}, {"side": 4}, {"block": "small"}, {"block": 400}, {"block": 3}])
def test_a_defense_with_unknown_blocks_is_solved_by_pixels(params):
    """No knob of that name, or one that does not divide the picture."""
    seen = Seen(shuffled, (0.75, 0.25), epochs=6, traits=("linear", "permutes_in_blocks"), params=params)

    found = solved(seen)

    assert found.spread is None
    assert error(found, seen.images) < np.abs(mean_of(seen) - seen.images).mean()


def mean_of(seen):
    return seen.images.mean(0)


def test_the_dominant_source_is_read_from_the_shares():
    pairing = Pairing(np.array([[0, 1], [2, 0], [1, -1], [-1, 3]]), np.array([[0.3, 0.7]] * 2 + [[0.8, 0.2]] * 2))

    assert dominated([pairing], 4).tolist() == [[1], [2], [-1], [-1]]


def test_noise_to_signal_is_the_ratio_of_the_variances():
    seen = Seen(noisy, (0.5, 0.5))
    own = seen.observation.public.images.float()

    signal = (own - own.mean(0)).square().mean()
    assert noise_to_signal(seen.observation) == pytest.approx(400 / float(signal), rel=0.05)


def test_a_fixed_blur_counts_as_no_noise():
    """Mixing, blurring; and shuffling, where the means of blocks are compared."""
    seen = Seen(shuffled, (0.5, 0.5), **SHUFFLED).observation

    assert noise_to_signal(Seen(mixed, (0.5, 0.5)).observation) < 1e-4
    assert noise_to_signal(Seen(blurred, (0.5, 0.5)).observation) < 1e-4
    assert noise_to_signal(seen, 4) < 1e-4 < 0.01 < noise_to_signal(seen)


def blurred(sources, weights, rng):
    return torch.nn.functional.avg_pool2d(mixed(sources, weights, rng), 5, 1, 2)


def test_public_images_without_contrast_cause_no_division_by_zero():
    seen = Seen(mixed, (0.5, 0.5))
    grey = replace(seen.observation._public, images=torch.full((60, 3, 16, 16), 128, dtype=torch.uint8))

    assert bool(torch.isfinite(torch.tensor(noise_to_signal(replace(seen.observation, _public=grey)))))


def test_a_solution_may_come_from_releases_other_than_the_observed():
    """Rehearsals of another size than the private set are solved alike."""
    seen, other = (
        Seen(mixed, (0.75, 0.25), epochs=3),
        Seen(mixed, (0.75, 0.25), count=12, epochs=3, images=waves(12, 9)),
    )
    releases = [Release(release.images, release.labels) for release in other.observation.releases]

    found = solve(seen.observation, releases, other.truth, 12)

    assert error(found, other.images) < 0.5
