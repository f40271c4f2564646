"""Plans: who is mixed with whom, how much, and that chance is fair.

Reference: Raynal et al. 2020, sections 3.1, 4.4 and 5.1.
"""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, chisquare, kstest

from harness.errors import HarnessError
from harness.mixing import DISTORTION_GRID, plan, source_count
from harness.randomness import derive, numpy_generator
from harness.types import Plan

pairings = pytest.mark.parametrize("pairing", ["permutation", "matching"])
Rows = np.ndarray[Any, Any]


def mixing(weights: Any = (0.75, 0.25), pairing: str = "permutation", intra_class: bool = False) -> dict[str, Any]:
    return {"weights": weights, "pairing": pairing, "intra_class": intra_class, "label": "dominant"}


def falling(k: int) -> list[float]:
    """k different weights that sum to 1, the largest first."""
    return [2 * (k - i) / (k * (k + 1)) for i in range(k)]


def seeded_rng(seed: int = 0) -> np.random.Generator:
    return numpy_generator(derive(b"mixing", seed))


def one(n: int, seed: int = 0, **settings: Any) -> Plan:
    """A plan for n images of one class."""
    return plan(np.zeros(n, np.int64), mixing(**settings), seeded_rng(seed))


def all_different(rows: Rows) -> bool:
    return all(len(set(row)) == len(row) for row in rows.tolist())


def fair(counts: Any) -> bool:
    """Chi-square against equal chances; the seed is fixed, so the result is always the same."""
    return bool(chisquare(counts).pvalue > 1e-4)


@st.composite
def sets(draw: st.DrawFn) -> tuple[Rows, int, int]:
    """Labels of classes of odd and even sizes, shuffled; k sources that every class can fill; a seed."""
    k = draw(st.integers(1, 8))
    sizes = draw(st.lists(st.integers(k, k + 7), min_size=1, max_size=4))
    seed = draw(st.integers(0, 10**6))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(labels), k, seed


# ---- pairing ---------------------------------------------------------------------------------------------------------


@given(case=sets(), intra_class=st.booleans())
def test_in_a_permutation_every_original_is_mixed_k_times_and_never_with_itself(
    case: tuple[Rows, int, int], intra_class: bool
) -> None:
    """N mixtures; each column holds every original once, so with falling weights each dominates exactly one."""
    labels, k, seed = case

    made = plan(labels, mixing(falling(k), "permutation", intra_class), seeded_rng(seed))

    n = len(labels)
    assert made.sources.shape == made.weights.shape == (n, k) and made.ties.shape == (n,)
    assert all(np.array_equal(np.sort(column), np.arange(n)) for column in made.sources.T)
    assert all_different(made.sources)


@given(case=sets(), intra_class=st.booleans())
def test_in_a_matching_every_original_is_mixed_at_most_once(case: tuple[Rows, int, int], intra_class: bool) -> None:
    """As many mixtures as fit: n // k, counted per class where partners are of one class."""
    labels, k, seed = case

    made = plan(labels, mixing(falling(k), "matching", intra_class), seeded_rng(seed))

    groups = np.bincount(labels) if intra_class else np.array([len(labels)])
    assert len(made) == (groups // k).sum()
    assert np.bincount(made.sources.ravel()).max() == 1


@pairings
@given(case=sets())
def test_intra_class_partners_share_their_class(pairing: str, case: tuple[Rows, int, int]) -> None:
    labels, k, seed = case

    made = plan(labels, mixing(falling(k), pairing, True), seeded_rng(seed))

    classes = labels[made.sources]
    assert (classes == classes[:, :1]).all()
    assert set(classes[:, 0]) == set(labels)


@pytest.mark.parametrize("n", [8, 9, 10, 13, 100])
def test_eight_sources_of_few_images_are_found(n: int) -> None:
    """n == k included: all k! of a row, each column still a permutation."""
    for seed in range(20):
        made = one(n, seed, weights=falling(8))

        assert all_different(made.sources)
        assert all(np.array_equal(np.sort(column), np.arange(n)) for column in made.sources.T)


@pytest.mark.parametrize("n", [64, 65, 500, 3000])
def test_large_permutations_have_no_fixed_point(n: int) -> None:
    """From 64 images on clashes are repaired by swaps instead of drawn again."""
    for k in (2, 3):
        made = one(n, weights=falling(k))

        assert all_different(made.sources)
        assert all(np.array_equal(np.sort(column), np.arange(n)) for column in made.sources.T)


@pytest.mark.parametrize("n", [3, 4])
def test_every_derangement_is_equally_likely(n: int) -> None:
    """2 of three images, 9 of four: Chi-square over all of them."""
    possible = [order for order in permutations(range(n)) if all(order[i] != i for i in range(n))]
    drawn = Counter(tuple(p for _, p in sorted(one(n, seed).sources.tolist())) for seed in range(2000))

    assert set(drawn) == set(possible)
    assert fair([drawn[order] for order in possible])


@pytest.mark.parametrize(
    "n, k, draws", [(5, 2, 1500), (5, 3, 1500), (5, 5, 1500), (7, 4, 1500), (70, 2, 3500), (70, 3, 3500)]
)
def test_every_other_image_is_equally_likely_as_a_partner(n: int, k: int, draws: int) -> None:
    """For the first and the last image, in every place of the mixture; 70 images take the repairing branch."""
    partners = np.stack(
        [rows[rows[:, 0].argsort()] for rows in (one(n, s, weights=falling(k)).sources for s in range(draws))]
    )

    for image in (0, n - 1):
        for place in range(1, k):
            counts = np.bincount(partners[:, image, place], minlength=n)
            assert counts[image] == 0
            assert fair(np.delete(counts, image))


def test_matched_partners_and_those_left_out_are_equally_likely() -> None:
    """Five images make two pairs; image 0 meets each other one, or is the one left out, a fifth of the time each."""
    met = []
    for seed in range(1500):
        pairs = one(5, seed, pairing="matching").sources
        with_zero = pairs[(pairs == 0).any(1)]
        met.append(int(with_zero.sum()) if len(with_zero) else 0)

    assert fair(np.bincount(met, minlength=5))


def test_either_of_a_matched_pair_may_dominate() -> None:
    first = [one(2, seed, pairing="matching").sources[0, 0] for seed in range(1000)]

    assert fair(np.bincount(first, minlength=2))


def test_the_order_of_the_release_is_a_fair_shuffle() -> None:
    """Where image 0 dominates: every row equally likely."""
    rows = [int(np.flatnonzero(one(6, seed).sources[:, 0] == 0)[0]) for seed in range(1500)]

    assert fair(np.bincount(rows, minlength=6))


@pytest.mark.parametrize("intra_class", [False, True], ids=["any class", "intra-class"])
@pairings
def test_too_few_images_are_refused(pairing: str, intra_class: bool) -> None:
    """Whether the whole set or one class is too small, the message counts and says where."""
    labels = np.array([0, 0, 0, 1, 1]) if intra_class else np.array([0, 1])
    where = "a class" if intra_class else "the set"

    with pytest.raises(HarnessError, match=f"{where} has 2 images, fewer than the 3 sources of a mixture"):
        plan(labels, mixing([0.5, 0.3, 0.2], pairing, intra_class), seeded_rng())


def test_a_class_may_be_missing() -> None:
    """Labels are positions in a list of classes; a class without images is nobody's trouble."""
    labels = np.array([0, 0, 5, 5, 5])

    made = plan(labels, mixing(intra_class=True), seeded_rng())

    assert len(made) == 5


# ---- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weights, count",
    [
        ([1.0], 1),
        ([0.75, 0.25], 2),
        ([0.7, 0.2, 0.1], 3),
        ([[0.5, 0.5], [0.6, 0.4]], 2),
        ([[0.7, 0.2, 0.1]], 3),
        ({"beta": 0.4}, 2),
        ("distortion", 2),
    ],
    ids=str,
)
def test_the_number_of_sources_follows_from_the_weights(weights: Any, count: int) -> None:
    assert source_count(mixing(weights)) == count


@pytest.mark.parametrize("vector", [[1.0], [0.75, 0.25], [0.25, 0.75], [0.1, 0.7, 0.2], [1 / 3, 1 / 3, 1 / 3]], ids=str)
@pairings
def test_fixed_weights_are_every_mixtures_weights_the_largest_first(pairing: str, vector: list[float]) -> None:
    made = one(12, weights=vector, pairing=pairing)

    assert made.weights.dtype == np.float32
    np.testing.assert_allclose(made.weights, [sorted(vector, reverse=True)] * len(made), atol=1e-7)


def test_a_list_of_vectors_is_drawn_from_fairly() -> None:
    vectors = [[0.5, 0.5], [0.6, 0.4], [0.3, 0.7]]

    made = one(3000, weights=vectors)

    expected = np.float32([[0.5, 0.5], [0.6, 0.4], [0.7, 0.3]])
    which = np.abs(made.weights[:, None] - expected).sum(2).argmin(1)
    np.testing.assert_allclose(made.weights, expected[which], atol=1e-7)
    assert fair(np.bincount(which, minlength=3))


@pytest.mark.parametrize("a", [0.2, 0.4, 1.0])
def test_mixup_weights_are_beta_distributed(a: float) -> None:
    """The smaller of lambda and 1 - lambda, lambda ~ Beta(a, a): P(min <= x) = 2 P(lambda <= x) by symmetry."""
    made = one(4000, weights={"beta": a})

    np.testing.assert_allclose(made.weights.sum(1), 1, atol=1e-6)
    smaller = made.weights[:, 1].astype(np.float64)
    assert kstest(smaller, lambda x: 2 * beta.cdf(x, a, a)).pvalue > 1e-3


@given(n=st.integers(8, 40), k=st.integers(1, 6), seed=st.integers(0, 999), data=st.data())
def test_the_dominant_source_is_first_and_weights_sum_to_1(n: int, k: int, seed: int, data: st.DataObject) -> None:
    """Whatever the family of weights; and a source keeps the weight that was drawn for it."""
    drawn = data.draw(st.lists(st.permutations(falling(k)), min_size=1, max_size=3))

    made = plan(np.zeros(n, np.int64), mixing([list(vector) for vector in drawn]), seeded_rng(seed))

    assert (np.diff(made.weights, axis=1) <= 0).all()
    np.testing.assert_allclose(made.weights.sum(1), 1, atol=1e-6)


def test_ties_are_uniform_numbers_below_1() -> None:
    ties = one(5000).ties

    assert ties.dtype == np.float32 and ties.min() >= 0 and ties.max() < 1
    assert kstest(ties.astype(np.float64), "uniform").pvalue > 1e-3


def test_distortion_picks_each_pairs_most_distorting_weight() -> None:
    """Planted: pair (a, b) is distorted most at one share of a; only the lesser of its two distances peaks there."""
    asked: list[Rows] = []
    shares = np.array(DISTORTION_GRID)

    def best(sources: Rows) -> Rows:
        return shares[(3 * sources[:, 0] + sources[:, 1]) % len(shares)]

    def distances(sources: Rows, weights: Rows) -> Rows:
        asked.append(sources.copy())
        np.testing.assert_allclose(weights.sum(1), 1)
        lesser = 1 - np.abs(weights[:, 0] - best(sources))
        return np.stack([lesser, 2 + weights[:, 0]], 1) if len(asked) % 2 else np.stack([2 - weights[:, 0], lesser], 1)

    made = plan(np.zeros(40, np.int64), mixing("distortion"), seeded_rng(), distances)

    pairs = asked[0]
    share = best(pairs)
    swapped = share < 0.5
    np.testing.assert_array_equal(made.sources, np.where(swapped[:, None], pairs[:, ::-1], pairs))
    np.testing.assert_allclose(made.weights[:, 0], np.maximum(share, 1 - share), atol=1e-6)
    assert len(set(share)) == len(shares)


def test_distortion_without_a_distance_is_refused() -> None:
    with pytest.raises(HarnessError, match="distortion needs the metric dssim"):
        one(6, weights="distortion")


# ---- what a plan depends on ------------------------------------------------------------------------------------------


@pairings
@pytest.mark.parametrize(
    "weights", [[0.75, 0.25], [[0.5, 0.5], [0.6, 0.4]], {"beta": 0.4}], ids=["one", "several", "beta"]
)
def test_equal_generators_give_equal_plans_and_others_give_others(pairing: str, weights: Any) -> None:
    made, again, other = (one(50, seed, weights=weights, pairing=pairing) for seed in (1, 1, 2))

    for name in ("sources", "weights", "ties"):
        assert np.array_equal(getattr(made, name), getattr(again, name))
    assert not np.array_equal(made.sources, other.sources)
    assert not np.array_equal(made.ties, other.ties)


def test_labels_have_no_part_in_a_plan_that_crosses_classes() -> None:
    plain = plan(np.zeros(30, np.int64), mixing(), seeded_rng())
    labelled = plan(np.arange(30) % 3, mixing(), seeded_rng())

    assert np.array_equal(plain.sources, labelled.sources)


def test_planning_leaves_the_labels_and_numpys_global_generator_alone() -> None:
    labels = np.arange(20) % 2
    before = np.random.get_state()[1].copy()

    plan(labels, mixing(intra_class=True), seeded_rng())

    assert np.array_equal(labels, np.arange(20) % 2)
    assert np.array_equal(before, np.random.get_state()[1])
