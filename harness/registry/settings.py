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

import yaml

from harness.errors import HarnessError

MIXING = ("weights", "pairing", "intra_class", "label")
PAIRINGS = ("permutation", "matching")
LABELS = ("dominant", "soft")
SUM_TOLERANCE = 1e-6


class RegistryYaml(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # C where libyaml is installed
    """YAML with two corrections: 1e-3 is a number, and a key written twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is written twice", key.start_mark)
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


RegistryYaml.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


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
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not name or not equals or not text:
            raise HarnessError(f"{pair!r} sets nothing; write NAME=VALUE, for example block=4")
        if name in settings:
            raise HarnessError(f"{name} is set twice; keep one of {name}={settings[name]} and {pair}")
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
            return yaml.load(text, RegistryYaml)
        except yaml.YAMLError:
            raise HarnessError(f"{name}={text} is not YAML; check its brackets and quotes") from None
    return _list(text) if "," in text else _scalar(text)


def _list(text: str) -> list[Any]:
    return [_scalar(part.strip()) for part in text.split(",") if part.strip()]


def _scalar(text: str) -> Any:
    """One YAML scalar; text that YAML would read as something else (`a: b`, a date) stays text."""
    try:
        value = yaml.load(text, RegistryYaml)
    except yaml.YAMLError:
        return text
    is_scalar = isinstance(value, (bool, int, float, str)) or (value is None and text in ("null", "~"))
    return value if is_scalar else text


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
        raise HarnessError(f"{name}: {value!r} cannot be recorded; use numbers, text, true or false, or lists of them")
    if default is None:
        return value
    if isinstance(default, list) and not isinstance(value, (list, dict)):
        value = [value]
    if _type_name(value) != _type_name(default):
        raise HarnessError(f"{name}: expected {_type_name(default)} such as {_shown(default)}, got {_shown(value)}")
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
    return str(value).lower() if isinstance(value, bool) else repr(value)


def check_mixing(name: str, mixing: Any) -> dict[str, Any]:
    """The mixing of the defense `name`, checked, its weights as floats."""
    if not isinstance(mixing, Mapping):
        raise HarnessError(f"{name}: mixing is {mixing!r}; expected a table with {', '.join(MIXING)}")
    for field in mixing:
        if field not in MIXING:
            near = did_you_mean(str(field), MIXING)
            raise HarnessError(f"{name}: mixing has no field {field!r}{near} (fields: {', '.join(MIXING)})")
    for field in MIXING:
        if field not in mixing:
            raise HarnessError(f"{name}: mixing lacks {field!r}; it needs {', '.join(MIXING)}")
    for field, allowed in (("pairing", PAIRINGS), ("label", LABELS)):
        if mixing[field] not in allowed:
            raise HarnessError(f"{name}: {field} is {mixing[field]!r}; use {' or '.join(allowed)}")
    if not isinstance(mixing["intra_class"], bool):
        raise HarnessError(f"{name}: intra_class is {mixing['intra_class']!r}; use true or false")
    return {**mixing, "weights": _check_weights(name, mixing["weights"])}


def _check_weights(name: str, weights: Any) -> Any:
    if weights == "distortion":
        return weights
    if isinstance(weights, Mapping):
        if set(weights) != {"beta"} or not _is_number(weights["beta"]) or weights["beta"] <= 0:
            raise HarnessError(f"{name}: weights {dict(weights)} are no known distribution; use beta: A with A above 0")
        return {"beta": float(weights["beta"])}
    if not isinstance(weights, list) or not weights:
        raise HarnessError(
            f"{name}: weights are {weights!r}; use a list such as 0.5,0.5, several such as 0.5,0.5/0.6,0.4, "
            "beta:0.4 or distortion"
        )
    if not all(isinstance(vector, list) for vector in weights):
        return _check_vector(name, weights)
    if len({len(vector) for vector in weights}) > 1:
        raise HarnessError(f"{name}: weights {weights} list vectors of different lengths; a / separates whole vectors")
    return [_check_vector(name, vector) for vector in weights]


def _check_vector(name: str, vector: list[Any]) -> list[float]:
    shown = ",".join(map(str, vector))
    if not vector or not all(_is_number(weight) and weight >= 0 for weight in vector):
        raise HarnessError(f"{name}: weights {shown or '(none)'} must be finite numbers of 0 or more")
    total = math.fsum(vector)
    if abs(total - 1) > SUM_TOLERANCE:
        fix = "make them sum to 1"
        if 0.985 <= total < 1:  # the paper's own .33,.33,.33 and .5,.33,.16
            fix = "normalise them: weights=" + ",".join(f"{weight / total:.8g}" for weight in vector)
        raise HarnessError(f"{name}: weights {shown} sum to {total:.6g}, not 1; {fix}")
    return [float(weight) for weight in vector]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def format_setting(value: Any) -> str:
    """A value as `-D` and `-A` take it: the inverse of `parse_settings`."""
    if isinstance(value, dict):
        return " ".join(f"{name}:{number}" for name, number in value.items())
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "/".join(format_setting(vector) for vector in value)
    if isinstance(value, list):
        return ",".join(f"{number:g}" if isinstance(number, float) else str(number) for number in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
