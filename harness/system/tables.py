"""CSV files of other people, as they come from spreadsheets: row by row, in bounded memory.

Read are UTF-8 with or without a byte order mark, commas or semicolons between the cells, and the line ends of any
system. A number is written with a decimal point and finite.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from harness.errors import HarnessError
from harness.system.documents import read_bytes
from harness.system.numbers import finite
from harness.system.schema import shown

BYTES = 2**28


def read_csv(path: Path, what: str = "CSV file", most: int = BYTES) -> Iterator[list[str]]:
    """The rows of a CSV file, the head first; every row has as many cells as the head, empty lines are left out.

    what  names it in messages
    most  bytes

    Raises HarnessError, also while it is iterated over.
    """
    text = _decoded(read_bytes(path, most, what), path)
    head = re.split(r"\r\n|\r|\n", text[: csv.field_size_limit()], maxsplit=1)[0]
    between = ";" if ";" in head and "," not in head else ","
    width = 0
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True)
    try:
        for row in rows:
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


def number_in(cell: str, where: str) -> float:
    """A cell as a finite number, with a decimal point."""
    text = cell.strip()
    value = finite(text)
    if value is None:
        point = text.replace(",", ".")
        fix = f"write {point}" if text != point and finite(point) is not None else "write one with a decimal point"
        raise HarnessError(f"{where}: {shown(text)} is no finite number; {fix}")
    return value


def _decoded(data: bytes, path: Path) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path}: byte {error.start + 1} is not UTF-8; save it as CSV in UTF-8") from None
    if "\0" in text:
        raise HarnessError(f"{path}: holds a NUL character; save it as CSV in UTF-8")
    return text
