"""An entry is bound to a function with its knobs, and knobs that do not fit are refused before anything runs."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.registry import Entry, bind

ENTRY: dict[str, Any] = {"use": "os.path:join"}


def plugin(sources: Any, weights: Any, rng: Any, *, block: int, per: str = "pixel") -> Any:
    return block, per


def short(sources: Any) -> Any:
    return sources


def entry_for(function: str, **params: Any) -> Entry:
    return Entry("fade", "defenses", f"{__name__}:{function}", params=params, origin="mine.yaml")


def test_a_bound_function_can_be_pickled_for_another_process() -> None:
    """Workers receive the function with its knobs bound."""
    bound = bind(entry_for("plugin", block=4))

    assert pickle.loads(pickle.dumps(bound))(None, None, None) == (4, "pixel")


@pytest.mark.parametrize(
    ("function", "params", "message"),
    [
        ("plugin", {}, "needs 'block'; add it to params in mine.yaml"),
        ("plugin", {"block": 4, "blok": 4}, "has no knob 'blok'; did you mean 'block'"),
        ("plugin", {"block": 4, "rng": 1}, "has no knob 'rng'"),
        ("plugin", {"block": 4.5}, "block is 4.5; it must be a whole number"),
        ("short", {}, r"must take \(sources, weights, rng\) before its knobs"),
        ("ENTRY", {}, "is dict, not a function"),
        ("gone", {}, "defense 'fade' is unavailable: module .* has no attribute 'gone'"),
    ],
)
def test_missing_and_unknown_knobs_are_refused_before_anything_runs(
    function: str, params: dict[str, Any], message: str
) -> None:
    """By the signature, before the first batch."""
    with pytest.raises(HarnessError, match=message):
        bind(entry_for(function, **params))


def test_a_metric_of_piq_needs_only_an_entry() -> None:
    """Its knobs may be positional and have defaults."""
    entry = Entry("vif", "metrics", "piq:vif_p", params={"reduction": "none", "data_range": 1.0})

    assert bind(entry).keywords == entry.params
    with pytest.raises(HarnessError, match="has no knob 'reducton'; did you mean 'reduction'"):
        bind(replace(entry, params={"reducton": "none"}))
