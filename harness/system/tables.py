"""CSV files of other people, as they come from spreadsheets: row by row, in bounded memory.

Read are UTF-8 with or without a byte order mark, commas or semicolons between the cells, and the line ends of any
system. A number is written with a decimal point and finite.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

from harness.errors import HarnessError
from harness.system.documents import opened
from harness.system.numbers import finite
from harness.system.schema import shown

BYTES = 2**28
LINES = 10_000_000
ROW = 2**22
"""Letters of a row: so many hold the scores of 100,000 classes, and its cells take up to twenty times its memory."""


def read_csv(path: Path, what: str = "CSV file", most: int = BYTES) -> Iterator[list[str]]:
    """The rows of a CSV file, the head first; every row has as many cells as the head, empty lines are left out.

    what  names it in messages
    most  bytes

    Raises HarnessError, also while it is iterated over.
    """
    with opened(path, what) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise HarnessError(f"{path}: {size:,} bytes; a {what} of at most {most:,} is read")
        with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            try:
                yield from _rows(path, text)
            except UnicodeDecodeError as error:  # it holds a part of the file, up to where that was read
                byte = file.tell() - len(error.object) + error.start + 1
                raise HarnessError(f"{path}: byte {byte:,} is not UTF-8; save it as CSV in UTF-8") from None


def _rows(path: Path, file: TextIO) -> Iterator[list[str]]:
    lines = _Lines(path, file)
    first = next(lines, "")
    between = ";" if ";" in first and "," not in first else ","
    width = 0
    rows = csv.reader(chain([first], lines), delimiter=between, strict=True)
    try:
        for row in rows:
            lines.begin_row()
            if not row:
                continue
            width = width or len(row)
            if len(row) != width:
                raise HarnessError(
                    f"{path}: line {rows.line_num}: {len(row)} cells, and the head has {width}; give as many"
                )
            yield row
    except csv.Error as error:
        reason = f"a cell of more than {csv.field_size_limit():,} letters" if "limit" in str(error) else error
        raise HarnessError(f"{path}: line {rows.line_num}: {reason}; write it as a plain CSV file") from None


class _Lines:
    """The lines of a file, until there are too many, or those of one row hold too much."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file, self._number, self._left = path, file, 0, ROW

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(self._left + 1)
        if not line:
            raise StopIteration
        self._number += 1
        self._left -= len(line)
        if self._number > LINES:
            raise HarnessError(f"{self._path}: more than {LINES:,} lines; write it as a plain CSV file")
        if self._left < 0:
            reason = f"a row of more than {ROW:,} letters"
            raise HarnessError(f"{self._path}: line {self._number}: {reason}; write it as a plain CSV file")
        if "\0" in line:
            raise HarnessError(f"{self._path}: line {self._number}: holds a NUL character; save it as CSV in UTF-8")
        return line

    def begin_row(self) -> None:
        self._left = ROW


def number_in(cell: str, where: str) -> float:
    """A cell as a finite number, with a decimal point."""
    text = cell.strip()
    value = finite(text)
    if value is None:
        point = text.replace(",", ".")
        fix = f"write {point}" if text != point and finite(point) is not None else "write one with a decimal point"
        raise HarnessError(f"{where}: {shown(text)} is no finite number; {fix}")
    return value
