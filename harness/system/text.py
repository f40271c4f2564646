"""Text of other people (file names, names in records, error messages) handed to another language: one function each.

A terminal (`one_line`, `printable`), rich (`as_text`), Markdown (`markdown`), CSV (`csv_cell`) and matplotlib's
mathtext (`mathtext`). The page's HTML is escaped by jinja2, its JSON by `harness.report.html.page.in_script`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

LONGEST_LINE = 1200  # characters of an error message on the terminal
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of control and format characters (zero width, or turning what follows), undecodable bytes, separators."""
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # of other categories, and shown as nothing


def is_text(name: str) -> bool:
    """Whether a name holds no bytes that are not UTF-8, nothing invisible, and nothing that ends or turns a line."""
    return not any(letter in _BLANK or unicodedata.category(letter) in _HIDDEN for letter in name)


def one_line(text: str) -> str:
    r"""The text with everything that `is_text` refuses written as an escape: a line end becomes \n, a byte \xff."""
    return text if is_text(text) else "".join(map(_escaped, text))


def shortened(text: str, most: int = LONGEST_LINE) -> str:
    """The text; of a longer one the beginning and the end, where a message says what is wrong and what to do."""
    return text if len(text) <= most else f"{text[: most * 3 // 4]} [...] {text[-most // 4 :]}"


def first_few(names: Sequence[str], most: int = 3) -> str:
    """The first of these names, and an ellipsis where there are more."""
    return ", ".join(map(one_line, names[:most])) + (", ..." if len(names) > most else "")


def counted(number: int, noun: str) -> str:
    """1 picture, 2 pictures."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _escaped(letter: str) -> str:
    if is_text(letter):
        return letter
    if 0xDC80 <= ord(letter) <= 0xDCFF:  # how Python keeps a byte of a file name that is not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


def printable(text: str) -> str:
    """Several lines of our own, in which names may stand: `one_line` of each."""
    return "\n".join(map(one_line, text.split("\n")))


def as_text(text: str) -> Text:
    """For a rich table or console: as it is, without markup and emoji codes."""
    from rich.text import Text

    return Text(printable(text))


_INTERVAL = re.compile(r"\[-?[0-9.]+%?, -?[0-9.]+%?\]")
_PUNCTUATION = re.escape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_MARKDOWN = (
    (re.compile(rf"\\(?=[{_PUNCTUATION}]|$)"), r"\\\\"),
    (re.compile(r"&(?=#?\w+;)"), "&amp;"),
    (re.compile(r"<(?=[A-Za-z/!?])"), "&lt;"),
    (re.compile(r"\*(?=\S)|(?<=\S)\*"), r"\\*"),
    (re.compile(r"(?<![A-Za-z0-9])_(?=\S)|(?<=\S)_(?![A-Za-z0-9])"), r"\\_"),
    (re.compile(r"~(?=~)|(?<=~)~"), r"\\~"),
    (re.compile(r"^(?=(#{1,6}|[+>*]|-+|=+)(\s|$))(?!-$)|^(?=>)"), r"\\"),
    (re.compile(r"^([0-9]{1,9})(?=[.)](\s|$))"), r"\1\\"),
)


def markdown(text: str) -> str:
    """For a line of Markdown or a cell of a table: shown as it is, without links, HTML, emphasis, lists and headings.

    A table escapes its bars itself. Code between backticks, and brackets that make no link, stay as they are.
    """
    text = one_line(text)
    for pattern, instead in _MARKDOWN:
        text = pattern.sub(instead, text)
    if text.count("`") % 2:
        text = text.replace("`", "\\`")
    if not _harmless(text):
        kept = _INTERVAL.findall(text)
        parts = [re.sub(r"([\[\]])", r"\\\1", part) for part in _INTERVAL.split(text)]
        text = parts[0] + "".join(interval + part for interval, part in zip(kept, parts[1:], strict=True))
    return text


def _harmless(text: str) -> bool:
    """Whether square brackets are in pairs that make no link."""
    depth = 0
    for letter in text:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if depth < 0:
            return False
    return depth == 0 and not re.search(r"\]\s*[(\[:]", text)


_BEGINS_FORMULA = frozenset({"=", "+", "-", "@"})


def csv_cell(value: Any) -> Any:
    """For a cell of a CSV file: text that a spreadsheet would take for a formula gets an apostrophe in front.

    Numbers stay numbers, also negative ones, and so does a dash. What has an apostrophe in front of a formula already
    gets one more, so that no two texts become the same and `csv_text` can tell.
    """
    if not isinstance(value, str):
        return value
    text = one_line(value)
    if text == "-" or _is_number(text):
        return text
    return f"'{text}" if _is_formula(value.lstrip("'")) else text


def csv_text(cell: str) -> str:
    """The text of one line that `csv_cell` wrote as this cell."""
    return cell[1:] if cell[:1] == "'" and _is_formula(cell.lstrip("'")) else cell


def _is_formula(text: str) -> bool:
    return text.lstrip()[:1] in _BEGINS_FORMULA or text[:1] in ("\t", "\r")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", text) is not None


def mathtext(text: str, most: int = 100) -> str:
    """For matplotlib: a dollar begins no formula, and no line has more than so many letters."""
    lines = printable(text).split("\n")
    cut = [line if len(line) <= most else line[: most - 3] + "..." for line in lines]
    return "\n".join(cut).replace("$", r"\$")


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (), least: Sequence[int] = ()) -> list[str]:
    """A table in plain text, one line a row, two blanks between columns.

    left   the columns that begin at the left; figures end at the right
    least  the least width of each column
    """
    floors = least or [0] * max(map(len, rows), default=0)
    widths = [max(floor, *map(len, column)) for floor, column in zip(floors, zip(*rows, strict=True), strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def duration(seconds: float) -> str:
    """45 s, 12 min, 3.5 h"""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
