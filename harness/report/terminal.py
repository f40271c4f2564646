"""Boards and verdicts on the terminal, within its width."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from textwrap import wrap

from rich import box
from rich.console import Console
from rich.table import Table

from harness.leaderboard import verdict
from harness.leaderboard.board import Board
from harness.leaderboard.format import ONE_TRAINING, notes, settings
from harness.leaderboard.row import Row
from harness.report.columns import NOTHING, Column, displayed_of
from harness.system.text import as_text

_FIRST, _EACH = 17, 12
"""Widths of the first column and of each other one."""


def show(boards: Sequence[Board], console: Console) -> None:
    """Print each board within the width: a figure, its interval under it, then the attack that it is of and its chance.

    Columns that find no room follow in a table of their own.
    """
    for board in boards:
        every = displayed_of(board.rows)
        columns = [column for column in every if column.terminal]
        beside: dict[str, list[Column[Row]]] = defaultdict(list)
        for column in every:
            if column.under:
                beside[column.under].append(column)
        at_once = max(1, (console.width - _FIRST) // _EACH)
        for start in range(0, max(1, len(columns)), at_once):
            table = Table(
                title=None if start else as_text(board.title), title_justify="left", box=box.SIMPLE_HEAD,
                padding=(0, 0), pad_edge=False,
            )  # fmt: skip
            table.add_column("defense", min_width=_FIRST, overflow="fold")
            some = columns[start : start + at_once]
            for column in some:
                table.add_column("\n".join(wrap(column.head, _EACH)), justify="right", no_wrap=True)
            for row in board.rows:
                sign = [row.defense + (" *" if row.pareto else ""), *_sign(row), f"n={row.originals}"]
                cells = [_lines(column, beside[column.name], row) for column in some]
                table.add_row(*map(as_text, ("\n".join(sign), *cells)), end_section=True)
            console.print(table)
        console.print(as_text(" ".join(notes())), style="dim", highlight=False)
        for text in verdict.on_board(board):
            console.print(as_text(text), highlight=False)


def _broken(name: str) -> list[str]:
    """A name in lines of a column's width, broken after a blank or an underscore where it can be."""
    lines = [""]
    for part in name.replace("_", "_\0").replace(" ", " \0").split("\0"):
        if lines[-1] and len(lines[-1] + part.rstrip()) > _EACH:
            lines.append("")
        lines[-1] += part
    return [line for part in lines if part for line in wrap(part, _EACH)]


def _lines(column: Column[Row], others: Sequence[Column[Row]], row: Row) -> str:
    """A cell, one part to a line, and under it those of other columns."""
    cell = column.cell(row)
    parts = [
        cell.words,
        _narrow(cell.interval),
        *_broken(cell.by),
        f"null {cell.null}" if cell.null else "",
        f"chance {cell.chance}" if cell.chance else "",
    ]
    for other in others:
        if (below := other.cell(row)) != NOTHING:
            first, _, last = other.head.rpartition(" ")
            parts += [*wrap(first, _EACH), f"{last} {below.words}", _narrow(below.interval)]
    return "\n".join(filter(None, parts))


def _narrow(interval: str) -> str:
    """Within a column; that it is of one training is said under the board."""
    return interval.replace(", ", " ").removesuffix(ONE_TRAINING)


def _sign(row: Row) -> list[str]:
    rank = [f"rank {row.place}"] if row.rank else ["reference"] if row.reference else []
    counts = {"epochs": row.epochs, "releases": None if row.releases == row.epochs else row.releases}
    return [*rank, *settings(row.settings).split(), *(f"{name}={n}" for name, n in counts.items() if n)]


def verdicts(rows: Sequence[Row], console: Console) -> None:
    """The verdict on each defense, in a paragraph."""
    for row in rows:
        first, *others = verdict.on_row(row)
        console.print(as_text(first), style="bold", highlight=False)
        for line in others:
            for part in wrap(line, console.width, initial_indent="  ", subsequent_indent="    "):
                console.print(as_text(part), highlight=False, soft_wrap=True)
        console.print()
