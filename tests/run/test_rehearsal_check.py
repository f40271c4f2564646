"""Cheats are noticed, clean defenses are not, and the p-values are those of the tests that they are said to be."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from functools import partial
from math import comb
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from harness.client.client import Client
from harness.registry import Entry, load_registry
from harness.run import rehearsal_check, row_check
from harness.run.rehearsal_check import compare, compare_scores
from harness.run.row_check import NOT_REPEATED, SAID
from tests.planted import cheats
from tests.planted.data import photographs, splits_of
from tests.planted.schemes import CHEATS, PLANTED

REGISTRY = load_registry()
MIXING = {"weights": [0.7, 0.3], "pairing": "permutation", "intra_class": False, "label": "dominant"}
DISARMED = ("call_stack", "seed")  # they find nothing that tells: alike in rehearsals and releases


@pytest.fixture
def compared(monkeypatch):
    """compare(...) of a function, or of a registered defense, on photographs of 32 px."""

    def run(function, seed=0, mixing=MIXING, releases=2):
        entry = function
        if not isinstance(function, Entry):
            module = ModuleType("planted_cheat")
            module.function = function
            monkeypatch.setitem(sys.modules, "planted_cheat", module)
            entry = Entry("cheat", "defenses", "planted_cheat:function", 1, {}, mixing)
        return compare(Client(splits_of(photographs(32)), REGISTRY, "cpu", releases, 1000), entry, seed)

    return run


@pytest.mark.parametrize("name", [name for name in CHEATS if name not in (*DISARMED, "chance")])
def test_a_cheat_is_noticed(name, compared, monkeypatch):
    ticks = itertools.count()  # of a clock that does not depend on the machine's speed
    monkeypatch.setattr(cheats, "monotonic", lambda: 0.13 * next(ticks))
    found = compared(CHEATS[name].make(photographs(32).private))

    assert found["mismatch"]
    assert found["said"]


@pytest.mark.parametrize("name", DISARMED)
def test_a_cheat_that_finds_nothing_behaves_alike(name, compared):
    assert not compared(CHEATS[name].make(photographs(32).private))["mismatch"]


def test_a_defense_that_tosses_its_own_coins_does_not_repeat(compared, monkeypatch):
    monkeypatch.setattr(row_check, "_REPEATS", 24)

    assert NOT_REPEATED in compared(CHEATS["chance"].make(photographs(32).private))["said"]


def test_a_cheat_in_one_later_release_is_noticed(compared):
    """Of five releases only the fourth is another."""
    calls = [0]
    plain, scrambled = PLANTED["inverted"].function, PLANTED["fixed_permutation"].function

    def function(sources, weights, rng):
        calls[0] += 1
        return (scrambled if calls[0] in (13, 14) else plain)(sources, weights, rng)  # 8 of release 0, 2 of each other

    found = compared(function, releases=5, mixing={**MIXING, "weights": [1.0]})

    assert found["mismatch"] and not set(found["said"]) & {SAID, NOT_REPEATED}


def test_a_few_images_that_are_shown_are_noticed(compared):
    """Noise, but every fifth private image as it is."""
    known = {image.tobytes() for image in photographs(32).private[::5]}

    def function(sources, weights, rng):
        import torch

        noise = torch.rand(sources[:, 0].shape, generator=rng)
        shown = [(255 * s[0]).round().byte().numpy().tobytes() in known for s in sources]
        return torch.where(torch.tensor(shown).view(-1, 1, 1, 1), sources[:, 0], noise)

    assert compared(function)["mismatch"]


@pytest.mark.parametrize("name", REGISTRY.section("defenses"))
def test_clean_defenses_raise_no_alarm(name, compared):
    settings = {"block": 4} if name == "shuffle_mix" else {}

    for seed in (0, 1):
        found = compared(REGISTRY.get("defenses", name).with_settings(settings), seed)
        assert not found["mismatch"], found["said"]


@pytest.mark.parametrize("name", ["noise_of_the_release", "sometimes_verbatim", "some_verbatim", "fresh_gamma"])
def test_what_is_drawn_for_a_release_or_leaks_in_rehearsals_too_is_no_mismatch(name, compared):
    """A broken defense does not cheat by that."""
    planted = PLANTED[name]

    assert not compared(partial(planted.function, **planted.params), mixing=planted.mixing)["mismatch"]


def test_without_public_images_nothing_is_compared_and_nothing_matches():
    data = splits_of(photographs(32))
    client = Client(replace(data, public=data.public.take(np.arange(0))), REGISTRY, "cpu", 1, 1000)

    found = compare(client, REGISTRY.get("defenses", "mix"), 0)

    assert found["mismatch"] is None and found["said"] == ["not compared: there are no public images"]


def test_distances_are_those_of_scipy():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=50).round(1), rng.normal(0.3, size=80).round(1)

    assert rehearsal_check._distance(one, other) == pytest.approx(stats.ks_2samp(one, other).statistic)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_the_chance_of_values_beyond_is_rosenbaums(count):
    n, m = 20, 30

    assert rehearsal_check._chance_beyond(count, n, m) == pytest.approx(comb(n + m - count, m) / comb(n + m, m))


def test_scores_are_compared_with_rehearsed_ones():
    real = {"attacked_dssim": np.random.default_rng(0).normal(0.9, 0.05, 100)}
    report = {"setting": "sharp", "rehearsed_ssim": {"sharp": 0.98, "soft": 0.2}}

    assert compare_scores(report, real)["mismatch"]
    assert not compare_scores({**report, "setting": "soft"}, real)["mismatch"]
    assert compare_scores({}, real) is None
    assert compare_scores({"chosen": ["soft", "sharp"], "rehearsed_ssim": report["rehearsed_ssim"]}, real) is not None
