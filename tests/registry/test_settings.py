"""Settings after -D and -A, mixing included: how they are read and which are refused."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.registry import Entry, Registry, check_mixing, load_registry, parse_settings
from harness.registry.settings import format_setting

MIXING = {"weights": [0.75, 0.25], "pairing": "permutation", "intra_class": False, "label": "dominant"}


@functools.cache
def built_in() -> Registry:
    return load_registry()


def shuffle_mix() -> Entry:
    return built_in().get("defenses", "shuffle_mix")


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("block=4", 4),
        ("p=0.6", 0.6),
        ("rate=1e-3", 0.001),
        ("intra_class=true", True),
        ("arch=resnet18", "resnet18"),
        ("url=a: b", "a: b"),
        ("day=2020-01-01", "2020-01-01"),
        ("limit=null", None),
        ("note='1'", "1"),
        ("sigma=010", "010"),
        ("kernel=1:30", "1:30"),
        ("sigma=1_000", "1_000"),
        ("sigma=0x10", "0x10"),
        ("intra_class=no", "no"),
        ("sigma=.inf", ".inf"),
        ("sigma=1e999", "1e999"),
        ("weights=010", "010"),
        ("note=a=b", "a=b"),
        ("steps=1,2,3", [1, 2, 3]),
        ("steps=1,", [1]),
        ("steps=[1, 2]", [1, 2]),
        ("path=/a/b", "/a/b"),
        ("weights=0.5,0.5", [0.5, 0.5]),
        ("weights=1", [1]),
        ("weights=0.5,0.5/0.6,0.4", [[0.5, 0.5], [0.6, 0.4]]),
        ("weights=[[0.5, 0.5]]", [[0.5, 0.5]]),
        ("weights=beta:0.4", {"beta": 0.4}),
        ("weights=distortion", "distortion"),
    ],
)
def test_settings_are_read_as_intended(pair: str, value: Any) -> None:
    """NAME=VALUE, with YAML's scalars, commas for lists, and the shapes that weights can take."""
    name = pair.partition("=")[0]

    settings = parse_settings([pair])

    assert settings == {name: value} and type(settings[name]) is type(value)


@pytest.mark.parametrize("pair", ["block", "block=", "=4", "", "=", "block= "])
def test_a_setting_without_name_or_value_is_refused(pair: str) -> None:
    """`-D block` is no switch."""
    with pytest.raises(HarnessError, match="sets nothing; write NAME=VALUE"):
        parse_settings([pair])


def test_a_setting_given_twice_is_refused() -> None:
    """The last one does not replace the first silently."""
    with pytest.raises(HarnessError, match="block is set twice"):
        parse_settings(["block=4", "block=8"])


def test_a_broken_list_is_refused() -> None:
    """Brackets that do not close."""
    with pytest.raises(HarnessError, match=r"steps=\[1, 2: not YAML"):
        parse_settings(["steps=[1, 2"])


def test_settings_reach_knobs_and_mixing_and_leave_the_entry_alone() -> None:
    """`-D` sets a defense's knobs and its mixing alike."""
    entry = shuffle_mix()

    other = entry.with_settings({"block": 4, "weights": [0.5, 0.5], "intra_class": True})

    assert other.params == {"block": 4}
    assert other.mixing == {**MIXING, "weights": [0.5, 0.5], "intra_class": True}
    assert entry.params == {"block": 8} and entry.mixing == MIXING


def test_equal_settings_make_equal_entries() -> None:
    """A record's name is a hash of its settings, so 8.0 where the registry says 8 must not be another cell."""
    entry = shuffle_mix()

    assert repr(entry.with_settings({"block": 8.0})) == repr(entry)
    assert repr(entry.with_settings({})) == repr(entry)
    assert repr(entry.with_settings({"weights": [1, 0]})) == repr(entry.with_settings({"weights": [1.0, 0.0]}))
    assert entry.with_settings({"weights": 1}).mixing == {**MIXING, "weights": [1.0]}


def test_a_number_may_be_whole_or_not_where_the_registry_has_a_number() -> None:
    """sigma is 20 in the file and may well be 12.5; p is 0.6 and may be 1."""
    registry = built_in()

    assert registry.get("defenses", "noise_mix").with_settings({"sigma": 12.5}).params["sigma"] == 12.5
    assert repr(registry.get("defenses", "graft_mix").with_settings({"p": 1}).params["p"]) == "1.0"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gaussians=1,010", "smooth: gaussians: expected numbers such as .*, got '010': 010 is in base 8"),
        ("gaussians=[[1]]", "smooth: gaussians: expected numbers such as .*, got .1."),
        ("gaussians=wide", "smooth: gaussians: expected numbers such as .*, got 'wide'"),
        ("medians=3,99999999999999999", "smooth: medians: 99999999999999999 is too large"),
    ],
)
def test_a_list_of_numbers_takes_numbers(given: str, message: str) -> None:
    """Each item, not the list alone."""
    with pytest.raises(HarnessError, match=message):
        built_in().get("attacks", "smooth").with_settings(parse_settings([given]))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("shuffle_mix", {"blok": 4}, r"no knob called 'blok'; did you mean 'block'\? \(knobs: block, weights, pairing"),
        ("shuffle_mix", {"block": "big"}, "shuffle_mix: block: expected a number such as 8, got 'big'"),
        ("shuffle_mix", {"block": True}, "expected a number such as 8, got true"),
        ("shuffle_mix", {"block": float("inf")}, "inf cannot be recorded"),
        ("shuffle_mix", {"block": "010"}, "got '010': 010 is in base 8 to some readers of YAML; write 10"),
        ("noise_mix", {"sigma": "1:30"}, "got '1:30': 1:30 is in base 60"),
        ("noise_mix", {"sigma": "1_000"}, "write 1000"),
        ("noise_mix", {"sigma": 1e308}, r"sigma: 1e\+308 is too large; use at most 1,000,000"),
        ("noise_mix", {"sigma": 10**400}, "is too large"),
        ("graft_mix", {"p": -1e16}, "is too large; use at most 1,000,000,000,000,000"),
        ("mix", {"weights": [10**400, 0.0]}, "finite numbers of 0 or more"),
        ("mix", {"weights": "010"}, "weights are '010'"),
        ("mix", {"intra_class": "no"}, "intra_class is 'no'; use true or false"),
        ("noise_mix", {"noise_after": 1}, "noise_after: expected true or false such as false, got 1"),
        ("graft_mix", {"per": 3}, "per: expected text such as 'pixel', got 3"),
        ("graft_mix", {"p": [0.5, 0.6]}, r"p: expected a number such as 0.6, got \[0.5, 0.6\]"),
        ("mix", {"weights": [0.5, 0.4]}, "mix: weights 0.5,0.4 sum to 0.9, not 1; make them sum to 1"),
        ("mix", {"pairing": "permutations"}, "pairing is 'permutations'; use permutation or matching"),
        ("mix", {"intra_class": 1}, "intra_class is 1; use true or false"),
        ("mix", {"label": "hard"}, "label is 'hard'; use dominant or soft"),
    ],
)
def test_a_bad_setting_says_what_was_expected(name: str, settings: dict[str, Any], message: str) -> None:
    """One line with the knob, the value, and the fix."""
    entry = built_in().get("defenses", name)

    with pytest.raises(HarnessError, match=message):
        entry.with_settings(settings)


def test_an_attack_has_no_mixing_to_set() -> None:
    """-A sets params only."""
    with pytest.raises(HarnessError, match=r"cnn: no knob called 'weights' \(knobs: arch, train_epochs\)"):
        built_in().get("attacks", "cnn").with_settings({"weights": [0.5, 0.5]})


# ---- mixing


@pytest.mark.parametrize(
    "weights", [[1.0], [0.5, 0.5], [0.7, 0.2, 0.1], [[0.5, 0.5], [0.6, 0.4]], {"beta": 0.4}, "distortion", [1 / 3] * 3]
)
def test_the_weights_of_the_paper_are_accepted(weights: Any) -> None:
    """One vector, several, drawn from a Beta, or chosen to distort."""
    assert check_mixing("mix", {**MIXING, "weights": weights})["weights"] == weights


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([], "weights are"),
        (None, "weights are nothing"),
        ("distorted", "weights are 'distorted'"),
        ([[]], r"weights \(none\) must be"),
        ([0.5, -0.5, 1.0], "finite numbers of 0 or more"),
        ([float("nan"), 1.0], "finite numbers of 0 or more"),
        ([True, 0], "finite numbers of 0 or more"),
        (["0.5", "0.5"], "finite numbers of 0 or more"),
        ([0.5, 0.6], "sum to 1.1, not 1; make them sum to 1"),
        ([[0.5, 0.5], [1.0]], "different lengths"),
        ([[0.5, 0.5], 1.0], "finite numbers of 0 or more"),
        ({"beta": 0}, "use beta: A with A above 0"),
        ({"beta": "x"}, "use beta: A"),
        ({"gamma": 1.0}, "use beta: A"),
        ({}, "use beta: A"),
    ],
)
def test_weights_that_mix_nothing_are_refused(weights: Any, message: str) -> None:
    """Weights must be shares that sum to 1."""
    with pytest.raises(HarnessError, match=message):
        check_mixing("mix", {**MIXING, "weights": weights})


@pytest.mark.parametrize("weights", [[0.33, 0.33, 0.33], [0.5, 0.33, 0.16]])
def test_the_papers_rounded_weights_come_back_normalised(weights: list[float]) -> None:
    """The paper prints weights that sum to .99; the message gives the normalised ones."""
    with pytest.raises(HarnessError, match=r"sum to 0\.99, not 1; normalise them: weights=") as caught:
        check_mixing("mix", {**MIXING, "weights": weights})

    mended = parse_settings([str(caught.value).rpartition(" ")[2]])
    assert check_mixing("mix", {**MIXING, **mended})["weights"] == pytest.approx([w / 0.99 for w in weights])


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=6).filter(lambda shares: sum(shares) > 1e-3))
def test_normalised_weights_are_always_accepted(shares: list[float]) -> None:
    """Weights divided by their sum are accepted, and printing and reading them again changes nothing."""
    weights = [share / sum(shares) for share in shares]
    text = "weights=" + ",".join(map(repr, weights))

    assert check_mixing("mix", {**MIXING, **parse_settings([text])})["weights"] == weights


def test_mixing_says_which_field_is_wrong() -> None:
    """Unknown and missing fields alike."""
    lacking = {key: value for key, value in MIXING.items() if key != "label"}

    with pytest.raises(HarnessError, match="mixing lacks 'label'"):
        check_mixing("mix", lacking)
    with pytest.raises(HarnessError, match="mixing has no field 'pair'; did you mean 'pairing'"):
        check_mixing("mix", {**MIXING, "pair": 1})
    with pytest.raises(HarnessError, match="mixing is 3"):
        check_mixing("mix", 3)


@pytest.mark.parametrize(
    "value",
    [
        8,
        0.25,
        True,
        False,
        "pixel",
        "distortion",
        [0.75, 0.25],
        [0.7, 0.2, 0.1],
        [[0.5, 0.5], [0.6, 0.4]],
        {"beta": 0.4},
    ],
    ids=str,
)
def test_a_setting_is_printed_as_it_is_typed(value: Any) -> None:
    """Settings on a board can be pasted after -D."""
    name = "weights" if isinstance(value, list | dict) or value == "distortion" else "knob"

    assert parse_settings([f"{name}={format_setting(value)}"]) == {name: value}
