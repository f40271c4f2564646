"""Boards as a Markdown page: every figure links to the record that it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from harness.leaderboard import verdict
from harness.leaderboard.board import Board
from harness.leaderboard.format import ATTACK_NOTES, LINKS, REPORTED_NOTES, notes, settings
from harness.leaderboard.reported import PublishedRow, figure_names
from harness.leaderboard.row import Row
from harness.report.attack_columns import AttackColumn, attack_columns
from harness.report.columns import TableCell, displayed, displayed_of
from harness.system.text import markdown

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def page(boards: Sequence[Board], records: str = "records") -> str:
    """The page of one data set; figures and rows link to their records, in a folder relative to the page."""
    records = quote(records, safe="/._-~")
    lines = [f"# {markdown(boards[0].dataset['name'])}", "", f"{notes()} {LINKS}", ""]
    for board in boards:
        lines += [f"## {markdown(board.title)}", ""]
        lines += [f"{markdown(text)}\n" for text in verdict.on_board(board)]
        columns = [column for column in displayed_of(board.rows) if column.name != "records"]
        cells = [[_written(column.cell(row), records) for column in columns] for row in board.rows]
        lines += grid([column.head for column in columns], cells)
        if any(row.attacks for row in board.rows):
            lines += ["### Attack by attack", "", f"{ATTACK_NOTES}{_how_many(board)}", ""]
        for row in board.rows:
            if row.attacks:
                said = [f"* {markdown(text)}" for text in verdict.on_row(row)[1:]]
                lines += [f"#### {markdown(verdict.headline(row))}", "", *said, ""]
                lines += _attacks(row, displayed(attack_columns()), records)
        lines += _records(board.rows, records)
    return "\n".join([*lines, *_reported(boards[0].reported)])


def _attacks(row: Row, columns: Sequence[AttackColumn], records: str) -> list[str]:
    """The release as is, then every attack."""
    before = [_written(column.before(row), records) for column in columns]
    after = [[_written(column.cell(attack), records) for column in columns] for attack in row.attacks]
    return grid([column.head for column in columns], [before, *after])


def _records(rows: Sequence[Row], records: str) -> list[str]:
    """The records of every row, folded away: dozens of links would make the table's lines as high as a page."""
    links = [
        f"* {markdown(verdict.headline(row))}: " + " ".join(f"[{key[:6]}]({records}/{key}.json)" for key in row.records)
        for row in rows
    ]
    return ["<details><summary>Records of every row</summary>", "", *links, "", "</details>", ""] if links else []


def _how_many(board: Board) -> str:
    counts = {number for row in board.rows for attack in row.attacks for _, number in attack.holm.values()}
    return f" They are {max(counts)}." if counts else ""


def _reported(rows: Sequence[PublishedRow]) -> list[str]:
    """Figures that authors report, paper by paper: the same on every board of a data set, so once a page."""
    lines = ["## Reported by authors", "", REPORTED_NOTES, ""] if rows else []
    for cite in dict.fromkeys(row.cite for row in rows):
        mine = [row for row in rows if row.cite == cite]
        shown = [name for name in figure_names() if any(name in row.figures for row in mine)]
        lines += [f"### {markdown(cite)}", "", *([f"{markdown(mine[0].about)}.", ""] if mine[0].about else [])]
        cells = [
            (
                "reported",
                markdown(row.defense),
                markdown(settings(row.settings)),
                str(row.epochs or "-"),
                *(_printed(row.figures.get(name)) for name in shown),
            )
            for row in mine
        ]
        lines += grid(("rank", "defense", "settings", "epochs", *shown), cells)
    return lines


def _printed(value: float | None) -> str:
    """.9335, as it was given: no digit more or less."""
    return "-" if value is None else f"{value:.10g}".removeprefix("0") or "0"


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, and a blank one."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
    return [*lines, ""]


def _written(cell: TableCell, records: str) -> str:
    """A figure with its interval and attack that links to its record, to those of the other seeds by a small number
    behind it, then its null or its chance."""
    parts = (markdown(cell.words), cell.interval, markdown(cell.by), markdown(cell.detail))
    text = " ".join(filter(None, parts))
    if cell.records and cell.words != "-":
        first, *others = (f"({records}/{key}.json)" for key in cell.records)
        text = f"[{text}]{first}" + "".join(f"[{str(n).translate(_RAISED)}]{to}" for n, to in enumerate(others, 2))
    beside = (("null", cell.null), ("chance", cell.chance))
    return text + "".join(f", {name} {markdown(value)}" for name, value in beside if value)
