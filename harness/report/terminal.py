"""Boards and verdicts on the terminal, within its width."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from rich import box
from rich.console import Console
from rich.table import Table

from harness.leaderboard import verdict
from harness.leaderboard.board import Board
from harness.leaderboard.format import NOTES, figure, settings, short, stacked
from harness.leaderboard.row import Row
from harness.report.files import write
from harness.report.markdown import grid
from harness.report.markdown import page as markdown
from harness.report.table_data import as_json, csv_text, document, flat


def show(boards: Sequence[Board], console: Console) -> None:
    """Print each board within 80 columns: a figure, its interval under it, then what it belongs to."""
    for board in boards:
        table = Table(title=board.title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
        table.add_column("defense", min_width=17, overflow="fold")
        for head in ("dSSIM", "worst dSSIM", "dHaar", "recognised", "utility"):
            table.add_column(head, justify="right", no_wrap=True)
        for row in board.rows:
            read, worst = row.recognition, row.worst["dssim"]
            sign = [row.defense + (" *" if row.pareto else ""), *_sign(row), f"n={worst['n']}"]
            table.add_row(
                "\n".join(sign),
                stacked(row.scores.get("dssim")),
                f"{stacked(worst)}\n{worst['attack']}",
                stacked(row.scores.get("dhaar")),
                f"{stacked(read['top1'])}\n{read['attack']}\nchance {short(read['top1']['chance'])}" if read else "-",
                stacked(row.utility) + (f"\nlost {stacked(row.gap)}" if row.gap else ""),
                end_section=True,
            )
        console.print(table)
        console.print(NOTES, style="dim", highlight=False)
        for text in verdict.on_board(board):
            console.print(text, highlight=False)


def _sign(row: Row) -> list[str]:
    rank = [f"rank {row.place}"] if row.rank else ["reference"] if row.reference else []
    return [*rank, *settings(row.settings).split(), *([f"epochs={row.epochs}"] if row.epochs else [])]


def verdicts(rows: Sequence[Row], console: Console) -> None:
    """The last words of a run: a paragraph for each defense."""
    for row in rows:
        first, *others = verdict.on_row(row)
        console.print(first, style="bold", highlight=False, markup=False)
        for line in others:
            for part in wrap(line, console.width, initial_indent="  ", subsequent_indent="    "):
                console.print(part, highlight=False, markup=False, soft_wrap=True)
        console.print()


__all__ = [
    "as_json",
    "csv_text",
    "document",
    "figure",
    "flat",
    "grid",
    "markdown",
    "show",
    "verdicts",
    "write",
]
