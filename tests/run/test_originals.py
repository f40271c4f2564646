"""The smallest distance per original and its null, against figures that can be read off flat images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.client.client import Client
from harness.client.gallery import Gallery
from harness.errors import HarnessError
from harness.records import numbers
from harness.registry import Registry, load_registry
from harness.run import originals as originals_module
from harness.run.answers import Answers, of_guess
from harness.run.originals import DERANGEMENTS, Minima, others_of, pairs_at_a_time, summaries
from harness.run.scoring import by_row, pooled, score
from harness.types import Guess
from tests.helpers import planted

GAP = "tests.run.test_originals:gap"


def gap(images, originals, **_):
    """Largest difference of two images, in grey levels."""
    return (images - originals).abs().flatten(1).amax(1) * 255


def flat(levels):
    """(...,) grey levels -> (..., 3, 16, 16) uint8."""
    levels = np.asarray(levels)
    grey = torch.as_tensor(levels, dtype=torch.uint8)[..., None, None, None]
    return grey.expand(*levels.shape, 3, planted.SIZE, planted.SIZE).contiguous()


def client(levels, labels=None, identities=None, **options):
    """A client whose private images are flat, each its own identity, and whose distances are that of grey levels."""
    labels = np.zeros(len(levels), np.int64) if labels is None else np.asarray(labels)
    data = planted.splits(private=3, public=6, test=6)
    data = replace(data, private=planted.dataset(flat(levels).numpy(), labels))
    found = planted.bench(None, data, **options)
    entries = [
        replace(entry, use=GAP, params={}) if entry.name in ("dssim", "dhaar", "aligned_dssim") else entry
        for entry in found.registry.entries
    ]
    made = replace(found, registry=Registry(tuple(entries))).client
    everyone = np.arange(len(levels))
    made.__dict__["gallery"] = Gallery(flat(levels), everyone, everyone if identities is None else identities)
    return made


def answers(candidates, sources, dominant):
    return Answers(flat(candidates), np.array(sources), np.array(dominant))


def test_each_original_gets_the_smallest_distance_over_all_that_answers_it():
    """Original 0 (level 100) is answered by 90 and 130 in one release and by 103 in another: 3."""
    minima = Minima(client([100, 200, 50, 10]))

    minima.add(answers([[90, 130]], [[0, 1]], [0]))
    minima.add(answers([[103], [55]], [[0, 1], [2, 3]], [0, 0]))

    arrays = minima.arrays()
    assert arrays["originals"].tolist() == [0, 2]
    assert arrays["worst_dssim"] == pytest.approx([3, 5])
    assert arrays["held"].tolist() == [0, 1, 2, 3]
    assert arrays["worst_any_dssim"] == pytest.approx([3, 70, 5, 45])


def test_a_near_copy_of_the_original_is_no_stranger():
    """What answers original 0 is compared with 2 and 3 alone: 1 is of its own burst."""
    copies = np.array([0, 0, 2, 3])
    plain, burst = (Minima(client([100, 101, 150, 160], identities=each)) for each in (None, copies))

    for minima in (plain, burst):
        minima.add(answers([[100], [101], [150], [160]], [[0], [1], [2], [3]], [0, 0, 0, 0]))

    assert np.nanmin(plain.arrays()["null_dssim"][0]) == pytest.approx(1)
    assert np.nanmin(burst.arrays()["null_dssim"][0]) == pytest.approx(50)


def test_a_release_that_shows_its_lesser_source_counts_for_that_one():
    """The defense says that original 0 dominates, and releases original 1 as it is."""
    minima = Minima(client([100, 200]))

    minima.add(answers([[200]], [[0, 1]], [0]))

    arrays = minima.arrays(raw=True)
    assert arrays["worst_dssim"] == pytest.approx([100])
    assert arrays["worst_any_dssim"] == pytest.approx([100, 0])
    assert arrays["any_dssim_all"] == pytest.approx([100, 0]) and arrays["dssim_all"] == pytest.approx([100])


def of_each(levels, *guesses):
    """Minima with one answer by each row of guesses, (N,) levels, for every original."""
    one = client(levels)
    minima = Minima(one)
    for guess in guesses:
        minima.add(answers(np.array(guess)[:, None], np.arange(len(levels))[:, None], np.zeros(len(levels), int)))
    return one, minima


def test_the_null_is_the_same_minimum_of_what_answers_others_of_the_class():
    """Six originals of one class, each answered by itself: the null of one is its distance to the other five."""
    levels = [100, 110, 120, 130, 140, 150]

    _, minima = of_each(levels, levels)

    null = minima.arrays()["null_dssim"]
    assert sorted(null[0]) == pytest.approx([10, 20, 30, 40, 50])
    assert sorted(null[2]) == pytest.approx([10, 10, 20, 20, 30])
    assert summaries(minima.arrays())["null_dssim"]["mean"] == pytest.approx(
        np.abs(np.subtract.outer(levels, levels)).sum() / 30
    )


def test_the_null_has_as_many_guesses_as_the_worst_case():
    """Column t of the null of an original is the least distance of both answers to the one whose t-th other it is."""
    levels = np.array([100, 110, 120, 130, 140, 150])

    one, minima = of_each(levels, levels, levels[::-1].copy())

    others, null = others_of(one.splits.private, one.is_target), minima.arrays()["null_dssim"]
    for stranger, columns in enumerate(others):
        for column, original in enumerate(columns):
            expected = min(abs(levels[original] - levels[stranger]), abs(levels[original] - levels[::-1][stranger]))
            assert null[original, column] == pytest.approx(expected)


def test_a_plain_original_is_as_near_to_what_answers_others():
    """One grey for all, which one original happens to be: its worst case is 0, and so is its null."""
    _, minima = of_each([100, 200, 210, 220, 230, 240, 250], [100] * 7)

    arrays = minima.arrays()
    assert arrays["worst_dssim"][0] == 0 and (arrays["null_dssim"][0] == 0).all()
    assert arrays["null_dssim"] == pytest.approx(np.broadcast_to(arrays["worst_dssim"][:, None], (7, 5)))
    assert arrays["null_any_dssim"] == pytest.approx(np.repeat(arrays["worst_any_dssim"][:, None], DERANGEMENTS, 1))


def test_every_target_has_a_null_where_few_originals_are_targets():
    one = client(np.arange(40) * 6, [0, 1] * 20, targets=10)
    minima = Minima(one)
    minima.add(answers(np.arange(40)[:, None], np.arange(40)[:, None], np.zeros(40, int)).of_targets(one))

    assert np.isfinite(minima.arrays()["null_dssim"]).all() and len(minima.arrays()["null_dssim"]) == 10


def test_an_image_of_the_same_mixture_is_no_stranger():
    """Every other of the class is mixed into the release: its null is unknown, and left out of the summary."""
    minima = Minima(client([100, 110]))

    minima.add(answers([[100], [110]], [[0, 1], [1, 0]], [0, 0]))

    arrays = minima.arrays()
    assert np.isnan(arrays["null_dssim"]).all()
    assert summaries(arrays)["null_dssim"]["n"] == 0


@pytest.mark.parametrize("labels", [[0] * 9, [0, 1, 2] * 5, [0, 0, 1, 1, 1, 2], [0, 1, 1]])
def test_others_are_of_the_same_class_and_never_the_image_itself(labels):
    data = client(np.arange(len(labels)) * 7, labels).splits.private

    others = others_of(data, np.ones(len(labels), bool))

    assert others.shape == (len(labels), DERANGEMENTS)
    assert (others != np.arange(len(labels))[:, None]).all()
    for label in set(labels):
        rows = np.flatnonzero(data.labels == label)
        if len(rows) > 1:
            assert (data.labels[others[rows]] == label).all()
            for column in range(DERANGEMENTS):  # a permutation of the class
                assert sorted(others[rows, column]) == rows.tolist()
        assert len(set(others[rows[0]])) == min(
            DERANGEMENTS, max(1, len(rows) - 1) if len(rows) > 1 else len(labels) - 1
        )


def test_images_that_are_no_targets_are_left_out():
    one = client([100, 110, 120, 130], targets=2)
    minima = Minima(one)
    rows = np.arange(4)

    minima.add(answers([[100]] * 4, rows[:, None], np.zeros(4, int)))

    assert minima.arrays()["originals"].tolist() == np.flatnonzero(one.is_target).tolist()
    assert len(minima.arrays()["originals"]) == 2


def test_the_best_and_the_first_candidate_are_told_apart():
    """Candidates 10 and 70 for sources 60 (dominant) and 12: best 10, first 50, nearest source 2."""
    minima = Minima(client([60, 12]))

    found = by_row(minima.add(answers([[10, 70]], [[0, 1]], [0])), np.array([0]))

    assert found["attacked_dssim"] == pytest.approx([10]) and found["first_dssim"] == pytest.approx([50])
    assert found["attacked_any_dssim"] == pytest.approx([2])


def test_the_dominant_source_may_be_in_any_column():
    minima = Minima(client([60, 12]))

    found = by_row(minima.add(answers([[10], [10]], [[0, 1], [0, 1]], [0, 1])), np.array([0, 1]))

    assert found["attacked_dssim"] == pytest.approx([50, 2])


def test_many_answers_are_each_compared_with_their_own_original():
    """More than one chunk of them; answer i is i levels away from its original, modulo 50."""
    steps = np.arange(2000) % 50
    minima = Minima(client(np.full(2000, 100), targets=2000))

    minima.add(answers((100 + steps)[:, None], np.arange(2000)[:, None], np.zeros(2000, int)))

    assert minima.arrays()["worst_dssim"] == pytest.approx(steps, abs=1e-3)


def test_the_figures_of_real_metrics_are_the_same_in_stacks_of_any_size(monkeypatch):
    """To the last bit: of one pair, of a few with a shorter rest, and of all at once."""
    data, rng = planted.splits(private=9, public=6, test=6), np.random.default_rng(0)
    given = Answers(
        torch.from_numpy(rng.integers(0, 256, (9, 2, 3, planted.SIZE, planted.SIZE), dtype=np.uint8)),
        np.stack([np.arange(9), (np.arange(9) + 1) % 9], 1),
        np.zeros(9, int),
    )
    pair, found = 4 * 3 * planted.SIZE**2, []

    for pairs in (1, 5 * 2 * 2 * (1 + DERANGEMENTS), 10**6):
        monkeypatch.setitem(originals_module._STACK_BYTES, "cpu", pairs * pair)
        minima = Minima(planted.bench(None, data).client)
        found.append({**minima.add(given), **minima.arrays(raw=True)})

    for name, values in found[0].items():
        assert all(np.array_equal(values, other[name]) for other in found[1:]), name
    assert len(np.unique(found[0]["dssim"])) > 20


def test_stacks_of_pairs_are_measured_in_bytes_per_thread():
    """4 MiB for each thread of a CPU, 64 MiB on a GPU, and never less than one pair."""
    threads = torch.get_num_threads()

    assert pairs_at_a_time((3, 64, 64), "cpu") == 2**22 * threads // (4 * 3 * 64 * 64)
    assert pairs_at_a_time((3, 256, 256), "cpu") == 2**22 * threads // (4 * 3 * 256 * 256)
    assert pairs_at_a_time((3, 64, 64), "cuda:0") == 2**26 // (4 * 3 * 64 * 64)
    assert pairs_at_a_time((3, 20000, 20000), "cpu") == 1


def test_one_ranking_per_original_takes_the_best_of_its_images():
    likeness = torch.tensor([[[0.1, 0.9], [0.3, 0.2]], [[0.5, 0.1], [0.0, 0.0]], [[0.7, 0.7], [0.8, 0.1]]])

    best = pooled(likeness, np.array([1, 1, 0]), torch.full((2, 2), -torch.inf))

    assert torch.equal(best, torch.tensor([[0.8, 0.7], [0.5, 0.9]]))


# Guesses that name releases


def entry():
    return planted.attack("the_release", granted=("releases",))


def against_mix(releases=3):
    """A bench whose releases differ, its defense, and release 0 with its secret."""
    bench = planted.bench(None, None, entry(), epochs=releases)
    defense = bench.registry.get("defenses", "mix")
    return bench.client, lambda number: bench.client.release(defense, 0, number)


def test_a_guess_may_answer_any_release_and_is_scored_per_original():
    """The second release as it is, answered as such: the scores of that release, one number per original."""
    one, release = against_mix()
    second, secret = release(1)
    named = np.stack([np.ones(len(second), int), np.arange(len(second))], 1)

    scores, arrays = score(one, entry(), Guess(second.images[:, None], releases=named), *release(0), release)

    assert arrays["units"].tolist() == sorted(set(secret.dominant_rows.tolist())) == arrays["originals"].tolist()
    assert arrays["attacked_dhaar"] == pytest.approx(arrays["worst_dhaar"])
    assert (arrays["worst_dssim"] <= arrays["attacked_dssim"] + 1e-6).all()  # aligned
    assert scores["attacked_dssim"]["n"] == len(arrays["units"])


def test_more_releases_never_show_less():
    one, release = against_mix()
    images, named = [], []
    for number in range(3):
        images.append(release(number)[0].images[:, None])
        named.append(np.stack([np.full(len(images[-1]), number), np.arange(len(images[-1]))], 1))
    first, _ = score(one, entry(), Guess(images[0], releases=named[0]), *release(0), release)
    every, _ = score(one, entry(), Guess(torch.cat(images), releases=np.concatenate(named)), *release(0), release)

    assert every["worst_any_dssim"]["mean"] < first["worst_any_dssim"]["mean"]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ([[0, 0], [0, 0]], "several rows"),
        ([[0, 0], [7, 0]], "answers release 7; there are 3"),
        ([[0, 0], [-1, 0]], "answers release -1"),
        ([[0, 0], [1, 99]], "answers image 99 of release 1, which has 30"),
        ([[0, 0], [1, -2]], "answers image -2"),
        ([[0, 0]], "names 1 releases for 2 rows"),
        ([[0.0, 0.0], [1.0, 1.0]], "integers"),
        ([0, 1], "integers"),
    ],
)
def test_wrong_names_of_releases_are_refused(named, said):
    one, release = against_mix()
    guess = Guess(release(0)[0].images[:2, None], releases=np.array(named))

    with pytest.raises(HarnessError, match=said):
        of_guess(one, entry(), guess, *release(0), release)


def test_an_attack_that_is_not_granted_the_releases_answers_the_first_alone():
    """Its record does not depend on R, so its figures would be read beside any number of releases."""
    one, release = against_mix()
    guess = Guess(release(0)[0].images[:2, None], releases=np.array([[0, 0], [1, 0]]))

    with pytest.raises(HarnessError, match="answers release 1; is granted 1, and the first is 0"):
        of_guess(one, planted.attack("the_release"), guess, *release(0), release)


def test_only_reconstructions_name_releases():
    one, release = against_mix()
    reader = planted.attack("first_class", "recognition")
    guess = Guess(scores=torch.ones(30, 3), releases=np.zeros((30, 2), int))

    with pytest.raises(HarnessError, match="only a reconstruction"):
        score(one, reader, guess, *release(0), release)


def test_records_are_read_with_as_many_derangements_as_are_made():
    assert numbers.DERANGEMENTS == DERANGEMENTS


def test_who_is_scored_depends_on_images_that_no_defense_is_given() -> None:
    """The private images are the same, and one test image is another: a defense cannot compute its targets."""
    few, more = (Client(planted.splits(test=count), load_registry(), "cpu", 1, 10) for count in (12, 13))

    assert np.array_equal(few.splits.private.images, more.splits.private.images)
    assert few.is_target.sum() == more.is_target.sum() == 10
    assert not np.array_equal(few.is_target, more.is_target)
