"""Decoded documents (YAML, JSON) as typed Structs; every fault is one line: file, field, expected, given, the fix.

    class Paper(Struct, forbid_unknown_fields=True):
        dataset: Annotated[str, Meta(max_length=200)]
        rows: Annotated[list[Row], Meta(min_length=1, max_length=1000)]

    paper = decode(document, Paper, "reported.yaml")

    reported.yaml: rows.#3.dssim: expected a number, 1 or less, got 1.7; correct it

A Struct of our own format is declared with `forbid_unknown_fields=True`, text and lists with a length at most. A text
with a pattern says what is expected in `Meta(pattern=..., description="letters and digits")`. msgspec is imported by
the modules that declare Structs: those are imported where a file is read, not on the way to `harness list`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from harness.errors import HarnessError

T = TypeVar("T")
SHOWN = 60  # letters of a value in a message
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at (?:(?P<key>`key`) in )?`\$(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<item>\d+|\.\.\.)\]")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}
_BOUND = {">=": "{} or more", "<=": "{} or less", ">": "above {}", "<": "below {}"}
FIX = "correct it"


def decode(document: Any, kind: type[T], where: str, *, fix: str = FIX) -> T:
    """`document` as `kind`, a Struct or any type that msgspec knows; nothing is converted but a whole number to float.

    document  of dicts, lists, text, numbers, bool and None, as YAML and JSON give them; of bounded depth
    where     names the file, or the place in it
    fix       what to do about it

    Raises HarnessError with one line: `where: field: expected ..., got ...; fix`.
    """
    import msgspec

    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        matched = _PLACE.match(str(error))
        assert matched
        steps = _steps(matched["path"] or "", document, kind, matched["what"])
        raise HarnessError(_line(matched["what"], bool(matched["key"]), steps, document, kind, where, fix)) from None
    except RecursionError:
        raise HarnessError(f"{where}: nested too deeply; {fix}") from None


def shown(value: Any, most: int = SHOWN) -> str:
    """A value in a message, on one line and at most so many letters; a nested one is not written out beyond that."""
    pieces, length = [], 0
    for piece in _pieces(value, most):
        pieces.append(piece)
        length += len(piece)
        if length > most:
            return "".join(pieces)[: most - 3] + "..."
    return "".join(pieces)


def _pieces(value: Any, most: int, depth: int = 0) -> Iterable[str]:
    if depth > 4:
        yield "..."
    elif isinstance(value, Mapping | list | tuple):
        named = isinstance(value, Mapping)
        yield "{" if named else "["
        for place, item in enumerate(value.items() if isinstance(value, Mapping) else value):
            yield ", " if place else ""
            if named:
                yield item[0][:most] if isinstance(item[0], str) and item[0].isidentifier() else repr(item[0])[:most]
                yield ": "
            yield from _pieces(item[1] if named else item, most, depth + 1)
        yield "}" if named else "]"
    elif value is None:
        yield "nothing"
    elif isinstance(value, bool):
        yield str(value).lower()
    elif isinstance(value, str):
        yield repr(value[: most + 2])  # escapes line ends and control characters
    elif isinstance(value, int) and value.bit_length() > 200:
        yield f"a number of about {int(value.bit_length() * 0.30103)} digits"
    else:
        yield repr(value)


Steps = list[str | int]


def _line(what: str, is_key: bool, steps: Steps, document: Any, kind: Any, where: str, fix: str) -> str:
    place = _place(steps)
    at = f"{where}: {place}: " if place else f"{where}: "
    value = _at(document, steps)
    if unknown := re.match(r"Object contains unknown field `(.*)`$", what, re.DOTALL):
        fields = _fields(kind, steps)
        near = difflib.get_close_matches(unknown[1], fields, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{at}no field {shown(unknown[1])}{hint} (fields: {', '.join(fields)})"
    if missing := re.match(r"Object missing required field `(.*)`$", what):
        meaning = _description(kind, [*steps, missing[1]])
        return f"{at}{missing[1]} is missing; add it" + (f": {meaning}" if meaning else "")
    if is_key:
        key = _first_bad(value, partial(_fails, document, tuple(steps), kind=kind, what=what))
        if not isinstance(key, str):
            return f"{at}the name {shown(key)} is no text; quote it"
        return f"{at}the name {shown(key)}: expected {_key_description(kind, steps) or _expected(what)}; {fix}"
    if what.startswith("Invalid RFC3339"):
        return f"{at}expected a time such as 2026-01-31T12:00:00+00:00, got {shown(value)}; {fix}"
    if re.match(r"Invalid enum value", what):
        choices = [str(choice) for choice in _choices(kind, steps)]
        near = difflib.get_close_matches(value, choices, n=1) if isinstance(value, str) else []
        advice = f"did you mean {near[0]!r}?" if near else fix
        return f"{at}expected {' or '.join(choices) or 'another word'}, got {shown(value)}; {advice}"
    if what == "Number out of range":
        return f"{at}{shown(value)} is out of range; use a smaller number"
    described = _description(kind, steps) if "matching regex" in what or ", got `" in what else ""
    return f"{at}expected {described or _expected(what)}, got {shown(value)}; {fix}"


def _expected(what: str) -> str:
    """The words for `Expected `int | null` >= 1, got `str``."""
    wanted = re.match(r"Expected `([^`]*)`(.*?)(?:, got `.*`)?$", what, re.DOTALL)
    if not wanted:
        return what
    words = [_WORDS.get(part.strip(), part.strip()) for part in wanted[1].split("|")]
    text, more = " or ".join(words), wanted[2].strip()
    if bound := re.match(r"(of length )?([<>]=?) (\S+)$", more):
        limit = bound[3] if bound[3].isdigit() else f"{float(bound[3]):g}"
        return f"{text}{' of length ' if bound[1] else ', '}{_BOUND[bound[2]].format(limit)}"
    return f"{text} {more}".strip()


def _steps(path: str, document: Any, kind: Any, what: str) -> Steps:
    """The keys and positions of msgspec's path; where that says `[...]` of a table, the key is searched for."""
    steps: Steps = []
    for step in _STEP.finditer(path):
        if step["field"] is not None:
            steps.append(step["field"])
        elif step["item"] != "...":
            steps.append(int(step["item"]))
        else:
            table = _at(document, steps)
            if not isinstance(table, dict):
                break
            steps.append(_first_bad(table, partial(_fails, document, tuple(steps), kind=kind, what=what)))
    return steps


def _first_bad(table: Mapping[Any, Any], fails: Callable[[dict[Any, Any]], bool]) -> Any:
    """The first key of a table whose value is refused, by halving."""
    keys = list(table)
    while len(keys) > 1:
        half = keys[: len(keys) // 2]
        keys = half if fails({key: table[key] for key in half}) else keys[len(keys) // 2 :]
    return keys[0]


def _fails(document: Any, steps: tuple[Any, ...], some: dict[Any, Any], *, kind: Any, what: str) -> bool:
    import msgspec

    try:
        msgspec.convert(_with(document, steps, some), kind)
    except msgspec.ValidationError as error:
        return str(error).startswith(what)
    return False


def _with(document: Any, steps: tuple[Any, ...], some: Any) -> Any:
    """A copy of the document that holds something else at one place."""
    if not steps:
        return some
    copy = document.copy()
    copy[steps[0]] = _with(document[steps[0]], steps[1:], some)
    return copy


def _at(document: Any, steps: Steps) -> Any:
    for step in steps:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return document
    return document


def _place(steps: Steps) -> str:
    """rows.#3.dssim: the third of a list is #3; long or odd names are shortened and quoted."""
    return ".".join(f"#{step + 1}" if isinstance(step, int) else _name(step) for step in steps)


def _name(step: str) -> str:
    return step if re.fullmatch(r"[\w:@/ -]{1,60}", step) else shown(step, 40)


def _type_at(kind: Any, steps: Steps) -> Any:
    """msgspec's description of the type at a place; None where it is not one Struct, list or table."""
    from msgspec import inspect

    found: Any = inspect.type_info(kind)
    for step in steps:
        inner = None
        for option in _unwrapped(found):
            if isinstance(step, int) and isinstance(option, inspect.ListType | inspect.VarTupleType):
                inner = option.item_type
            elif isinstance(step, str) and isinstance(option, inspect.StructType):
                inner = next((each.type for each in option.fields if each.encode_name == step), None)
            elif isinstance(step, str) and isinstance(option, inspect.DictType):
                inner = option.value_type
            if inner is not None:
                break
        if inner is None:
            return None
        found = inner
    return found


def _unwrapped(found: Any) -> Iterator[Any]:
    """The alternatives of a type, without what is said about them."""
    found = getattr(found, "type", found)
    for option in getattr(found, "types", (found,)):
        yield getattr(option, "type", option)


def _fields(kind: Any, steps: Steps) -> list[str]:
    every = (getattr(option, "fields", ()) for option in _unwrapped(_type_at(kind, steps)))
    return [each.encode_name for fields in every for each in fields]


def _choices(kind: Any, steps: Steps) -> list[Any]:
    return [value for option in _unwrapped(_type_at(kind, steps)) for value in getattr(option, "values", ())]


def _description(kind: Any, steps: Steps) -> str:
    """What `Meta(description=...)` says of the value at a place; nothing where nothing is."""
    found = _type_at(kind, steps)
    every = [_said_of(found), *map(_said_of, getattr(found, "types", ()))]
    return next(filter(None, every), "")


def _key_description(kind: Any, steps: Steps) -> str:
    """The same of the names of a table."""
    keys = (getattr(option, "key_type", None) for option in _unwrapped(_type_at(kind, steps)))
    return next(filter(None, map(_said_of, keys)), "")


def _said_of(found: Any) -> str:
    return str((getattr(found, "extra_json_schema", None) or {}).get("description", ""))
