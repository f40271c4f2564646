"""What an attack got, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from harness.errors import NotConverged
from harness.plugins.evaluators.success import attribute, distances, recognition, reconstruction


def pairs_of_classes(k):
    """Every ordered pair of k classes, once with the first source dominant and once with the second."""
    first, second = (grid.ravel() for grid in np.meshgrid(np.arange(k), np.arange(k)))
    sources = np.tile(np.stack([first, second], 1), (2, 1))
    dominant = np.repeat([0, 1], k * k)
    return sources, dominant, sources[np.arange(len(sources)), dominant]


def sure_of(classes, k):
    return functional.one_hot(torch.from_numpy(np.asarray(classes)), k).float()


# Recognition


@pytest.mark.parametrize(("k", "most"), [(10, 0.55), (2, 0.75), (1, 1.0)])
def test_a_perfect_reader_of_one_of_two_sources_hits_the_dominant_one_in_half_of_the_cases(k, most):
    """With lambda .5 and a coin for the label, top-1 is (1 + P(same class)) / 2; intra-class mixing gives 1."""
    sources, dominant, released = pairs_of_classes(k)

    hits, _ = recognition(sure_of(sources[:, 0], k), sources, dominant, released)

    assert hits["top1"].mean() == pytest.approx((1 + 1 / k) / 2) == pytest.approx(most)
    assert hits["any_source"].mean() == 1


def test_a_reader_of_the_label_hits_the_label_and_every_source_counts():
    sources, dominant, released = pairs_of_classes(4)

    hits, _ = recognition(sure_of(released, 4), sources, dominant, released)

    assert hits["released"].mean() == hits["top1"].mean() == hits["any_source"].mean() == 1


def test_the_other_source_is_a_hit_of_any_source_alone():
    hits, _ = recognition(sure_of([2], 3), np.array([[0, 2]]), np.array([0]), np.array([0]))

    assert (hits["top1"][0], hits["any_source"][0], hits["released"][0]) == (0, 1, 0)


def test_a_label_that_differs_from_the_dominant_source_is_scored_separately():
    hits, _ = recognition(sure_of([1], 3), np.array([[0, 2]]), np.array([0]), np.array([1]))

    assert (hits["top1"][0], hits["any_source"][0], hits["released"][0]) == (0, 0, 1)


def test_chance_is_the_best_constant_guess():
    """Classes 0, 0, 0, 1: always 0 hits three of four. Among both sources, class 1 is in all of them."""
    sources = np.array([[0, 1], [0, 1], [0, 1], [1, 0]])

    _, chance = recognition(sure_of([0, 0, 0, 0], 3), sources, np.zeros(4, int), np.array([2, 2, 0, 1]))

    assert chance == {"top1": 0.75, "any_source": 1.0, "released": 0.5}


@pytest.mark.parametrize("k", [2, 5])
def test_chance_over_every_pair_of_classes(k):
    """1/K for the dominant source, 1 - (1 - 1/K)^2 for either; a constant guess scores just that."""
    sources, dominant, released = pairs_of_classes(k)

    hits, chance = recognition(sure_of(np.zeros(len(sources), int), k), sources, dominant, released)

    assert chance["top1"] == pytest.approx(1 / k) == pytest.approx(hits["top1"].mean())
    assert chance["any_source"] == pytest.approx(1 - (1 - 1 / k) ** 2) == pytest.approx(hits["any_source"].mean())


def test_no_answer_is_never_a_hit():
    scores = torch.tensor([[0.0, 0.0], [-1.0, -2.0]])

    hits, _ = recognition(scores, np.array([[0, 0], [0, 0]]), np.zeros(2, int), np.array([0, 0]))

    assert not any(values.any() for values in hits.values())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_a_failed_attack(value):
    with pytest.raises(NotConverged, match="NaN or infinity"):
        recognition(torch.full((2, 3), value), np.zeros((2, 1), int), np.zeros(2, int), np.zeros(2, int))


# Attributes: label 0 hides 0, 0, 1; label 1 hides 2, 2, 2, 3

LABELS, HIDDEN = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 1, 2, 2, 2, 3])


def test_chance_of_an_attribute_is_the_best_guess_from_the_label():
    hits, chance = attribute(sure_of(HIDDEN, 4), HIDDEN, LABELS)

    assert hits["attribute"].tolist() == [1] * 7
    assert chance == {"attribute": pytest.approx(5 / 7), "constant": pytest.approx(3 / 7)}


def test_a_guess_from_the_label_alone_is_at_chance():
    hits, chance = attribute(sure_of(np.where(LABELS == 0, 0, 2), 4), HIDDEN, LABELS)

    assert hits["attribute"].mean() == pytest.approx(chance["attribute"])


def test_no_answer_is_no_hit_and_nan_is_refused():
    assert not attribute(torch.zeros(7, 4), HIDDEN, LABELS)[0]["attribute"].any()
    with pytest.raises(NotConverged, match="NaN or infinity"):
        attribute(torch.full((7, 4), float("nan")), HIDDEN, LABELS)


# Reconstruction: flat images, so that a distance is the difference of two grey levels


def grey(levels):
    """Flat images of these levels, any shape (...,) -> (..., 3, 2, 2)."""
    return (
        torch.tensor(levels, dtype=torch.uint8)[..., None, None, None].expand(*np.shape(levels), 3, 2, 2).contiguous()
    )


def gap(images, originals):
    return (images - originals).abs().flatten(1).amax(1) * 255


def test_distances_cross_every_candidate_with_every_source():
    guesses, truth = grey([[0, 10]]) / 255, grey([[1, 5, 7]]) / 255

    grid = distances(guesses, truth, gap)

    assert torch.allclose(grid, torch.tensor([[[1.0, 5.0, 7.0], [9.0, 5.0, 3.0]]]))


def test_each_metric_has_its_own_grid():
    found = reconstruction(grey([[10]]) / 255, grey([[30]]) / 255, {"gap": gap, "twice": lambda a, b: 2 * gap(a, b)})

    assert found["gap"] == pytest.approx(np.array([[[20]]])) and found["twice"] == pytest.approx(np.array([[[40]]]))
