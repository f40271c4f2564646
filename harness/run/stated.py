"""What a record says of its numbers, compared with what its own numbers and a repetition give.

A mean, an interval, a percentile, a minimum and a count are summaries of an array that the record holds: where that
array is not the repetition's bit for bit, they must be those of the record's own array.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterator, Mapping
from typing import Any

from harness.records import RunResult
from harness.statistics import summarise

ROUNDING = 1e-6  # of one image: sums in another order differ by less


class _Absent:
    """What is not there: no value that a JSON document can hold."""

    def __repr__(self) -> str:
        return "(not stated)"


ABSENT = _Absent()
Differences = Iterator[tuple[str, Any, Any]]


def stated(then: RunResult, now: RunResult, same: Container[str], equal: Container[str]) -> list[tuple[str, Any, Any]]:
    """(name, what the record says, what it should say) of the scores and facts that do not agree, or that are missing.

    same   the arrays that both have, of the same images
    equal  those of them that are the same bit for bit

    What belongs to an array that only the repetition has is left out, since that array is named as new. Floats among
    facts are compared only where all arrays are equal.
    """
    if then.status != now.status:
        return []
    scores, facts = _plain(then.scores), _plain(then.facts)
    new = set(now.arrays) - set(then.arrays)
    expected = {
        name: _expected(name, scores.get(name, {}), score, then, now) if name in same and name not in equal else score
        for name, score in _plain(now.scores).items()
    }
    all_equal = all(name in equal for name in then.arrays)
    found = [each for each in differences(scores, _without(expected, scores, new), "scores") if not _close(*each[1:])]
    return found + [
        each
        for each in differences(facts, _without(_plain(now.facts), facts, new), "facts")
        if not _close(*each[1:], floats=all_equal)
    ]


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """As it is read from a file."""
    found: dict[str, Any] = json.loads(json.dumps(value))
    return found


def _without(table: Mapping[str, Any], beside: Mapping[str, Any], names: Container[str]) -> dict[str, Any]:
    """The table without what only it has under one of these names, at any depth."""
    return {
        name: _without(value, beside[name], names)
        if isinstance(value, dict) and isinstance(beside.get(name), dict)
        else value
        for name, value in table.items()
        if name in beside or name not in names
    }


def _expected(name: str, said: Any, score: dict[str, Any], then: RunResult, now: RunResult) -> dict[str, Any]:
    """What a record has to say of its own array; the rest as the repetition says it.

    Chances depend on which images are mixed, and are the record's own where other code has made the releases.
    """
    own = _own_summary(name, said, score, then, now)
    has = said if isinstance(said, dict) else {}
    if own is None:  # a figure that is no summary of this array
        return {key: has[key] if _are_numbers(has.get(key), value) else value for key, value in score.items()}
    expected = {**score, **own}
    if then.inputs.get("release") != now.inputs.get("release"):
        chances = [key for key in score if key.startswith("chance") and _are_numbers(has.get(key), score[key])]
        expected |= {key: has[key] for key in chances}
    if "corrected" in score:
        mean, chance = expected["mean"], expected["chance"]
        expected["corrected"] = None if mean is None or chance >= 1 else (mean - chance) / (1 - chance)
    return expected


def _own_summary(
    name: str, said: Any, score: Mapping[str, Any], then: RunResult, now: RunResult
) -> dict[str, Any] | None:
    """The summary of the record's array, made as the repetition's score is of its array; None where it is no summary.

    Where two kinds of interval would give the repetition's score, the record may have either.
    """
    kinds: list[bool | None] = [False, None]
    made = [kind for kind in kinds if _agrees_with(score, _summary(now, name, kind))]
    summaries = [_summary(then, name, kind) for kind in made]
    return next((each for each in summaries if _agrees_with(said, each)), summaries[0] if summaries else None)


def _summary(record: RunResult, name: str, proportion: bool | None) -> dict[str, Any]:
    values, units = record.numbers(name)
    return summarise(values, units=units, proportion=proportion)


def _agrees_with(score: Any, summary: Mapping[str, Any]) -> bool:
    return isinstance(score, Mapping) and all(_close(score.get(key, ABSENT), value) for key, value in summary.items())


def _close(old: Any, new: Any, *, floats: bool = True) -> bool:
    """Whether two values say the same.

    floats  whether those are compared
    """
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return all(_close(one, other, floats=floats) for one, other in zip(old, new, strict=True))
    if _are_numbers(old, new):
        return not floats or math.isclose(old, new, rel_tol=1e-6, abs_tol=ROUNDING)
    return type(old) is type(new) and bool(old == new)


def _are_numbers(one: Any, other: Any) -> bool:
    """Two numbers, of which one is a float."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return numbers and float in (type(one), type(other))


def differences(then: Any, now: Any, name: str = "") -> Differences:
    """Every value that is not the same, by its path: versions.torch, attack.params.train_epochs.

    ABSENT stands for one that is not there. Lists of entries are compared by the names of these.
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*then, *now)):
            yield from differences(then.get(key, ABSENT), now.get(key, ABSENT), f"{name}.{key}".lstrip("."))
    elif isinstance(then, list) and isinstance(now, list) and _are_entries(then) and _are_entries(now):
        before, after = ({one["name"]: one for one in side} for side in (then, now))
        yield from differences(before, after, name)
    elif then != now or isinstance(then, bool) != isinstance(now, bool):  # 1 == True
        yield name, then, now


def _are_entries(values: list[Any]) -> bool:
    """Whether each has a name of its own."""
    names = [value.get("name") if isinstance(value, Mapping) else None for value in values]
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
