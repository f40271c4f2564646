"""Boards and verdicts on the terminal, as wide as it is: the verdict beside the defense, no figure broken.

The columns by which a row is read first come first; the others follow in the same table where they find room, else in
one of their own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table

from harness.leaderboard import verdict
from harness.leaderboard.board import Board
from harness.leaderboard.format import ONE_TRAINING, notes
from harness.leaderboard.row import Row
from harness.leaderboard.summary import findings, in_common
from harness.report.columns import NOTHING, Column, TableCell, displayed_of
from harness.report.summary_columns import ARROW, SUMMARISED, summary_columns
from harness.system.text import as_text, printable

_FIRST, _EACH = 17, 13
"""Widths at which the words of the first column, and those of the others, are folded."""
_NARROW = 60
"""Below this width rows are lists, not tables."""
LEGEND = "--legend explains the columns."


@dataclass(frozen=True)
class _Column:
    """A column as it is printed: the lines of its head, and of each row's cell."""

    head: list[str]
    cells: list[list[str]]

    @property
    def width(self) -> int:
        return max(len(line) for lines in (self.head, *self.cells) for line in (*lines, ""))


def show(boards: Sequence[Board], console: Console, legend: bool = False) -> None:
    """Print what the figures of each board say, its rows, and what a reader must know before quoting them.

    legend  also how to read the columns
    """
    for board in boards:
        _say([board.title], console, style="bold")
        _say([*findings(board), f"All rows: {'; '.join(in_common(board.rows))}."] if board.rows else [], console)
        first, *columns = _columns(board.rows)
        narrow = console.width < max(_NARROW, first.width + 1 + max((column.width for column in columns), default=0))
        for line in _as_list(board.rows, first, columns) if narrow and board.rows else ():
            _say([line], console)
        for some in () if narrow else _by_width(first, columns, console.width):
            console.print("", _table(first, some), sep="\n")
        _say(["", *verdict.on_board(board), ""], console)
    if boards:
        alike = all(board.limits == boards[0].limits for board in boards)
        said = notes(boards[0].limits.values if alike else None)
        _say(said if legend else [LEGEND], console, style="dim")


def _say(lines: Sequence[str], console: Console, style: str | None = None) -> None:
    """Each within the width, without blanks at its end."""
    for line in lines:
        for part in _folded(line, console.width, "", "  ") or [""]:
            console.print(as_text(part), style=style, highlight=False, soft_wrap=True)


def _folded(text: str, width: int, first: str, others: str) -> list[str]:
    """In lines of this width; an interval and a hyphenated word stay in one."""
    kept = re.sub(r"(?<=\[)[^][ ]+, (?=[^][ ]+\])", lambda found: found[0].replace(" ", "\0"), printable(text))
    lines = wrap(kept, width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def _columns(rows: Sequence[Row]) -> list[_Column]:
    """The defense, the verdict, the other columns that are read first, then those that have room beside them."""
    first, *summary = summary_columns(rows)
    every = displayed_of(rows)
    beside: dict[str, list[Column[Row]]] = defaultdict(list)
    for column in every:
        if column.under:
            beside[column.under].append(column)
    shown = [_Column(["defense"], [_name(row, first.cell(row)) for row in rows])]
    shown += [_Column(_head(_ascii(column.head)), [_summary(column.cell(row)) for row in rows]) for column in summary]
    return shown + [
        _Column(wrap(column.head, _EACH), [_lines(column, beside[column.name], row) for row in rows])
        for column in every
        if column.terminal and column.name not in SUMMARISED
    ]


def _name(row: Row, cell: TableCell) -> list[str]:
    """The defense, and under it its settings; what claims no privacy is marked."""
    name = f"{row.defense} (reference)" if row.reference else row.defense
    return [*_broken(printable(name), _FIRST), *wrap(printable(cell.detail), _FIRST)]


def _summary(cell: TableCell) -> list[str]:
    """A figure and its interval, or words."""
    if cell == NOTHING:
        return ["-"]
    return [*wrap(_ascii(cell.words), _FIRST), *filter(None, [_narrow(cell.interval or cell.detail)])]


def _head(words: str) -> list[str]:
    """dSSIM / -> worst, re- / identified: a heading in lines."""
    return wrap(words, 10)


def _ascii(words: str) -> str:
    return printable(words).replace(ARROW, " -> ")


def _by_width(first: _Column, columns: Sequence[_Column], width: int) -> Iterator[list[_Column]]:
    """As many columns at a time as stand beside the first within the width."""
    left = width - first.width
    some: list[_Column] = []
    for column in columns:
        if some and column.width + 1 > left:
            yield some
            left, some = width - first.width, []
        left -= column.width + 1
        some.append(column)
    yield some


def _table(first: _Column, columns: Sequence[_Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False, show_edge=False)
    for column in (first, *columns):
        numbers = any(line[:1] in ".0123456789" for lines in column.cells for line in lines[:1])
        side: Literal["right", "left"] = "right" if numbers and column is not first else "left"
        table.add_column("\n".join(column.head), justify=side, no_wrap=True)
    for at in range(len(first.cells)):
        cells = [column.cells[at] for column in (first, *columns)]
        table.add_row(*(as_text("\n".join(lines)) for lines in cells), end_section=True)
    return table


def _as_list(rows: Sequence[Row], first: _Column, columns: Sequence[_Column]) -> Iterator[str]:
    """For a terminal in which no figure finds room beside a name: line by line."""
    for at in range(len(rows)):
        yield " ".join(first.cells[at])
        for column in columns:
            yield f"  {' '.join(column.head).replace('- ', '-')}: {' '.join(column.cells[at])}"


def _broken(name: str, width: int = _EACH) -> list[str]:
    """A name in lines of this width, broken after a blank or an underscore where it can be."""
    lines = [""]
    for part in name.replace("_", "_\0").replace(" ", " \0").split("\0"):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for part in lines if part for line in wrap(part, width)]


def _lines(column: Column[Row], others: Sequence[Column[Row]], row: Row) -> list[str]:
    """A cell, one part to a line, and under it those of other columns."""
    cell = column.cell(row)
    parts = [
        printable(cell.words),
        _narrow(cell.interval),
        *_broken(printable(cell.by)),
        f"null {cell.null}" if cell.null else "",
        f"chance {cell.chance}" if cell.chance else "",
    ]
    for other in others:
        if (below := other.cell(row)) != NOTHING:
            parts += wrap(f"{other.head} {below.words}", _FIRST)
    return [line for line in parts if line]


def _narrow(interval: str) -> str:
    """Within a column; that it is of one training is said under the board."""
    return interval.replace(", ", " ").removesuffix(ONE_TRAINING)


def verdicts(rows: Sequence[Row], console: Console) -> None:
    """The verdict on each defense, in a paragraph."""
    for row in rows:
        first, *others = verdict.on_row(row)
        console.print(as_text(first), style="bold", highlight=False)
        for line in others:
            for part in _folded(line, console.width, "  ", "    "):
                console.print(as_text(part), highlight=False, soft_wrap=True)
        console.print()
