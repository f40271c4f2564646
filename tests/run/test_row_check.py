"""A defense whose rows show others is noticed; random numbers that depend on the content are not that."""

from __future__ import annotations

import pytest
import torch

from harness.images import average
from harness.registry import Entry
from harness.run.row_check import SAID, depends_on_others
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


def checked(function):
    entry = Entry(function.__name__, "defenses", f"tests.run.test_row_check:{function.__name__}", mixing=MIXING)
    bench = planted.bench(None, None, entry)
    return depends_on_others(bench.client, entry, 0)


@pytest.mark.parametrize(
    "function", [next_row, two_rows_back, minus_the_mean_of_the_call, call_before, noisy_neighbour]
)
def test_rows_that_show_others_are_noticed(function):
    _before.clear()

    assert checked(function)


@pytest.mark.parametrize("function", [poisson, noise, shared_mask])
def test_random_numbers_are_not_content(function):
    assert not checked(function)


@pytest.mark.parametrize("name", ["none", "mix", "noise_mix", "graft_mix", "mixup"])
def test_registered_defenses_work_row_by_row(name):
    bench = planted.bench(None, planted.splits(private=36))

    assert not depends_on_others(bench.client, bench.registry.get("defenses", name), 0)


def test_the_record_of_the_release_says_so():
    entry = Entry("next_row", "defenses", "tests.run.test_row_check:next_row", mixing=MIXING)
    bench = planted.bench(None, None, entry)

    found = bench.release(entry, 0).facts["rehearsal"]

    assert found["mismatch"] and SAID in found["said"]
