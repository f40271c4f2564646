"""Read and check settings: what stands after -D and -A, and under `params` and `mixing` of a registry entry.

Equal settings must give equal records, so a number takes the type that the registry has: `sigma=20.0` becomes 20 where
the registry says 20.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.system.documents import is_unicode, parse_yaml, plain_scalar
from harness.system.numbers import LARGEST, LARGEST_WHOLE
from harness.system.schema import shown

MIXING = ("weights", "pairing", "intra_class", "label")
PAIRINGS = ("permutation", "matching")
LABELS = ("dominant", "soft")
SUM_TOLERANCE = 1e-6


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'shuffle_mix'?`, or an empty text where no known word is similar."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """The values of `-D block=4 -D weights=0.5,0.5`: numbers, true or false, text, lists with commas.

    `weights` also reads several vectors (`0.5,0.5/0.6,0.4`), `beta:0.4` and `distortion`.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        if not is_unicode(pair):
            raise HarnessError(f"{shown(pair)} is no text in UTF-8; write it anew")
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not name or not equals or not text:
            raise HarnessError(f"{shown(pair)} sets nothing; write NAME=VALUE, for example block=4")
        if name in settings:
            raise HarnessError(f"{name} is set twice; keep one of {name}={shown(settings[name])} and {shown(pair)}")
        settings[name] = _weights(text) if name == "weights" else _value(name, text)
    return settings


def _weights(text: str) -> Any:
    family, colon, parameter = text.partition(":")
    if colon and family.strip() == "beta":
        return {"beta": _scalar(parameter.strip())}
    if "/" in text:
        return [_list(vector) for vector in text.split("/")]
    value = _value("weights", text)
    return [value] if isinstance(value, (int, float)) else value


def _value(name: str, text: str) -> Any:
    if text[0] in "[{\"'":
        try:
            return parse_yaml(text, name)
        except HarnessError as fault:
            reason = re.sub(r"^.*?: (line \d+: )?", "", str(fault))
            raise HarnessError(f"{name}={text if len(text) <= 60 else text[:57] + '...'}: {reason}") from None
    return _list(text) if "," in text else _scalar(text)


def _list(text: str) -> list[Any]:
    return [_scalar(part.strip()) for part in text.split(",") if part.strip()]


def _scalar(text: str) -> Any:
    """A number, true, false, null or text; what YAML may read otherwise (`010`, `1:30`, `no`, a date) stays text."""
    try:
        return plain_scalar(text)
    except ValueError:
        return text


def is_json_value(value: Any) -> bool:
    """Whether a value survives JSON: None, bool, finite numbers, text, and lists and tables of them."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list):
        return all(map(is_json_value, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json_value(item) for key, item in value.items())
    return value is None or isinstance(value, (bool, int, str))


def convert_like(default: Any, value: Any, name: str) -> Any:
    """`value` with the type of the registry's `default`; a single value becomes a list where a list is expected.

    name  of the setting, for messages; raises HarnessError for a value of another type
    """
    if not is_json_value(value):
        raise HarnessError(
            f"{name}: {shown(value)} cannot be recorded; use numbers, text, true or false, or lists of them"
        )
    check_size(value, LARGEST_WHOLE if _is_whole(default) else LARGEST, name)
    if default is None:
        return value
    if isinstance(default, list) and not isinstance(value, (list, dict)):
        value = [value]
    if _type_name(value) != _type_name(default):
        got = _why_text(value) if _type_name(default) == "a number" and isinstance(value, str) else ""
        raise HarnessError(
            f"{name}: expected {_type_name(default)} such as {_shown(default)}, got {_shown(value)}{got}"
        )
    if isinstance(default, list) and default and all(map(_is_number, default)) and not all(map(_is_number, value)):
        odd = next(item for item in value if not _is_number(item))
        reason = _why_text(odd) if isinstance(odd, str) else ""
        raise HarnessError(f"{name}: expected numbers such as {_shown(default)}, got {_shown(odd)}{reason}")
    if isinstance(default, float) and isinstance(value, int):
        return float(value)
    if isinstance(default, int) and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _type_name(value: Any) -> str:
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "text"),
        (list, "a list"),
        (dict, "a table"),
    )
    return next((words for kind, words in kinds if isinstance(value, kind)), "null")


def _shown(value: Any) -> str:
    return "None" if value is None else shown(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _why_text(text: str) -> str:
    """Why a text that looks like a number is none."""
    try:
        plain_scalar(text)
    except ValueError as reason:
        return f": {reason}"
    return ""


def check_size(value: Any, most: float, name: str) -> None:
    """Refuse numbers beyond what single precision, or a count, can hold."""
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            check_size(item, most, name)
    elif isinstance(value, int | float) and not -most <= value <= most:
        raise HarnessError(f"{name}: {shown(value)} is too large; use at most {most:,.0f}")


def check_mixing(name: str, mixing: Any) -> dict[str, Any]:
    """The mixing of the defense `name`, checked, its weights as floats."""
    if not isinstance(mixing, Mapping):
        raise HarnessError(f"{name}: mixing is {shown(mixing)}; expected a table with {', '.join(MIXING)}")
    for field in mixing:
        if field not in MIXING:
            near = did_you_mean(str(field), MIXING)
            raise HarnessError(f"{name}: mixing has no field {shown(field)}{near} (fields: {', '.join(MIXING)})")
    for field in MIXING:
        if field not in mixing:
            raise HarnessError(f"{name}: mixing lacks {field!r}; it needs {', '.join(MIXING)}")
    for field, allowed in (("pairing", PAIRINGS), ("label", LABELS)):
        if mixing[field] not in allowed:
            raise HarnessError(f"{name}: {field} is {shown(mixing[field])}; use {' or '.join(allowed)}")
    if not isinstance(mixing["intra_class"], bool):
        raise HarnessError(f"{name}: intra_class is {shown(mixing['intra_class'])}; use true or false")
    return {**mixing, "weights": _check_weights(name, mixing["weights"])}


def _check_weights(name: str, weights: Any) -> Any:
    if weights == "distortion":
        return weights
    if isinstance(weights, Mapping):
        if set(weights) != {"beta"} or not _is_number(weights["beta"]) or weights["beta"] <= 0:
            raise HarnessError(
                f"{name}: weights {shown(weights)} are no known distribution; use beta: A with A above 0"
            )
        return {"beta": float(weights["beta"])}
    if not isinstance(weights, list) or not weights:
        raise HarnessError(
            f"{name}: weights are {shown(weights)}; use a list such as 0.5,0.5, several such as 0.5,0.5/0.6,0.4, "
            "beta:0.4 or distortion"
        )
    if not all(isinstance(vector, list) for vector in weights):
        return _check_vector(name, weights)
    if len({len(vector) for vector in weights}) > 1:
        raise HarnessError(
            f"{name}: weights {shown(weights)} list vectors of different lengths; a / separates whole vectors"
        )
    return [_check_vector(name, vector) for vector in weights]


def _check_vector(name: str, vector: list[Any]) -> list[float]:
    written = shown(vector)[1:-1].replace(", ", ",")
    if not vector or not all(_is_number(weight) and weight >= 0 for weight in vector):
        raise HarnessError(f"{name}: weights {written or '(none)'} must be finite numbers of 0 or more")
    total = math.fsum(vector)
    if abs(total - 1) > SUM_TOLERANCE:
        fix = "make them sum to 1"
        if 0.985 <= total < 1:  # the paper's own .33,.33,.33 and .5,.33,.16
            fix = "normalise them: weights=" + ",".join(f"{weight / total:.8g}" for weight in vector)
        raise HarnessError(f"{name}: weights {written} sum to {total:.6g}, not 1; {fix}")
    return [float(weight) for weight in vector]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def format_setting(value: Any) -> str:
    """A value as `-D` and `-A` take it: the inverse of `parse_settings`."""
    if isinstance(value, dict):
        return " ".join(f"{name}:{number}" for name, number in value.items())
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "/".join(format_setting(vector) for vector in value)
    if isinstance(value, list):
        return ",".join(f"{number:g}" if isinstance(number, float) else str(number) for number in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
