"""Linking finds who was mixed with whom from the releases alone, where they hold anything of the originals.

Where it ends (planted pictures, 40 of 16 px, T epochs): with a dominant source two epochs are enough; equal shares take
three to six. Where an original is released once an epoch and is the faint partner in half of them (matching with shares
of .75 and .25) a tenth of the releases stays half explained even at T = 20. Of a mixture with shares of .99 and .01
the second source is not found.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.errors import Inapplicable
from harness.observation import LabelledImages, Pairing
from harness.plugins.attacks.linking import features
from harness.plugins.attacks.linking import link as linking
from harness.plugins.attacks.linking.features import block_of, learn_features, sample_public, unit
from harness.plugins.attacks.linking.link import link, protocol
from harness.plugins.attacks.linking.tracks import grow, nearest
from harness.train import memo
from tests.helpers.epochs import KEY, Seen, graft, mixed, noisy, right, shuffled, static, waves

GRAFT = {"traits": ("linear", "keeps_pixels"), "params": {"p": 0.6, "per": "pixel"}}
SHUFFLED = {"traits": ("linear", "permutes_in_blocks"), "params": {"block": 4}}


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def linked(seen):
    """Shares of slots and of whole releases that are linked rightly."""
    return right(seen.truth, link(seen.observation), len(seen.images))


# End to end

CASES = {
    "mix .75": (mixed, (0.75, 0.25), {}),
    "mix .5": (mixed, (0.5, 0.5), {}),
    "drawn weights": (mixed, [[0.5, 0.5], [0.6, 0.4], [0.7, 0.3]], {}),
    "three sources": (mixed, (0.5, 0.33, 0.17), {}),
    "intra-class": (mixed, (0.5, 0.5), {"intra_class": True}),
    "matching": (mixed, (0.5, 0.5), {"pairing": "matching"}),
    "noise": (noisy, (0.5, 0.5), {}),
    "noise .75": (noisy, (0.75, 0.25), {}),
    "graft": (graft, (0.5, 0.5), GRAFT),
    "shuffle": (shuffled, (0.75, 0.25), SHUFFLED),
    "undefended": (mixed, (1.0,), {}),
    "soft labels": (mixed, (0.6, 0.4), {"label": "soft"}),
}


@pytest.mark.parametrize("case", CASES)
def test_ten_epochs_of_sixty_pictures_are_linked(case):
    function, weights, more = CASES[case]

    slots, whole = linked(Seen(function, weights, count=60, epochs=10, **more))

    assert slots > 0.97 and whole > 0.95


@pytest.mark.parametrize("epochs", [2, 6])
@pytest.mark.parametrize("case", ["mix .75", "shuffle"])
def test_with_a_dominant_source_two_epochs_are_enough(case, epochs):
    function, weights, more = CASES[case]

    slots, _ = linked(Seen(function, weights, epochs=epochs, **more))

    assert slots > 0.97


@pytest.mark.parametrize(("epochs", "least"), [(2, 0.8), (3, 0.9), (6, 0.94)])
@pytest.mark.parametrize("case", ["mix .5", "drawn weights", "intra-class"])
def test_equal_shares_take_three_epochs(case, epochs, least):
    """On forty pictures; what is known to be missing, not what is wanted.

    Part of it is the price of weighting the features as is best for hundreds of photographs. Mean over six draws at
    2, 3 and 6 epochs: mix .5 has .88, .95, 1.00, where unweighted components have .94, .99, 1.00; within classes .84,
    .92, .99 against .90, .98, .99; but drawn weights have 1.00 at two epochs already, and .95 unweighted.
    """
    function, weights, more = CASES[case]

    slots = [linked(Seen(function, weights, epochs=epochs, draw=draw, **more))[0] for draw in range(4)]

    assert np.mean(slots) > least


@pytest.mark.parametrize("count", [300, 450])
def test_a_set_of_fewer_originals_than_components_is_linked_as_well(count):
    """Regression: components in which nothing but rounding varied used to weigh most."""
    slots, _ = linked(Seen(mixed, (0.5, 0.5), count=count, epochs=4))

    assert slots > 0.97


def test_originals_that_are_faint_in_half_of_their_releases_are_mostly_linked():
    """The limit that is known: matching with a dominant source. The dominant ones are found, some of the others."""
    seen = Seen(mixed, (0.75, 0.25), count=60, epochs=20, pairing="matching")

    found = link(seen.observation)

    assert right(seen.truth, found, 60)[0] > 0.8
    assert right(*columns(seen.truth, found, 1), 60)[0] > 0.9


def columns(truth, found, count, rows=lambda pairing: slice(None)):
    """The first sources alone, of the releases that are picked by their true pairing."""
    return [
        [
            Pairing(pairing.sources[rows(true), :count], pairing.shares[rows(true), :count])
            for true, pairing in zip(truth, side, strict=True)
        ]
        for side in (truth, found)
    ]


def test_classic_mixup_is_linked_where_a_second_source_is_there():
    """Beta(.4, .4): both where the smaller share is a quarter; the larger of them where it is more than .6."""
    seen = Seen(mixed, {"beta": 0.4}, count=60, epochs=10, label="soft")

    found = link(seen.observation)

    both = columns(seen.truth, found, 2, lambda true: true.shares.min(1) > 0.25)
    larger = columns(seen.truth, found, 1, lambda true: true.shares.max(1) > 0.6)
    assert right(*both, 60)[0] > 0.9
    assert right(*larger, 60)[0] > 0.95


def test_nothing_is_linked_in_pure_noise():
    slots, whole = linked(Seen(static, (0.5, 0.5), count=60, epochs=6))

    assert slots < 0.25 and whole < 0.05  # the best renumbering of chance


def test_pictures_that_every_epoch_replaces_are_not_linked():
    seen = Seen(mixed, (0.5, 0.5), count=60, epochs=6)
    strangers = [Seen(mixed, (0.5, 0.5), count=60, epochs=6, images=waves(60, 20 + epoch)) for epoch in range(6)]
    releases = [other.observation.releases[epoch] for epoch, other in enumerate(strangers)]

    found = link(replace(seen.observation, _releases=releases))

    truth = [other.truth[epoch] for epoch, other in enumerate(strangers)]
    assert right(truth, found, 60)[0] < 0.3


def test_a_release_of_an_unknown_original_is_marked():
    """One picture in one epoch is of two originals that no other release holds: its sources are not known."""
    seen = Seen(mixed, (0.75, 0.25), count=40, epochs=6)
    stranger = torch.from_numpy(waves(2, 77)).float()
    mixture = (0.25 * stranger[0] + 0.75 * torch.from_numpy(seen.images[5]).float()).round().to(torch.uint8)
    releases = list(seen.observation.releases)
    images = releases[2].images.clone()
    images[7] = mixture
    releases[2] = replace(releases[2], images=images)

    found = link(replace(seen.observation, _releases=releases))

    flagged = [(pairing.sources < 0) for pairing in found]
    assert flagged[2][7].tolist() == [False, True]
    assert sum(int(some.sum()) for some in flagged) <= 3
    rows = [pairing.sources[:, 0] for pairing in seen.truth]
    same = next((e, int(np.flatnonzero(rows[e] == 5)[0])) for e in (0, 1) if (rows[e] == 5).any())
    assert found[2].sources[7, 0] == found[same[0]].sources[same[1], 0]


def test_the_same_releases_give_the_same_links():
    seen = Seen(noisy, (0.5, 0.5), epochs=3)

    one = link(seen.observation)
    memo.forget()
    again = link(seen.observation)

    assert all(np.array_equal(a.sources, b.sources) for a, b in zip(one, again, strict=True))
    assert all(np.array_equal(a.shares, b.shares) for a, b in zip(one, again, strict=True))


# Small, strange, degenerate


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("epochs", [2, 5])
@pytest.mark.parametrize("pairing", ["permutation", "matching"])
def test_tiny_sets_raise_no_error(count, epochs, pairing):
    seen = Seen(mixed, (0.5, 0.5), count=count, epochs=epochs, pairing=pairing, public=12)

    found = link(seen.observation)

    assert [pairing.sources.shape for pairing in found] == [pairing.sources.shape for pairing in seen.truth]


@pytest.mark.parametrize("images", [np.full((20, 3, 16, 16), 99, np.uint8), waves(1, 3).repeat(20, 0)])
def test_equal_images_cause_no_division_by_zero(images):
    found = link(Seen(mixed, (0.5, 0.5), count=20, epochs=3, images=images).observation)

    assert all(np.isfinite(pairing.shares).all() for pairing in found)


def test_public_images_without_contrast_cause_no_division_by_zero():
    seen = Seen(mixed, (0.75, 0.25), epochs=3)
    grey = replace(seen.observation._public, images=torch.full((60, 3, 16, 16), 128, dtype=torch.uint8))

    found = learn_features(replace(seen.observation, _public=grey), KEY)

    assert bool(found.basis.isfinite().all())


def test_one_epoch_links_to_nothing():
    with pytest.raises(Inapplicable, match="--epochs 2"):
        link(Seen(mixed, epochs=1).observation)


def test_more_than_eight_sources_are_inapplicable():
    with pytest.raises(Inapplicable, match="10 sources a release are too many"):
        link(Seen(mixed, (0.1,) * 10, epochs=2).observation)


def test_public_images_too_few_to_mix_are_inapplicable():
    seen = Seen(mixed, (0.5, 0.3, 0.2), epochs=2).observation
    few = LabelledImages(seen.public.images[:2], seen.public.labels[:2])

    with pytest.raises(Inapplicable, match="2 public images are too few"):
        link(replace(seen, _public=few))


def test_a_class_of_one_public_image_is_left_out_where_mixtures_stay_within_classes():
    seen = Seen(mixed, (0.75, 0.25), epochs=3, intra_class=True)
    own = seen.observation.public
    odd = replace(seen.observation, _public=LabelledImages(own.images[:21], np.array([1] + [0] * 20)))

    assert len(sample_public(odd, 256)) == 20
    assert right(seen.truth, link(odd), 40)[0] > 0.95


# What the adversary knows


def test_the_protocol_is_read_from_the_mixing_and_the_rehearsals():
    drawn = protocol(Seen(mixed, [[0.5, 0.5], [0.6, 0.4]]).observation)
    matched = protocol(Seen(mixed, (0.5, 0.3, 0.2), count=40, pairing="matching").observation)

    assert sorted(map(tuple, drawn.vectors.numpy().round(3).tolist())) == [(0.5, 0.5), (0.6, 0.4)] or np.allclose(
        np.sort(drawn.vectors.numpy(), 0), [[0.5, 0.4], [0.6, 0.5]], atol=1e-3
    )
    assert (drawn.most, drawn.originals) == (2, 40)
    assert (matched.most, matched.originals) == (1, 39)
    assert np.allclose(matched.vectors, [[0.5, 0.3, 0.2]], atol=1e-3)


def test_the_shares_that_a_defense_returns_are_used():
    assert np.allclose(protocol(Seen(graft, **GRAFT).observation).vectors, [[0.6, 0.4]])


def test_continuous_shares_are_divided_into_steps():
    vectors = protocol(Seen(mixed, {"beta": 0.4}, label="soft").observation).vectors

    assert len(vectors) == linking._VECTORS
    assert torch.allclose(vectors.sum(1), torch.ones(len(vectors)), atol=1e-4)
    assert bool((vectors[:, 0] >= vectors[:, 1]).all())


@pytest.mark.parametrize(
    ("traits", "params", "block"),
    [
        ((), {"block": 4}, None),
        (("permutes_in_blocks",), {"block": 4}, 4),
        (("permutes_in_blocks",), {}, None),
        (("permutes_in_blocks",), {"block": 5}, None),
    ],
)
def test_blocks_are_known_where_the_defense_declares_them(traits, params, block):
    assert block_of(Seen(mixed, epochs=1, traits=traits, params=params).observation) == block


# Features


def test_features_are_linear_and_equal_in_chunks_and_in_one_piece(monkeypatch):
    """A mixture's features are the mixture of its sources', up to rounding."""
    seen = Seen(mixed, (0.75, 0.25), epochs=2)
    map_ = learn_features(seen.observation, KEY)
    whole = map_.of(seen.observation.releases[0].images)
    apart = map_.of(torch.from_numpy(seen.images))

    monkeypatch.setattr(features, "_CHUNK", 7)

    pairing = seen.truth[0]
    mixture = torch.einsum("nk,nkd->nd", torch.from_numpy(pairing.shares), apart[torch.from_numpy(pairing.sources)])
    assert (mixture - whole).abs().max() < 0.05 * whole.abs().max()
    assert torch.allclose(map_.of(seen.observation.releases[0].images), whole, atol=1e-5)


def test_two_releases_of_one_original_are_more_alike_than_others():
    """The nearest release of the next epoch shares a source."""
    seen = Seen(noisy, (0.75, 0.25), epochs=2)
    map_ = learn_features(seen.observation, KEY)
    first, second = (map_.of(release.images) for release in seen.observation.releases)

    near = nearest(first, second, 1).flatten().numpy()

    a, b = (pairing.sources for pairing in seen.truth)
    assert np.mean([bool(set(a[row]) & set(b[near[row]])) for row in range(40)]) > 0.95


# Tracks


def planted_tracks(epochs, originals=30, noise=0.3, d=24):
    """Every original once in each epoch, in an order of its own: rows[t][i] is where original i is."""
    planted, rng = normal(originals, d), np.random.default_rng(4)
    rows = [rng.permutation(originals) for _ in range(epochs)]
    stacks = []
    for epoch, row in enumerate(rows):
        stack = torch.empty(originals, d)
        stack[torch.from_numpy(row)] = planted + noise * normal(originals, d, seed=9 + epoch)
        stacks.append(stack)
    return stacks, np.stack(rows, 1)


@pytest.mark.parametrize("epochs", [2, 8])
@pytest.mark.parametrize("relatives", [1, 2, 4])
def test_every_planted_original_is_found_once_and_its_track_is_pure(epochs, relatives):
    stacks, rows = planted_tracks(epochs)

    tracks = grow(stacks, 30, relatives)

    assert sorted(map(tuple, tracks.members.tolist())) == sorted(map(tuple, rows.tolist()))
    expected = sum(stack[column] for stack, column in zip(stacks, torch.from_numpy(tracks.members.T), strict=True))
    assert torch.allclose(tracks.sums, expected, atol=1e-5)


def test_no_more_tracks_than_originals_and_the_most_coherent_first():
    """Half of the originals are twice as noisy: they come last, or not at all."""
    stacks, rows = planted_tracks(6, noise=0.1)
    faint = torch.from_numpy(rows[15:].T)
    noisier = [
        stack.index_add(0, row, 0.6 * normal(15, 24, seed=50 + epoch))
        for epoch, (stack, row) in enumerate(zip(stacks, faint, strict=True))
    ]

    tracks = grow(noisier, 15, 2)

    assert len(tracks.members) == 15
    assert {tuple(row) for row in tracks.members.tolist()} <= {tuple(row) for row in rows[:15].tolist()}


def test_tracks_in_blocks_equal_those_in_one_piece(monkeypatch):
    stacks, _ = planted_tracks(6, noise=0.6)
    whole = grow(stacks, 30, 4)

    monkeypatch.setattr("harness.plugins.attacks.linking.tracks._BLOCK", 7)
    monkeypatch.setattr("harness.plugins.attacks.linking.tracks._CHUNK", 5)

    assert np.array_equal(grow(stacks, 30, 4).members, whole.members)


def test_a_release_in_all_tracks_needs_no_matrix_of_tracks():
    """All releases alike: one track remains, and no matrix of three thousand squared is built."""
    alike = [normal(1, 8).expand(1500, 8) for _ in range(3)]

    assert len(grow(alike, 1500, 2).members) == 1


@pytest.mark.parametrize("sizes", [(1, 1), (1, 5), (5, 1, 3), (2, 2)])
def test_epochs_of_a_few_releases_have_tracks(sizes):
    tracks = grow([normal(size, 6, seed=size) for size in sizes], 4, 9)

    assert tracks.members.shape[1] == len(sizes)
    assert (tracks.members < np.array(sizes)).all()


def test_the_unit_vector_of_zero_is_zero():
    assert torch.equal(unit(torch.zeros(2, 3)), torch.zeros(2, 3))
