"""Rows that show others, and labels that show pictures, are noticed; random numbers that depend on content are not."""

from __future__ import annotations

import pytest
import torch

from harness import release
from harness.images import average
from harness.registry import Entry
from harness.run.row_check import SAID, SAID_OF_LABELS, row_faults
from harness.types import Mixture
from tests.helpers import planted

MIXING = {"weights": [0.75, 0.25], "pairing": "permutation", "intra_class": False, "label": "dominant"}
_before: list[torch.Tensor] = []


def next_row(sources, weights, rng):
    return average(sources, weights).roll(1, 0)


def two_rows_back(sources, weights, rng):
    mixed = average(sources, weights)
    return mixed if len(mixed) < 3 else mixed.roll(2, 0)


def minus_the_mean_of_the_call(sources, weights, rng):
    mixed = average(sources, weights)
    return mixed - mixed.mean(0) + 0.5


def call_before(sources, weights, rng):
    """State between calls: the first image of the call before, shown in every row."""
    mixed = average(sources, weights)
    _before.append(mixed[:1])
    return (
        _before[-2].expand_as(mixed).clone() if len(_before) > 1 and _before[-2].shape[1:] == mixed.shape[1:] else mixed
    )


def noisy_neighbour(sources, weights, rng):
    mixed = average(sources, weights)
    return mixed.roll(1, 0) + 0.2 * torch.randn(mixed.shape, generator=rng)


def poisson(sources, weights, rng):
    """The random numbers that a pixel takes depend on its brightness, so all after it are others."""
    return torch.poisson(average(sources, weights) * 20, generator=rng) / 20


def noise(sources, weights, rng):
    return torch.rand(sources[:, 0].shape, generator=rng)


def shared_mask(sources, weights, rng):
    """One mask for all rows of a call: a weak scheme, but every row is of its own sources."""
    return (average(sources, weights) + torch.rand(sources.shape[2:], generator=rng)) / 2


def five_calls_ago(sources, weights, rng, *, inverted):
    """State between calls: noise, and one row in ten shows what that row held five calls ago."""
    noise = torch.rand(sources[:, 0].shape, generator=rng)
    if len(_before) >= 5:
        rows = [
            row for row in range(min(len(noise), len(_before[-5]))) if hash(_before[-5][row].sum().item()) % 10 == 0
        ]
        shown = _before[-5][rows]
        noise[rows] = 1 - shown if inverted else shown
    _before.append(sources[:, 0].clone())
    return noise


def as_it_was(sources, weights, rng):
    return five_calls_ago(sources, weights, rng, inverted=False)


def negative_of_it(sources, weights, rng):
    return five_calls_ago(sources, weights, rng, inverted=True)


def one_row_shows_its_neighbour(sources, weights, rng):
    noise = torch.rand(sources[:, 0].shape, generator=rng)
    noise[1:2] = sources[:1, 0][: len(noise) - 1]
    return noise


def picture_in_the_share(sources, weights, rng):
    """The mean of the first source in the low bits of its share."""
    share = 0.75 + (sources[:, 0].mean((1, 2, 3)) * 255).floor() * 2.0**-16
    return Mixture(noise(sources, weights, rng), torch.stack([share, 1 - share], 1))


def label_of_the_brighter(sources, weights, rng):
    brighter = (sources[:, 1].mean((1, 2, 3)) > sources[:, 0].mean((1, 2, 3))).float()
    return Mixture(noise(sources, weights, rng), torch.stack([1 - brighter, brighter], 1))


def shares_drawn_after_poisson_noise(sources, weights, rng):
    """They are other numbers for other content, and say nothing of it."""
    images = poisson(sources, weights, rng)
    share = 0.5 + 0.5 * torch.rand(len(images), generator=rng)
    return Mixture(images, torch.stack([share, 1 - share], 1))


def poisson_with_a_gain(sources, weights, rng):
    """Each image of its own source alone, at a random brightness."""
    images = torch.poisson(sources[:, 0] * 20, generator=rng) / 20
    return (images * 0.25 + 0.75 * torch.rand(len(images), 1, 1, 1, generator=rng)).clamp(0, 1)


@pytest.fixture
def checked(monkeypatch):
    """checked(function, seed) -> what is said of a release that takes eight calls."""
    monkeypatch.setitem(release._CHUNK_FLOATS, "cpu", 4 * 2 * 3 * planted.SIZE**2)
    _before.clear()

    def run(function, seed=0):
        entry = Entry(function.__name__, "defenses", f"tests.run.test_row_check:{function.__name__}", mixing=MIXING)
        return row_faults(planted.bench(None, None, entry).client, entry, seed)

    return run


LEAKS = [next_row, two_rows_back, minus_the_mean_of_the_call, call_before, noisy_neighbour, one_row_shows_its_neighbour]


@pytest.mark.parametrize("function", LEAKS)
def test_rows_that_show_others_are_noticed(function, checked):
    assert SAID in checked(function)


@pytest.mark.parametrize("function", [as_it_was, negative_of_it])
def test_a_few_rows_that_show_what_was_asked_long_before_are_noticed(function, checked):
    assert checked(function)


@pytest.mark.parametrize("function", [picture_in_the_share, label_of_the_brighter])
def test_labels_that_depend_on_the_picture_are_noticed(function, checked):
    assert checked(function) == [SAID_OF_LABELS]


@pytest.mark.parametrize("function", [poisson, noise, shared_mask, shares_drawn_after_poisson_noise])
def test_random_numbers_are_not_content(function, checked):
    assert checked(function) == []


def test_a_random_gain_of_each_image_is_not_content_on_any_seed(checked):
    assert [seed for seed in range(12) if checked(poisson_with_a_gain, seed)] == []


@pytest.mark.parametrize("name", ["none", "mix", "noise_mix", "graft_mix", "mixup"])
def test_registered_defenses_work_row_by_row(name):
    bench = planted.bench(None, planted.splits(private=36))

    assert row_faults(bench.client, bench.registry.get("defenses", name), 0) == []


def test_the_record_of_the_release_says_so():
    entry = Entry("next_row", "defenses", "tests.run.test_row_check:next_row", mixing=MIXING)
    bench = planted.bench(None, None, entry)

    found = bench.release(entry, 0).facts["rehearsal"]

    assert found["mismatch"] and SAID in found["said"]
