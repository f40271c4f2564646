"""Boards and verdicts as data: CSV with one line per row, and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from harness.leaderboard.attack_results import AttackResult
from harness.leaderboard.board import Board
from harness.leaderboard.format import settings
from harness.leaderboard.row import Row
from harness.leaderboard.verdict import on_board, on_row
from harness.report.attack_columns import attack_columns
from harness.report.columns import Column, row_columns
from harness.system.text import csv_cell


def csv_text(boards: Sequence[Board]) -> str:
    """One line per row, numbers in full."""
    out = io.StringIO()
    lines = [_line(board, row, row_columns(board.rows)) for board in boards for row in board.rows]
    names = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(value) for name, value in line.items()} for line in lines)
    return out.getvalue()


def _line(board: Board, row: Row, columns: Sequence[Column[Row]]) -> dict[str, Any]:
    """A row's columns, then the records of each figure, separated by blanks, and those of the row."""
    records = {f"{name}_records": " ".join(keys) for name, keys in _sources(row, columns).items()}
    return flat(board, row, columns) | records | {"records": " ".join(row.records)}


def flat(board: Board, row: Row, columns: Sequence[Column[Row]]) -> dict[str, Any]:
    """A row as plain columns."""
    line: dict[str, Any] = {
        "dataset": board.dataset["name"],
        "fingerprint": board.dataset["fingerprint"],
        "size": board.dataset["height"],
        "private": board.dataset["private"],
        "device": board.device,
    }
    for column in columns:
        line |= column.data(row)
    return line


def _sources(row: Row, columns: Sequence[Column[Row]]) -> dict[str, Sequence[str]]:
    return {name: keys for column in columns for name, keys in column.sources(row).items()}


def document(boards: Sequence[Board]) -> dict[str, Any]:
    """Boards as `rank --json` prints them: the columns of a row, under `records` the names of the records of each
    figure, and under `attacks` every attack on it."""
    return {"boards": [_board(board) for board in boards]}


def _board(board: Board) -> dict[str, Any]:
    columns = row_columns(board.rows)
    return {
        "title": board.title,
        "dataset": dict(board.dataset),
        "device": board.device,
        "targets": board.targets,
        **board.limits.document(),
        "notes": on_board(board),
        "rows": [
            {
                **flat(board, row, columns),
                "records": {"row": row.records, **_sources(row, columns)},
                "attacks": [attack_document(attack) for attack in row.attacks],
            }
            for row in board.rows
        ],
        "reported": [row.document() for row in board.reported],
    }


def attack_document(attack: AttackResult) -> dict[str, Any]:
    """One attack on one defense, numbers in full."""
    return {name: value for column in attack_columns() for name, value in column.data(attack).items()}


def verdict_document(row: Row) -> dict[str, Any]:
    """The verdict on a row as `run --json` prints it."""
    return {
        "defense": row.defense,
        "settings": settings(row.settings),
        "epochs": row.epochs,
        "releases": row.releases,
        "seeds": row.seeds,
        "worst": row.worst,
        "passes": row.passes,
        "reidentified": _reidentified(row),
        "attacks": [attack_document(attack) for attack in row.attacks],
        "lacks": row.missing,
        "unjudged": row.not_run,
        "warnings": row.warnings,
        "text": on_row(row),
    }


def _reidentified(row: Row) -> dict[str, Any] | None:
    best = row.strongest.get("reid_rank1")
    if best is None:
        return None
    rank1 = {key: value for key, value in best.items() if key not in ("attack", "arch", "beside", "records")}
    rank5 = best["beside"].get("reid_rank5")
    return {"attack": best["attack"], "rank1": rank1, "rank5": rank5, "records": best["records"]}


def as_json(thing: Any) -> str:
    return json.dumps(thing, indent=1, allow_nan=False)
