"""Originals that an adversary names for certain: some clear answers are all right, whatever the rest says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.run.certain import certain

N, G = 300, 1000
CHANCE = 1 / G


def unrelated(rng, n=N, size=G, tail=0.0):
    """Scores that know nothing: exponential, to a power for a heavier tail."""
    return torch.from_numpy(rng.exponential(size=(n, size)) ** (1 + tail))


def shown(scores, rows, columns, far):
    """These rows name these columns, `far` beyond everything."""
    scores = scores.clone()
    scores[rows, columns] = scores.max() + far
    return scores


@pytest.mark.parametrize("count", [1, 6])
def test_a_few_that_are_far_beyond_all_others_are_certain(count):
    rng, rows = np.random.default_rng(0), torch.arange(count)

    assert certain(shown(unrelated(rng), rows, rows, 100), np.arange(N), CHANCE) == count


def test_six_that_are_as_clear_as_two_wrong_ones_are_certain():
    """Two rows that name distractors as clearly do not hide them; with six such rows it is half and half."""
    rng, rows = np.random.default_rng(0), torch.arange(6)
    scores = shown(unrelated(rng), rows, rows, 100)

    assert certain(shown(scores, torch.tensor([6, 7]), torch.tensor([600, 601]), 0), np.arange(N), CHANCE) == 6
    assert certain(shown(scores, 6 + rows, 600 + rows, 0), np.arange(N), CHANCE) == 0


def test_answers_of_no_clarity_are_not_certain():
    """All the same, or right by the smallest margins of all."""
    rng = np.random.default_rng(0)
    truth, scores = np.arange(N), unrelated(rng)
    scores[:20, :] = 0
    scores[torch.arange(20), torch.arange(20)] = 1e-6

    assert certain(torch.zeros(N, G), truth, CHANCE) == 0
    assert certain(scores, truth, CHANCE) == 0
    assert certain(torch.zeros(0, G), np.zeros(0, int), CHANCE) == certain(torch.ones(N, 1), truth, 1.0) == 0


def test_one_picture_for_all_names_nobody():
    """Everybody's answer is the same image, one's own among them."""
    assert certain(torch.rand(1, G).expand(N, G), np.arange(N), CHANCE) == 0


@pytest.mark.parametrize("tail", [0.0, 0.5])
def test_what_knows_nothing_names_nobody_in_ten_thousand_tries(tail):
    """Margins of 100 rows; as chance has it, each is right once in 50: far more often than in any gallery in use."""
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(100):
        scores = unrelated(rng, 100, 50, tail)
        best = scores.argmax(1).numpy()
        for _ in range(100):
            truth = np.where(rng.random(100) < 1 / 50, best, (best + 1) % 50)
            alarms += certain(scores, truth, 1 / 50) > 0
    assert alarms <= (0 if tail == 0 else 3)
