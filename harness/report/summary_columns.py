"""The few columns by which a row is read first: Markdown, the terminal and the page show them before all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.leaderboard.format import ONE_TRAINING, attack_name, percent, short
from harness.leaderboard.row import Row
from harness.leaderboard.summary import row_settings, verdict_in_few_words
from harness.report.columns import NOTHING, Column, TableCell, exposed_cell, figure_cell, reidentified_cell
from harness.scores import label, ranking

ARROW = " → "


def summary_columns(rows: Sequence[Row]) -> list[Column[Row]]:
    """Six: defense with its settings, verdict, privacy released and after attack, exposed, re-identified, accuracy.

    rows  all of the table: what they have in common is not repeated in their settings
    """

    return [
        Column("defense", "defense", lambda row: TableCell(row.defense, detail=row_settings(row, rows)), "row"),
        Column("verdict", "verdict", lambda row: TableCell(verdict_in_few_words(row)), "row"),
        Column("privacy", f"{label(ranking())}{ARROW}worst", lambda row: _privacy(row, rows), "figure"),
        Column("exposed", "exposed", _exposed, "figure"),
        Column("reidentified", "re-identified", reidentified_cell, "figure"),
        Column("accuracy", "accuracy", _accuracy, "figure"),
    ]


SUMMARISED = (ranking(), f"worst_{ranking()}", "exposed", "reidentified", "utility", "utility_gap", "passes")
"""The columns of `row_columns` that these stand for."""


def _privacy(row: Row, rows: Sequence[Row]) -> TableCell:
    """.831 → .516 ±.013: of the release of epoch 0, and in the worst case.

    Where every row is of one training, the rows are said to be so once, and not by a mark in every cell.
    """
    name = ranking()
    if name not in row.worst:
        return NOTHING
    worst = figure_cell(row.worst[name], attack_name(row.worst[name]["attack"]))
    if all(each.seeds == 1 for each in rows):
        interval, reach = worst.interval.removesuffix(ONE_TRAINING), worst.reach.removesuffix(ONE_TRAINING)
        worst = replace(worst, interval=interval, reach=reach)
    released = short(row.scores[name]["mean"]) if name in row.scores else "-"
    return replace(worst, words=f"{released}{ARROW}{worst.words}")


def _exposed(row: Row) -> TableCell:
    """9.0%, and how many of how many."""
    if "share" not in row.exposed:
        return NOTHING
    return TableCell(percent(row.exposed["share"]), by=exposed_cell(row).words, value=row.exposed["share"])


def _accuracy(row: Row) -> TableCell:
    """.336 (-.217): the accuracy, and how it differs from the undefended model's; its interval is the detail."""
    cell = figure_cell(row.utility)
    cell = replace(cell, interval="", reach="", detail=cell.interval)
    if cell == NOTHING or not row.accuracy_drop or row.accuracy_drop["mean"] is None:
        return cell
    drop = short(-row.accuracy_drop["mean"])
    change = drop if drop.startswith("-") or drop == ".000" else f"+{drop}"
    return replace(cell, words=f"{cell.words} ({change})")
