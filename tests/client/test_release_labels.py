"""A release is labelled by the largest share, ties by chance, or by the share of every class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chisquare, spearmanr

from harness.images import average
from harness.release import Scheme, obfuscate, public_shares
from harness.types import Mixture
from tests.helpers.releases import KEY, SHOWN, released, scheme, tiny


@pytest.mark.parametrize(
    "name, settings, column",
    [
        ("mix", {"weights": [0.75, 0.25]}, 0),
        ("mix", {"weights": [0.25, 0.75]}, 0),
        ("graft_mix", {"weights": [0.5, 0.5], "p": 0.1}, 0),
        ("graft", {"p": 0.6}, 0),
        ("graft", {"p": 0.3, "weights": [0.9, 0.1]}, 1),
    ],
    ids=["mix", "mix, weights rising", "graft_mix", "graft", "graft, mostly the partner"],
)
def test_the_label_is_that_of_the_larger_share(name: str, settings: dict[str, Any], column: int) -> None:
    """Of the returned shares: grafting three tenths of a pixel's source gives the partner's label."""
    images, labels = tiny(200)

    release, secret = released(name, images, labels, **settings)

    assert (secret.dominant == column).all()
    assert np.array_equal(release.labels.numpy(), labels[secret.sources[:, column]])


@pytest.mark.parametrize("lambda_, p", [(0.2, 0.2), (0.3, 0.2), (0.3, 0.4), (0.2, 0.5)])
def test_a_graft_is_labelled_by_p_and_the_rest_of_lambda_against_a_half(lambda_: float, p: float) -> None:
    """A graft onto the *lesser* source: its label where p + (1 - p) lambda > 1/2, the partner's where below."""

    def graft_lesser(sources: torch.Tensor, weights: torch.Tensor, rng: torch.Generator) -> Mixture:
        return Mixture(
            average(sources, weights), torch.stack([(1 - p) * weights[:, 0], p + (1 - p) * weights[:, 1]], 1)
        )

    images, labels = tiny(100)
    mixing = {**SHOWN, "weights": [1 - lambda_, lambda_]}

    release, secret = obfuscate(Scheme("graft_lesser", graft_lesser, mixing), images, labels, 10, KEY)

    winner = int(p + (1 - p) * lambda_ > 0.5)
    assert np.array_equal(release.labels.numpy(), labels[secret.sources[:, winner]])


def test_the_label_follows_shares_that_differ_from_mixture_to_mixture() -> None:
    """A defense that reports shares of its own, the largest anywhere among four."""

    def whimsical(sources: torch.Tensor, weights: torch.Tensor, rng: torch.Generator) -> Mixture:
        return Mixture(average(sources, weights), torch.rand(weights.shape, generator=rng).softmax(1))

    images, labels = tiny(300)
    mixing = {**SHOWN, "weights": [0.25] * 4}

    release, secret = obfuscate(Scheme("whimsical", whimsical, mixing), images, labels, 10, KEY)

    assert set(secret.dominant) == {0, 1, 2, 3}
    assert np.array_equal(secret.dominant, secret.shares.argmax(1))
    assert np.array_equal(release.labels.numpy(), labels[secret.sources[range(300), secret.shares.argmax(1)]])


def test_each_of_two_equal_shares_gives_the_label_half_the_time() -> None:
    """The paper's random pick at lambda = 0.5, and independent of the released row."""
    _, secret = released("mix", *tiny(4000), weights=[0.5, 0.5])

    assert set(secret.dominant) == {0, 1}
    assert binomtest(int(secret.dominant.sum()), 4000).pvalue > 1e-3
    assert abs(spearmanr(secret.dominant, np.arange(4000)).statistic) < 4 / 4000**0.5


def test_each_of_three_equal_shares_gives_the_label_a_third_of_the_time() -> None:
    """Thirds are not exact in binary and tie all the same; with .4, .4, .2 the third source never wins."""
    _, thirds = released("mix", *tiny(3000), weights=[1 / 3, 1 / 3, 1 / 3])
    _, two_of_three = released("mix", *tiny(3000), weights=[0.4, 0.4, 0.2])

    assert chisquare(np.bincount(thirds.dominant, minlength=3)).pvalue > 1e-3
    assert binomtest(int((two_of_three.dominant == 0).sum()), 3000).pvalue > 1e-3
    assert set(two_of_three.dominant) == {0, 1}


def test_soft_labels_are_the_shares_of_each_class() -> None:
    """Rows sum to 1; sources of one class add up."""
    images, labels = tiny(500, classes=3)

    release, secret = obfuscate(scheme("mixup"), images, labels, 5, KEY)

    expected = (secret.shares[..., None] * np.eye(5)[labels[secret.sources]]).sum(1)
    assert release.labels.shape == (500, 5) and release.labels.dtype == torch.float32
    np.testing.assert_allclose(release.labels.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(release.labels.sum(1).numpy(), 1, atol=1e-6)


def test_soft_labels_of_grafts_are_the_returned_shares() -> None:
    images, labels = np.zeros((2, 3, 4, 4), np.uint8), np.array([0, 1])

    release, secret = obfuscate(scheme("graft_mix", p=0.6, weights=[0.5, 0.5], label="soft"), images, labels, 2, KEY)

    expected = np.where(labels[secret.sources[:, :1]] == [0, 1], 0.8, 0.2)
    np.testing.assert_allclose(release.labels.numpy(), expected, atol=1e-6)


def test_public_shares_are_the_plans_weights_or_hundredths() -> None:
    """Of other shares at most the nearest hundredths are told; each row still sums to 1."""
    rng = np.random.default_rng(0)
    weights = rng.dirichlet([1, 1, 1], 500).astype(np.float32)
    returned = rng.dirichlet([1, 1, 1], 500).astype(np.float32)

    same, rounded = public_shares(weights, weights), public_shares(returned, weights)

    assert np.array_equal(same, weights)
    assert np.allclose(rounded * 100, np.rint(rounded * 100), atol=1e-4) and np.allclose(rounded.sum(1), 1)
    assert np.abs(rounded - returned).max() < 0.01


def test_a_soft_label_carries_no_code_of_the_picture() -> None:
    """21 bits of the first source in the low bits of its share."""

    def coded(sources: torch.Tensor, weights: torch.Tensor, rng: torch.Generator) -> Mixture:
        share = 0.75 + (sources[:, 0].mean((1, 2, 3)) * 2**15).floor() * 2.0**-24
        return Mixture(average(sources, weights), torch.stack([share, 1 - share], 1))

    images, labels = tiny(200)
    release, _ = obfuscate(
        Scheme("coded", coded, {**SHOWN, "weights": [0.75, 0.25], "label": "soft"}), images, labels, 10, KEY
    )

    assert len(release.labels.max(1).values.unique()) <= 2  # .75, or 1 where both sources have one class
