"""The gallery holds every original among distractors, in an order without information; ties count against attacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.client import gallery
from harness.errors import HarnessError, NotConverged
from harness.images import to_bytes
from harness.plugins.evaluators.reidentification import identity, reidentification
from harness.registry import Registry
from harness.run.scoring import pooled
from harness.types import Guess
from tests.helpers.planted import attack, bench, splits

EYE = {"grid": 8, "floor": 0.01}


def here(function, kind="reidentification", granted=("gallery",), **fields):
    """The entry of an attack in this file."""
    return replace(attack(function, kind, granted, **fields), use=f"tests.evaluators.test_gallery:{function}")


def constant(observation, rng):
    return Guess(gallery=torch.zeros(len(observation.images), len(observation.gallery)))


def one_column_short(observation, rng):
    return Guess(gallery=torch.zeros(len(observation.targets), len(observation.gallery) - 1))


def broken(observation, rng):
    return Guess(gallery=torch.full((len(observation.targets), len(observation.gallery)), float("nan")))


def finds_copies(observation, rng):
    """Compares pixels with the release: right for every undefended image."""
    shown = observation.images[observation.targets].flatten(1)
    known = observation.gallery.flatten(1)
    return Guess(gallery=torch.stack([(known == one).float().mean(1) for one in shown]))


def tells_the_order(observation, rng):
    """Bets that the first originals come first."""
    return Guess(gallery=-torch.arange(len(observation.gallery)).float().expand(len(observation.targets), -1))


# The rank


def test_ranks_are_counted_from_the_best_score():
    """The true columns rank first, third and last of six."""
    scores = torch.tensor([[9.0, 1, 2, 3, 4, 5], [9.0, 8, 7, 1, 2, 3], [1.0, 2, 3, 4, 5, 6]])

    hits, chance = reidentification(scores, np.array([0, 2, 0]))

    assert hits["reid_rank1"].tolist() == [1, 0, 0] and hits["reid_rank5"].tolist() == [1, 1, 0]
    assert chance == {"reid_rank1": pytest.approx(1 / 6), "reid_rank5": pytest.approx(5 / 6)}


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_a_constant_score_is_never_a_hit(value):
    hits, _ = reidentification(torch.full((4, 6), value), np.arange(4))

    assert not hits["reid_rank1"].any() and not hits["reid_rank5"].any()


def test_a_tie_with_one_other_is_rank_two():
    hits, _ = reidentification(torch.tensor([[1.0, 1, 0, 0, 0, 0]]), np.array([0]))

    assert (hits["reid_rank1"][0], hits["reid_rank5"][0]) == (0, 1)


def test_candidates_share_one_ranking():
    """Two candidates, the second knows; the chance is that of one guess."""
    scores = torch.zeros(1, 2, 8)
    scores[0, 1, 5] = 1

    hits, chance = reidentification(scores, np.array([5]))

    assert hits["reid_rank1"][0] == 1
    assert chance == {"reid_rank1": 1 / 8, "reid_rank5": 5 / 8}


def test_a_surer_wrong_answer_outweighs_the_right_one():
    """More guesses are no more answers: the likeliest image of all rows and candidates is the one answer."""
    scores = torch.tensor([[[0.0, 0.8, 0.1], [0.9, 0.0, 0.1]]])

    hits, _ = reidentification(scores, np.array([1]))

    assert hits["reid_rank1"][0] == 0


def test_images_of_an_original_are_pooled_as_numpy_pools_them():
    """In two parts, candidates and releases alike."""
    rng = np.random.default_rng(3)
    scores, places = rng.standard_normal((40, 3, 11)), rng.permutation(40) % 7
    best = torch.full((7, 11), -torch.inf, dtype=torch.float64)

    for rows in (slice(0, 25), slice(25, 40)):
        pooled(torch.from_numpy(scores[rows]), places[rows], best)

    expected = [scores[places == place].reshape(-1, 11).max(0) for place in range(7)]
    assert np.array_equal(best.numpy(), np.stack(expected))


def test_random_scores_hit_as_often_as_chance_says():
    """Within three standard deviations, whatever the number of candidates."""
    rng, truth = torch.Generator().manual_seed(1), np.arange(4000) % 50

    for candidates in (1, 2, 5):
        hits, chance = reidentification(torch.rand(4000, candidates, 50, generator=rng), truth)
        assert chance == {"reid_rank1": 1 / 50, "reid_rank5": 5 / 50}
        for name, expected in chance.items():
            assert abs(hits[name].mean() - expected) < 3 * (expected * (1 - expected) / 4000) ** 0.5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_a_failed_attack(value):
    scores = torch.zeros(2, 6)
    scores[1, 3] = value

    with pytest.raises(NotConverged, match="NaN or infinity"):
        reidentification(scores, np.array([0, 1]))


# The embedding


def test_the_embedding_gives_the_cosine_under_the_gallerys_covariance(photographs):
    """Against NumPy's own solution of C^-1, without principal components."""
    held = torch.from_numpy(photographs.copy())
    shown = held[:5].flip(-1)[:, None]
    cells = photographs.reshape(24, 3, 8, 8, 8, 8).mean((3, 5)).reshape(24, -1) / 255
    turned = photographs[:5, :, :, ::-1].reshape(5, 3, 8, 8, 8, 8).mean((3, 5)).reshape(5, -1) / 255
    centred = cells - cells.mean(0)
    covariance = centred.T @ centred / 24
    inverse = np.linalg.inv(covariance + 0.01 * np.linalg.eigvalsh(covariance)[-1] * np.eye(192))

    likeness = identity(shown, held, "cpu", **EYE)

    seen = turned - cells.mean(0)
    across = seen @ inverse @ centred.T
    lengths = [np.sqrt(np.einsum("ni,ij,nj->n", part, inverse, part)) for part in (seen, centred)]
    assert likeness.shape == (5, 1, 24)
    assert np.allclose(likeness[:, 0].numpy(), across / np.outer(*lengths), atol=1e-5)


def test_the_embedding_reidentifies_through_noise_and_not_from_blank_images(images, photographs):
    held, truth = torch.from_numpy(photographs.copy()), np.arange(24)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))

    noisy = identity(to_bytes(images + 0.15 * noise)[:, None], held, "cpu", **EYE)
    blank = identity(torch.full_like(held, 90)[:, None], held, "cpu", **EYE)

    assert reidentification(noisy, truth)[0]["reid_rank1"].mean() == 1
    assert reidentification(blank, truth)[0]["reid_rank1"].sum() <= 1  # one picture for all is one person at most


def test_a_gallery_of_other_size_is_refused(photographs):
    held = torch.from_numpy(photographs.copy())

    with pytest.raises(HarnessError, match="differ"):
        identity(held[:2, None, :, ::2, ::2], held, "cpu", **EYE)


# The gallery


def test_every_target_is_in_the_gallery_once_among_all_test_images():
    data = splits()

    made = gallery.gallery_of(data, np.arange(10))

    held = [image.tobytes() for image in made.images.numpy()]
    strangers = {image.tobytes() for image in data.test.images}
    assert len(made) == len(set(held)) == 10 + 12 and strangers < set(held)
    for row in range(10):
        assert held[int(made.truth(np.array([row]))[0])] == data.private.images[row].tobytes()
    assert not {image.tobytes() for image in data.public.images} & set(held)


def test_public_images_stand_in_where_there_is_no_test_image():
    data = splits()

    made = gallery.gallery_of(replace(data, test=data.test.take(np.arange(0))), np.arange(10))

    assert len(made) == 10 + 60


def test_distractors_have_a_bound(monkeypatch):
    monkeypatch.setattr(gallery, "DISTRACTORS", 5)

    assert len(gallery.gallery_of(splits(), np.arange(10))) == 15


def test_the_order_is_one_of_content_and_not_of_rows():
    """The same images numbered the other way round, with other distractors left out, have the same order."""
    data = splits()
    turned = replace(data, private=data.private.take(np.arange(30)[::-1]))

    one, other = gallery.gallery_of(data, np.arange(30)), gallery.gallery_of(turned, np.arange(30))

    assert torch.equal(one.images, other.images)
    assert np.array_equal(one.columns, other.columns[::-1])
    assert not np.array_equal(np.sort(one.columns), one.columns)


def test_a_gallery_without_the_originals_is_refused():
    made = gallery.gallery_of(splits(), np.arange(10))

    with pytest.raises(HarnessError, match="lacks 2 of 3 scored originals") as caught:
        made.truth(np.array([3, 20, 21]))
    with pytest.raises(HarnessError, match="without originals"):
        gallery.gallery_of(splits(), np.array([], np.int64))

    assert "\n" not in str(caught.value)


def test_a_gallery_of_unequal_sizes_is_refused():
    data, larger = splits(), splits(size=32)

    with pytest.raises(HarnessError, match=r"differ in size \(16x16 and 32x32\)"):
        gallery.assemble(data.private, np.arange(3), larger.test, np.arange(3))


def test_a_distractor_that_is_an_original_is_refused():
    data = splits()

    with pytest.raises(HarnessError, match="a distractor of the gallery is an original"):
        gallery.assemble(data.private, np.arange(3), data.private, np.arange(2, 5))


# In a cell


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return bench(tmp_path_factory.mktemp("gallery"), splits(test=30))


def test_undefended_images_are_all_reidentified_and_the_record_has_the_gallery_size(stage):
    shown = stage.release(stage.undefended, 0)

    rank1 = shown.scores["reid_rank1"]
    assert (rank1["mean"], rank1["n"], rank1["gallery"]) == (1, 30, 60)
    assert rank1["chance"] == pytest.approx(1 / 60) and rank1["low"] < 1  # Wilson's
    assert shown.scores["reid_rank5"]["chance"] == pytest.approx(5 / 60)
    assert shown.arrays["reid_rank1"].tolist() == [1] * 30


def test_a_reconstruction_equal_to_the_release_scores_like_the_release(stage):
    noisy, entry = stage.registry.get("defenses", "noise_mix"), attack("the_release")

    shown, attacked = stage.release(noisy, 0), stage.attack(noisy, entry, 0)

    assert attacked.status == "ok", attacked.reason
    for name in ("reid_rank1", "reid_rank5"):
        assert np.array_equal(shown.arrays[name], attacked.arrays[name])
        assert attacked.scores[name] == shown.scores[name]


def test_an_attack_that_compares_pixels_finds_everyone_undefended(stage):
    found = stage.attack(stage.undefended, here("finds_copies"), 0)

    assert found.status == "ok", found.reason
    assert found.scores["reid_rank1"]["mean"] == 1 and found.scores["reid_rank1"]["corrected"] == 1


def test_the_order_of_the_gallery_gives_no_information(stage):
    found = stage.attack(stage.undefended, here("tells_the_order"), 0)

    assert found.scores["reid_rank1"]["mean"] <= 1 / 30 and found.scores["reid_rank5"]["mean"] <= 5 / 30


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("one_column_short", "scores of (30, 59), expected (30, 60)"),
        ("broken", "NaN"),
    ],
)
def test_an_invalid_guess_is_a_failed_cell(stage, function, said):
    result = stage.attack(stage.undefended, here(function), 0)

    assert result.status == "failed" and said in result.reason and not result.scores


def test_a_learned_attack_at_chance_has_failed(stage):
    result = stage.attack(stage.undefended, here("constant", traits=("learned",)), 0)

    assert (
        result.status == "failed"
        and "re-identified (rank 1): 0.00 on undefended images is not above chance (0.02)" in result.reason
    )


def test_another_embedding_changes_only_records_of_releases_and_reconstructions(stage):
    """And other ranks, of re-identification too; recognition does not use it."""
    noisy = stage.registry.get("defenses", "noise_mix")
    attacks = {"seen": attack("the_release"), "named": here("constant"), "read": attack("first_class", "recognition")}

    def keys(changed=None, version=9):
        entries = [replace(e, version=version) if e.name == changed else e for e in stage.registry.entries]
        other = replace(stage, registry=Registry(tuple(entries)))
        made = {name: other.attack_spec(noisy, entry, 0).key for name, entry in attacks.items()}
        return {"release": other.release_spec(noisy, 0).key, **made}

    before = keys()
    for changed, moved in (("identity", {"release", "seen"}), ("reidentification", {"release", "seen", "named"})):
        after = keys(changed, 10)
        assert {name for name in before if before[name] != after[name]} == moved


def test_the_gallery_holds_all_targets_whatever_the_dominant_source():
    """With weights .5 and .5 an original may dominate no release; it stays in the gallery all the same."""
    data = splits(private=24)
    made = bench(None, data, targets=8)
    mix = made.registry.get("defenses", "mix")

    seen = [made.client.observe(mix, here("constant"), seed).gallery for seed in range(3)]

    assert len(seen[0]) == 8 + 12
    assert all(torch.equal(one, seen[0]) for one in seen)
