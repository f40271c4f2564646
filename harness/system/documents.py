"""YAML and JSON files of other people, as plain data: at once, in bounded memory, and what is ambiguous is refused.

`harness.system.schema.decode` turns the result into a typed Struct. Both readers give dicts with text as keys, lists,
text, finite numbers, true, false and None, at most DEPTH deep; raise HarnessError with one line that names the file,
the line where there is one, the value and the fix.

YAML is read by events: a value that other readers of YAML read otherwise is refused with the two meanings of it (`010`
is 8 or 10, `1:30` is 90 or text, `no` is false or text, `2020-01-01` is a date or text), quoted text is text. `1e-3` is
a number. Aliases count with all that they stand for.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from harness.errors import HarnessError
from harness.system.schema import shown

DEPTH = 32
NODES = 100_000
"""Values of a YAML file, with what its aliases stand for."""
YAML_BYTES, JSON_BYTES = 2**20, 2**24
JSON_VALUES = 2_000_000
"""Values of a JSON file: one takes a hundred bytes of memory, of which three (`[],`) may stand in the file."""
DIGITS = 18
"""Of a whole number: every reader holds so many, in 64 bits."""
_LONGEST = 400  # letters of a number
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # C where libyaml is installed

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_SIGNED_POINT = re.compile(r"[-+]\.[0-9]+([eE][-+]?[0-9]+)?")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {"": None, "~": None}
_WORDS |= {form: value for word, value in (("null", None), ("true", True), ("false", False))
           for form in (word, word.capitalize(), word.upper())}  # fmt: skip
_SWITCHES = {form: value for word, value in (("yes", "true"), ("no", "false"), ("on", "true"), ("off", "false"))
             for form in (word, word.capitalize(), word.upper())}  # fmt: skip
_OTHER_BASES = re.compile(r"[-+]?0(x[0-9a-fA-F_]+|o[0-7_]+|b[01_]+)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+([eE][-+]?[0-9]+)?")
_UNDERSCORES = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?")
_ENDLESS = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@contextmanager
def opened(path: Path, what: str = "file") -> Iterator[BinaryIO]:
    """A regular file, opened for reading; errors of the system inside the block are HarnessErrors as well.

    what  names it in messages: `mine.yaml: no such registry file`
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "is a folder" if path.is_dir() else "is no regular file"
            raise HarnessError(f"{path}: cannot be read: it {kind}; name a {what}")
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such {what}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise HarnessError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def read_bytes(path: Path, most: int, what: str = "file") -> bytes:
    """A regular file of at most so many bytes. See `opened`."""
    with opened(path, what) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise HarnessError(f"{path}: more than {most:,} bytes; a {what} is smaller")
    return data


def read_yaml(path: Path, what: str = "file") -> Any:
    """The content of a YAML file; None of an empty one."""
    return parse_yaml(_text(read_bytes(path, YAML_BYTES, what), str(path)), str(path))


def read_json(path: Path, what: str = "file", most: int = JSON_BYTES) -> Any:
    """The content of a JSON file."""
    return parse_json(read_bytes(path, most, what), str(path))


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HarnessError(f"{where}: not YAML: byte {error.start + 1} is not UTF-8; save it as UTF-8") from None


# YAML


def parse_yaml(text: str, where: str) -> Any:
    """The content of a YAML document (see the module); None of an empty one."""
    builder = _Builder(where)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
        raise HarnessError(f"{where}:{line} not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", None) or str(error).splitlines()[0]
        raise HarnessError(f"{where}: not YAML: {reason}") from None
    except (UnicodeError, RecursionError) as error:
        raise HarnessError(f"{where}: not YAML: {error}") from None
    return builder.content


def plain_scalar(text: str) -> Any:
    """The value of an unquoted word; raises ValueError, with the reason and the fix, where readers of YAML differ."""
    if text in _WORDS:
        return _WORDS[text]
    if text in _SWITCHES:
        raise ValueError(f"{text} is {_SWITCHES[text]} or text; write {_SWITCHES[text]}, or quote it")
    if not text[:1].isascii() or text[:1] not in "+-.0123456789":
        return text
    if len(text) <= _LONGEST:
        return _number(text)
    if re.fullmatch(r"[-+.0-9_eE:]*", text):
        raise ValueError(f"a number of {len(text)} letters; write a shorter one, or quote it")
    return text


def _number(text: str) -> Any:
    if _INTEGER.fullmatch(text):
        if len(text.lstrip("+-")) > DIGITS:
            raise ValueError(f"a whole number of {len(text.lstrip('+-'))} digits; use at most {DIGITS}, or quote it")
        return int(text)
    if _LEADING_ZERO.fullmatch(text):
        decimal = re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", text)
        raise ValueError(f"{text} is in base 8 to some readers of YAML; write {decimal}, or quote it")
    if _SIGNED_POINT.fullmatch(text):
        raise ValueError(f"{text} is text to some readers of YAML; write {text.replace('.', '0.', 1)}, or quote it")
    if _FLOAT.fullmatch(text):
        if not math.isfinite(float(text)):
            raise ValueError(f"{text} is no finite number; write a smaller one, or quote it")
        return float(text)
    if _OTHER_BASES.fullmatch(text):
        raise ValueError(f"{text} is a number to some readers of YAML; write it in base 10, or quote it")
    if "_" in text and _UNDERSCORES.fullmatch(text):
        raise ValueError(f"{text} is a number to some readers of YAML; write {text.replace('_', '')}, or quote it")
    if _BASE_60.fullmatch(text):
        raise ValueError(f"{text} is in base 60 to some readers of YAML; write it in base 10, or quote it")
    if _DATE.fullmatch(text):
        raise ValueError(f"{text} is a date to some readers of YAML; quote it")
    if _ENDLESS.fullmatch(text):
        raise ValueError(f"{text} is no finite number; write one, or quote it")
    return text


@dataclass
class _Frame:
    """A list or a table that is being read.

    key      of a table: the name of the value that comes next
    merging  whether that name is <<, without quotes; merged: the tables that stand behind it
    """

    values: Any
    anchor: str | None
    size: int = 1
    key: str | None = None
    merging: bool = False
    merged: list[dict[str, Any]] = field(default_factory=list)


class _Builder:
    def __init__(self, where: str) -> None:
        self.content: Any = None
        self._where, self._documents, self._nodes, self._line = where, 0, 0, 0
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}

    def take(self, event: yaml.Event) -> None:
        """One event of the parser."""
        self._line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._wrong("a second document begins; write one")
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._wrong(f"alias *{event.anchor} names nothing that stands before it")
            self._put(*self._anchors[event.anchor], quoted=True)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            self._end()

    def _wrong(self, reason: str) -> HarnessError:
        return HarnessError(f"{self._where}: line {self._line}: {reason}")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        plain = event.implicit[0] and event.style in (None, "")
        if event.tag not in (None, "!", "tag:yaml.org,2002:str") and not plain:
            raise self._wrong(f"the tag {shown(event.tag)} is not read; remove it")
        value: Any = event.value
        if plain and event.tag is None:
            if self._is_key() and value == "<<":
                self._frames[-1].key, self._frames[-1].merging = value, True
                return
            try:
                value = plain_scalar(value)
            except ValueError as fault:
                raise self._wrong(str(fault)) from None
        if isinstance(value, str) and not is_unicode(value):
            raise self._wrong("text that is no Unicode (half of a pair of surrogates); remove it")
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._put(value, 1, quoted=not plain)

    def _begin(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent) -> None:
        kind: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        if event.tag not in (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise self._wrong(f"the tag {shown(event.tag)} is not read; remove it")
        if self._is_key():
            raise self._wrong(f"{'a table' if kind == {} else 'a list'} as a name; names are text")
        if len(self._frames) >= DEPTH:
            raise self._wrong(f"more than {DEPTH} lists and tables in each other; write it flatter")
        self._count(1)
        self._frames.append(_Frame(kind, event.anchor))

    def _end(self) -> None:
        frame = self._frames.pop()
        if frame.merged:  # `<<: *base`: what the table itself says counts, then what the first of the merged says
            frame.values = {k: v for table in [*reversed(frame.merged), frame.values] for k, v in table.items()}
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.values, frame.size)
        self._put(frame.values, frame.size, counted=True)

    def _is_key(self) -> bool:
        """Whether the next value is the name of a field."""
        return bool(self._frames) and isinstance(self._frames[-1].values, dict) and self._frames[-1].key is None

    def _count(self, size: int) -> None:
        self._nodes += size
        if self._nodes > NODES:
            raise self._wrong(f"more than {NODES:,} values, with what the aliases stand for; split it")

    def _put(self, value: Any, size: int, quoted: bool = False, counted: bool = False) -> None:
        if not counted:
            self._count(size)
        if not self._frames:
            self.content = value
            return
        frame = self._frames[-1]
        frame.size += size
        if isinstance(frame.values, list):
            frame.values.append(value)
        elif frame.key is None:
            frame.key = self._checked_key(value, quoted)
        elif frame.merging:
            frame.merged += self._tables(value)
            frame.key, frame.merging = None, False
        else:
            frame.values[frame.key], frame.key = value, None

    def _checked_key(self, key: Any, quoted: bool) -> str:
        if not isinstance(key, str):
            what = "a table" if isinstance(key, dict) else "a list" if isinstance(key, list) else shown(key)
            fix = "quote it; a list with commas belongs in [ ] or in quotes" if not isinstance(key, dict | list) else ""
            raise self._wrong(f"{what} as a name; names are text" + (f": {fix}" if fix else ""))
        if key in self._frames[-1].values:
            raise self._wrong(f"{shown(key)} is written twice; keep one")
        return key

    def _tables(self, value: Any) -> Iterator[dict[str, Any]]:
        for table in value if isinstance(value, list) else [value]:
            if not isinstance(table, dict):
                raise self._wrong("<< merges tables, and this is none")
            yield table


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: halves of surrogates (of bytes that were none) cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# JSON


def parse_json(data: bytes | str, where: str, values: int = JSON_VALUES) -> Any:
    """The content of a JSON document: no field twice, no NaN or infinity, whole numbers of at most DIGITS digits.

    values  at most; those of a table with its names. Counted are commas and brackets, also in text
    """
    count = sum(map(data.count, ",[{" if isinstance(data, str) else (b",", b"[", b"{")))  # type: ignore[arg-type]
    if count > values:
        raise HarnessError(f"{where}: holds about {count:,} values; at most {values:,} are read")
    try:
        content = json.loads(
            data,
            object_pairs_hook=_table,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
        _check_depth(content, with_text=_may_hold_halves(data))
    except RecursionError:
        raise HarnessError(f"{where}: not JSON: nested more than {DEPTH} deep; write it flatter") from None
    except json.JSONDecodeError as error:
        raise HarnessError(f"{where}: line {error.lineno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise HarnessError(f"{where}: not JSON: byte {error.start + 1} is not UTF-8; save it as UTF-8") from None
    except ValueError as error:
        raise HarnessError(f"{where}: {error}") from None
    return content


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"{shown(twice)} is written twice; keep one")
    return table


def _whole(text: str) -> int:
    if len(text) > DIGITS + 1:
        raise ValueError(f"a whole number of {len(text.lstrip('-'))} digits; use at most {DIGITS}")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{shown(text)} is no finite number; write a smaller one")
    return value


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number; write a finite one, or null")


def _may_hold_halves(data: bytes | str) -> bool:
    """Whether a JSON document may hold halves of surrogates: escaped, raw, or in another encoding than UTF-8."""
    if isinstance(data, bytes):
        if json.detect_encoding(data) != "utf-8":
            return True
        try:
            data = data.decode()
        except UnicodeDecodeError:  # which json lets pass
            return True
    return "\\u" in data or not is_unicode(data)


def _check_depth(content: Any, with_text: bool) -> None:
    """Refuse deep nesting, and text that cannot be written as UTF-8 if `with_text`."""
    level, depth = [content], 0
    while level:
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
                below += value if with_text else ()
            elif isinstance(value, list):
                below += value
            elif with_text and isinstance(value, str) and not is_unicode(value):
                raise ValueError("text that is no Unicode (half of a pair of surrogates); remove it")
        depth += bool(below)
        if depth > DEPTH:
            raise RecursionError
        level = below
