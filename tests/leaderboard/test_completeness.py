"""A row is complete only with a recogniser that is not below the registered floor: no knob, grant or seed helps."""

from __future__ import annotations

import numpy as np
import pytest

from harness.leaderboard.board import boards
from harness.leaderboard.completeness import VERDICT_ATTACKS
from harness.records.store import paths, read
from harness.registry import load_registry
from tests.helpers.paths import ROOT
from tests.helpers.rows import N, complete, recognised, row, rows

WEAK, STRONG, HALF = np.arange(N) % 4 < 1, np.arange(N) % 4 > 0, np.arange(N) % 2
FLOOR = ("learned", "floor")
SEEDS = range(3)


def without(name, records):
    return [each for each in records if each.inputs.get("attack", {}).get("name") != name]


def runs(top1, name="cnn", defense="mix", seeds=SEEDS, **more):
    return [recognised(top1, name, defense, seed, **more) for seed in seeds]


def test_a_floor_with_other_knobs_is_none():
    weak = {**load_registry().get("attacks", "linear").params, "grid": 1}
    records = without("linear", complete("mix", 0.9))

    assert row(*complete("mix", 0.9)).missing == []
    missing = row(*records, *runs(WEAK, "linear", traits=FLOOR, params=weak)).missing
    assert missing == ["the floor of recognition (linear)"]


def test_a_plugin_that_calls_itself_a_floor_is_neither_floor_nor_recogniser():
    mine = runs(WEAK, "mine", traits=FLOOR)

    assert row(*without("linear", complete("mix", 0.9)), *mine).missing == ["the floor of recognition (linear)"]
    assert row(*without("cnn", complete("mix", 0.9)), *mine).missing == ["a recogniser trained through the defense"]
    assert row(*complete("mix", 0.9), *mine).missing == []


@pytest.mark.parametrize("grant", ["labels", "releases"])
def test_a_recogniser_that_is_granted_more_than_the_floor_does_not_replace_one(grant):
    """It may echo the public label, or average a weak network over ten releases."""
    records = without("cnn", complete("mix", 0.9))
    more = runs(np.ones(N), "more", granted=("defense", "public", grant))

    assert row(*records, *more).missing == ["a recogniser trained through the defense"]
    below = row(*records, *more, *runs(np.zeros(N))).missing
    assert below == ["a recogniser not below the floor (cnn is below linear)"]


def test_known_candidates_must_have_been_matched():
    assert row(*without("candidate_matching", complete("mix", 0.9))).missing == ["candidate_matching"]


@pytest.mark.parametrize("name", ["cnn", "linear"])
def test_recogniser_and_floor_are_needed_on_every_seed(name):
    records = [
        each
        for each in complete("mix", 0.9)
        if each.inputs.get("attack", {}).get("name") != name or each.inputs["seed"] < 2
    ]

    assert len(row(*records).missing) == 2 and f"{name} on every seed" in row(*records).missing


def test_a_lucky_run_on_one_seed_does_not_take_the_place_of_a_recogniser_on_all():
    found = row(*complete("mix", 0.9), *runs(np.ones(N), params={"arch": "other"}, seeds=[0])).recognisers

    assert found.recogniser.entry["params"] == {"arch": "tiny"} and len(found.trained) == 2


def test_a_recogniser_that_ties_under_a_strong_defense_must_not_be_below_the_floor_undefended():
    plain = without("linear", without("cnn", complete("none", 0.95, np.zeros(N))))
    plain += runs(STRONG, "linear", "none", traits=FLOOR)
    hidden = complete("mix", 0.9)

    weak = {each.defense: each for each in rows(*hidden, *plain, *runs(WEAK, "cnn", "none"))}
    assert weak["mix"].missing == ["a recogniser not below the floor in row none (cnn is)"]

    better = [*runs(HALF, "better"), *runs(STRONG, "better", "none")]
    both = {each.defense: each for each in rows(*hidden, *plain, *runs(WEAK, "cnn", "none"), *better)}
    assert both["mix"].missing == []


def test_a_floor_that_was_not_run_is_missing_and_no_recogniser_is_said_to_be_below_it():
    plain = [*without("linear", complete("none", 0.95, np.zeros(N)))]

    both = {each.defense: each.missing for each in rows(*complete("mix", 0.9), *plain)}
    assert both["mix"] == ["the floor of recognition (linear) in row none"]
    assert both["none"] == ["the floor of recognition (linear)"]

    neither = {each.defense: each.missing for each in rows(*without("linear", complete("mix", 0.9)), *plain)}
    assert neither["mix"] == ["the floor of recognition (linear)"]


@pytest.fixture(scope="module")
def committed():
    """The records of `none` and `mix` on imagenette10_96: a row that was run, not one that a test made."""
    found = map(read, paths(ROOT / "leaderboards/records"))
    mine = [each for each in found if each.inputs["dataset"]["name"] == "imagenette10_96"]
    return [each for each in mine if each.inputs["defense"]["name"] in ("none", "mix")]


def missing_with(attacks, records):
    """What the rows of mix lack where these attacks alone were run."""
    kept = [each for each in records if not each.inputs.get("attack") or each.inputs["attack"]["name"] in attacks]
    return [row.missing for board in boards(kept) for row in board.rows if row.defense == "mix"]


def test_the_attacks_of_a_run_without_attack_are_what_a_verdict_needs(committed):
    assert missing_with(VERDICT_ATTACKS, committed) == [[], []]  # equal weights, and .75/.25


@pytest.mark.parametrize("name", VERDICT_ATTACKS)
def test_and_none_of_them_can_be_left_out(name, committed):
    less = missing_with({*VERDICT_ATTACKS} - {name}, committed)
    assert len(less) == 2 and all(less)
