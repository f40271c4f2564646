"""Writes the files of each data set's boards, leaderboards/<dataset>.md, .csv and .json, and verifies written ones.

Verifying reports the first cell of each file that differs from what the records make, and writes nothing. Numbers are
equal within 1e-9 of their size, since processors add in different orders; everything else must be identical.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.leaderboard.board import Board
from harness.report.markdown import page
from harness.report.table_data import as_json, csv_text, document
from harness.system.documents import JSON_BYTES, parse_json
from harness.system.files import open_regular, write_atomically
from harness.system.names import file_names


def texts(boards: Sequence[Board], folder: Path, records: Path | None = None) -> dict[Path, str]:
    """The text of each file in `folder`; pages link to the records by a path relative to the folder."""
    to = Path(os.path.relpath(records or folder / "records", folder)).as_posix()
    found = {}
    for name, file in file_names(board.shown for board in boards).items():
        mine = [board for board in boards if board.shown == name]
        found[folder / f"{file}.md"] = page(mine, to)
        found[folder / f"{file}.csv"] = csv_text(mine)
        found[folder / f"{file}.json"] = as_json(document(mine)) + "\n"
    return found


def write(boards: Sequence[Board], folder: Path, records: Path | None = None) -> list[Path]:
    """Write them, each under a temporary name and then renamed; the paths."""
    files = texts(boards, folder, records)
    for path, text in files.items():
        _refuse_other(path, text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():  # as UTF-8 with plain line ends, wherever this runs
            write_atomically(path, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
    except OSError as error:
        raise HarnessError(
            f"leaderboards folder {folder}: {error.strerror or error}; name another with --out"
        ) from None
    return list(files)


def _refuse_other(path: Path, text: str) -> None:
    """A file of the same name that no `rank` has written: check.md beside the board of a data set called check."""
    head = text.partition("\n")[0] + "\n"
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8") as file:
            is_ours = file.read(len(head)) == head if path.suffix == ".md" else _is_board(path)
    except (OSError, UnicodeDecodeError):
        return  # nothing there, or nothing that can be read: writing says what is wrong
    if not is_ours and path.stat().st_size:
        raise HarnessError(f"{path}: is no table of boards and would be replaced; move it, or name another with --out")


_RELATIVE = 1e-9
_CSV_HEAD = "dataset,fingerprint,"
_NOTHING = "nothing"  # how it is written that something is not there
_ABSENT = object()  # no value of a file
_SHOWN = 80  # letters of a cell


@dataclass(frozen=True)
class Difference:
    """The first cell in which a file is not what the records make."""

    file: str
    row: str
    column: str
    written: str
    records: str

    def __str__(self) -> str:
        where = ", ".join(filter(None, (self.row, f"column {self.column}" if self.column else "")))
        written, records = _around_the_difference(self.written, self.records)
        return f"{self.file}: {where}: it says {written}, the records say {records}"

    def document(self) -> dict[str, str]:
        return asdict(self)


def differences(expected: Mapping[Path, str], folder: Path) -> list[Difference]:
    """One for each file of `expected` that is missing or differs, and for each board that no record makes."""
    found = []
    for path, text in expected.items():
        try:
            with open_regular(path) as file:
                written = file.read(JSON_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            said = "no file" if isinstance(error, FileNotFoundError) else f"nothing that can be read ({error})"
            found.append(Difference(str(path), "the whole file", "", said, f"{len(text.splitlines())} lines"))
            continue
        cells = {".csv": _in_csv, ".json": _in_json}.get(path.suffix, _in_text)
        first = next(cells(written, text), None) if written != text else None
        if first:
            found.append(Difference(str(path), *first))
    return found + [
        Difference(str(path), "the whole file", "", "a board", "no such data set")
        for path in sorted([*folder.glob("*.json"), *folder.glob("*.csv")])
        if path not in expected and _is_board(path)
    ]


Cells = Iterator[tuple[str, str, str, str]]


def _in_csv(written: str, expected: str) -> Cells:
    ours, theirs = (csv.reader(io.StringIO(text)) for text in (written, expected))
    try:
        yield from _unlike_rows(ours, theirs)
    except csv.Error as error:
        yield "the whole file", "", f"no table ({error})", "a table"


def _unlike_rows(ours: Iterator[list[str]], theirs: Iterator[list[str]]) -> Cells:
    head, names = next(ours, []), next(theirs, [])
    yield from _unlike("the head", [str(place) for place, _ in enumerate(names, 1)], head, names)
    for place, (one, other) in enumerate(zip_longest(ours, theirs), 1):
        row = other or one
        who = dict(zip(names, row, strict=False))
        about = f"row {place} ({' '.join(filter(None, (who.get('defense'), who.get('settings'))))})"
        if one is None or other is None:
            yield about, "", _NOTHING if one is None else "a row", _NOTHING if other is None else "a row"
        else:
            yield from _unlike(about, names, one, other)


def _unlike(row: str, names: list[str], ours: list[str], theirs: list[str]) -> Cells:
    for name, one, other in zip_longest(names, ours, theirs):  # None: there is no such cell
        if one is None or other is None:
            if one is not other:
                yield row, name or _NOTHING, _cell(one), _cell(other)
        elif one != other and not _same_number(one, other):
            yield row, name or _NOTHING, one, other


def _cell(content: str | None) -> str:
    return _NOTHING if content is None else f"a cell: {content}"


def _same_number(one: str, other: str) -> bool:
    try:
        return math.isclose(float(one), float(other), rel_tol=_RELATIVE, abs_tol=1e-12)
    except ValueError:
        return False


def _in_json(written: str, expected: str) -> Cells:
    try:
        ours = parse_json(written, "it")
    except HarnessError as error:
        yield "the whole file", "", f"no JSON ({error})", "a document"
        return
    for place, one, other in _apart(ours, json.loads(expected), ""):
        row, _, column = place.rpartition("/")
        yield row or "the document", column, one, other


def _apart(one: Any, other: Any, place: str) -> Iterator[tuple[str, str, str]]:
    """boards/0/rows/2 (mix)/worst_dssim_mean, and both values."""
    if isinstance(one, dict) and isinstance(other, dict):
        named = other.get("defense") or other.get("attack")
        place += f" ({named})" if isinstance(named, str) and place else ""
        for name in [*other, *(name for name in one if name not in other)]:
            yield from _apart(one.get(name, _ABSENT), other.get(name, _ABSENT), f"{place}/{name}".lstrip("/"))
    elif isinstance(one, list) and isinstance(other, list):
        for position, (mine, theirs) in enumerate(zip_longest(one, other, fillvalue=_ABSENT)):
            yield from _apart(mine, theirs, f"{place}/{position}")
    elif isinstance(one, float) and isinstance(other, float):
        if not math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=1e-12):
            yield place, repr(one), repr(other)
    elif type(one) is not type(other) or one != other:
        yield place, _written(one), _written(other)


def _written(value: Any) -> str:
    if value is _ABSENT:
        return _NOTHING
    return value if isinstance(value, str) else json.dumps(value)


def _in_text(written: str, expected: str) -> Cells:
    """Line by line; in a table by the head of its column and the row's first cell, which names it."""
    heads: list[str] = []
    for number, (one, other) in enumerate(zip_longest(written.splitlines(), expected.splitlines()), 1):
        line = other if other is not None else one
        if not line.startswith("|"):
            heads = []
        elif not heads:
            heads = _split(line)
        if one == other:
            continue
        if heads and one is not None and other is not None and len(_split(one)) == len(_split(other)) == len(heads):
            name = _split(other)[0]
            yield from _unlike(f"line {number} ({name})", heads, _split(one), _split(other))
        yield f"line {number}", "", _NOTHING if one is None else one, _NOTHING if other is None else other
    yield "the end of a line", "", "other white space", "plain line ends"


def _split(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").replace("\\|", "\0").split("|")]


def _is_board(path: Path) -> bool:
    """Whether a file looks like one that `rank` has written."""
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8") as file:
            if path.suffix == ".csv":
                return file.read(len(_CSV_HEAD)) == _CSV_HEAD  # a line may be longer than memory
            document = parse_json(file.read(JSON_BYTES), str(path))
            return isinstance(document, dict) and set(document) == {"boards"}
    except (OSError, ValueError, HarnessError):
        return False


def _around_the_difference(one: str, other: str) -> tuple[str, str]:
    """Of long texts the part around the first letter that differs."""
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(0, same - 20) if max(len(one), len(other)) > _SHOWN else 0
    return _cut(one, start), _cut(other, start)


def _cut(text: str, start: int) -> str:
    shown = text[start : start + _SHOWN]
    return f"{'...' if start else ''}{shown}{'...' if start + _SHOWN < len(text) else ''}"
