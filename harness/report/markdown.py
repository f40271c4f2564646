"""Boards as a Markdown page: first what the figures say, a table of at most eight columns, then one defense at a time.

A row is one line on GitHub's page. Everything else is in JSON, in CSV and on the page of `harness report`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count as numbers
from urllib.parse import quote

from harness.leaderboard import verdict
from harness.leaderboard.attack_results import AttackResult
from harness.leaderboard.board import Board
from harness.leaderboard.format import (
    ATTACK_NOTES,
    LOOK,
    MARKDOWN_NOTES,
    NO_ATTACK,
    REPORTED_NOTES,
    attack_name,
    notes,
    settings,
)
from harness.leaderboard.reported import PublishedRow, figure_names
from harness.leaderboard.row import Row
from harness.leaderboard.summary import findings, in_common, verdict_in_few_words
from harness.report.attack_columns import attack_table, attacks_without_figure
from harness.report.columns import NOTHING, Column, TableCell, displayed_of
from harness.report.summary_columns import summary_columns
from harness.system.text import markdown

WIDEST = 8
"""Columns of a table at most: more do not fit a row into one line of GitHub's page."""


def page(boards: Sequence[Board], records: str = "records") -> str:
    """The page of one data set; figures link to their records, in a folder relative to the page."""
    records = quote(records, safe="/._-~")
    lines = [f"# {markdown(boards[0].shown)}", ""]
    anchors = (f"row-{number}" for number in numbers(1))
    for board in boards:
        lines += _board(board, records, [next(anchors) for _ in board.rows])
    return "\n".join([*lines, *_reported(boards[0].reported)])


def _board(board: Board, records: str, anchors: Sequence[str]) -> list[str]:
    """anchors  one for each row: where its section is"""
    lines = [f"## {markdown(board.title)}", "", *(f"{markdown(text)}\n" for text in findings(board))]
    told = in_common(board.rows) if board.rows else []
    lines += [f"All rows: {markdown('; '.join(told))}.", ""] if told else []
    rows = list(zip(board.rows, anchors, strict=True))
    judged, waiting = ([each for each in rows if bool(each[0].missing) == missing] for missing in (False, True))
    lines += _rows(judged, board.rows, records) if judged else []
    lines += ["### Not yet judged", ""] if waiting else []
    lines += [f"{markdown(text)}\n" for text in verdict.on_board(board)]
    lines += _rows(waiting, board.rows, records) if waiting else []
    lines += [*(f"* {text}" for text in (*notes(board.limits.values), MARKDOWN_NOTES)), ""] if rows else []
    if any(row.attacks for row in board.rows):
        lines += ["### One defense at a time", "", f"{ATTACK_NOTES}{_how_many(board)}", "", *_entries(board)]
    for row, anchor in rows:
        if row.attacks:
            lines += _section(row, board, anchor, records)
    return lines


def _rows(rows: Sequence[tuple[Row, str]], every: Sequence[Row], records: str) -> list[str]:
    """The table of rows, the verdict last; a defense leads to its section."""
    columns = summary_columns(every)
    columns.sort(key=lambda column: column.name == "verdict")
    cells = [
        [
            _defense(row, column.cell(row), anchor) if column.name == "defense" else _written(column.cell(row), records)
            for column in columns
        ]
        for row, anchor in rows
    ]
    return grid([column.head for column in columns], cells)


def _defense(row: Row, cell: TableCell, anchor: str) -> str:
    """Its name, which leads to its section, and its settings; a reference in italics."""
    name = f"[{markdown(cell.words)}](#{anchor})" if row.attacks else markdown(cell.words)
    return " ".join(filter(None, (f"*{name}*" if row.reference else name, markdown(cell.detail))))


def _section(row: Row, board: Board, anchor: str, records: str) -> list[str]:
    """The verdict part by part, the attacks, those without a figure, then every score, folded away."""
    lines = [f'#### <a id="{anchor}"></a>{markdown(verdict.headline(row))}', ""]
    lines += [f"**{verdict_in_few_words(row).capitalize()}.**", ""]
    lines += [f"* {markdown(text)}" for text in [*verdict.parts(row), *verdict.remarks(row)]] + [""]
    return lines + _attacks(row, records) + _no_figure(row) + _scores(row, board, records)


def _attacks(row: Row, records: str) -> list[str]:
    """The release as is, then every attack that has a figure; that of `look` is the release's."""
    table = attack_table(row, WIDEST - 1)
    names = [attack.name for attack in table.attacks]
    first = [NO_ATTACK, *(_attack(attack, names, records) for attack in table.attacks)]
    lines = [[name, *map(_figure, cells)] for name, cells in zip(first, table.lines, strict=True)]
    said = f"Chance: {', '.join(table.chances)}."
    return grid(["attack", *table.heads], lines) + ([said, ""] if table.chances else [])


def _attack(attack: AttackResult, names: Sequence[str], records: str) -> str:
    """Its name, which leads to the record of the first seed; its settings where another has the same name."""
    name = markdown(attack_name(attack.name))
    text = f"[{name}]({records}/{attack.records[0]}.json)" if attack.records else name
    seeds, all_seeds = len(attack.group.ok_runs), len(attack.group.records)
    parts = [
        markdown(settings(attack.params)) if names.count(attack.name) > 1 else "",
        "(control)" if attack.group.control else "(external)" if attack.external else "",
        f"(= {NO_ATTACK})" if attack.equals_release else "",
        f"({seeds} of {all_seeds} seeds)" if seeds < all_seeds else "",
    ]
    return " ".join(filter(None, (text, *parts)))


def _no_figure(row: Row) -> list[str]:
    """* does not apply: fastica (it separates mixtures of two sources)"""
    lines = [
        f"* {markdown(', '.join(names))}: {markdown(reason)}" for reason, names in attacks_without_figure(row).items()
    ]
    return ["Without a figure, or not on every seed:", "", *lines, ""] if lines else []


def _scores(row: Row, board: Board, records: str) -> list[str]:
    """Every score of the row that boards show, one to a line."""
    columns: list[Column[Row]] = [column for column in displayed_of(board.rows) if column.group == "figure"]
    cells = []
    for column in columns:
        cell = column.cell(row)
        if cell != NOTHING:
            beside = [f"{name} {value}" for name, value in (("null", cell.null), ("chance", cell.chance)) if value]
            by = " ".join(filter(None, (cell.by, cell.detail)))
            figure = " ".join(filter(None, (markdown(cell.words), cell.interval)))
            cells.append([column.head, _linked(figure, cell, records), markdown(by), markdown(", ".join(beside))])
    table = grid(["score", "mean [95 % interval]", "by", "beside"], cells)
    return ["<details><summary>Every score of this row</summary>", "", *table, "</details>", ""]


def _entries(board: Board) -> list[str]:
    """Each attack of the board once, with its settings and what it is granted beyond the released images."""
    found: dict[tuple[str, str], AttackResult] = {}
    for row in board.rows:
        for attack in row.attacks:
            found.setdefault((attack.name, _brief(attack)), attack)
    lines = []
    for (name, chosen), attack in sorted(found.items(), key=lambda item: item[0]):
        if name != LOOK:
            granted = ", ".join(attack.group.granted) or "nothing beside the images"
            lines.append(f"* {markdown(name)}{f' ({markdown(chosen)})' if chosen else ''}: {markdown(granted)}")
    return ["<details><summary>Settings of the attacks, and what they see</summary>", "", *lines, "", "</details>", ""]


def _brief(attack: AttackResult) -> str:
    """The settings; of a table of words how many there are."""
    return settings(
        {name: f"({len(value)} entries)" if isinstance(value, dict) else value for name, value in attack.params.items()}
    )


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
    """A figure and how far its interval reaches, which lead to the record of the first seed."""
    return _linked(_figure(cell), cell, records)


def _figure(cell: TableCell) -> str:
    return " ".join(filter(None, (markdown(cell.words), cell.reach)))


def _linked(text: str, cell: TableCell, records: str) -> str:
    return f"[{text}]({records}/{cell.records[0]}.json)" if cell.records and cell.words != "-" else text
