"""Boards as data: CSV with one line per row, and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.leaderboard.board import Board
from harness.leaderboard.format import settings
from harness.leaderboard.row import Row
from harness.leaderboard.verdict import attack_document, on_board

_ENDS = ("mean", "low", "high")


def csv_text(boards: Sequence[Board]) -> str:
    """One line per row, numbers in full."""
    out = io.StringIO()
    lines = [(board, _line(board, row)) for board in boards for row in board.rows]
    names = list(dict.fromkeys(name for _, line in lines for name in line))
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(line for _, line in lines)
    return out.getvalue()


def _line(board: Board, row: Row) -> dict[str, Any]:
    """A row's columns, then the records of each figure, apart by blanks, and those of the row."""
    named = {f"{name}_records": " ".join(score["records"]) for name, score, _ in _figures(row)}
    return flat(board, row) | named | {"records": " ".join(row.records)}


def flat(board: Board, row: Row) -> dict[str, Any]:
    """A row as plain columns."""
    line: dict[str, Any] = {
        "dataset": board.dataset["name"],
        "fingerprint": board.dataset["fingerprint"],
        "size": board.dataset["height"],
        "private": board.dataset["private"],
        "device": board.device,
        "rank": row.rank,
        "tied": "; ".join(row.tied),
        "reference": row.reference,
        "defense": row.defense,
        "settings": settings(row.settings),
        "epochs": row.epochs,
        "training": row.training,
        "seeds": row.seeds,
        "pareto": row.pareto,
        "lacks": "; ".join(row.missing),
        "granted": " ".join(row.granted),
    }
    for name, score, parts in _figures(row):
        line |= {f"{name}_{part}": score.get(part) for part in parts}
    line |= {f"passes_{name}": yes for name, yes in row.passes.items()}
    if row.recognition:
        line |= {"recogniser": row.recognition["attack"], "recogniser_arch": row.recognition["arch"]}
        line["top1_corrected"] = row.recognition["corrected"]
    if row.reidentified:
        line["reidentifier"] = row.reidentified["attack"]
    if row.attribute:
        line["attribute_reader"] = row.attribute["attack"]
    return line | {"unjudged": "; ".join(row.not_run), "warnings": "; ".join(row.warnings)}


def _figures(row: Row) -> Iterator[tuple[str, Mapping[str, Any], Sequence[str]]]:
    """Every figure of a row: its name, its statistics with its records, and which of them are columns."""
    for name, score in row.scores.items():
        yield name, score, (*_ENDS, "p5", "min", "n")
    for name, score in row.worst.items():
        yield f"worst_{name}", score, (*_ENDS, "p5", "min", "below", "attack")
    for found, names, prefix in (
        (row.recognition, ("top1", "any_source", "released"), ""),
        (row.reidentified, ("rank1", "rank5"), "worst_reid_"),
    ):
        if found:
            for name in names:
                yield f"{prefix}{name}", {**(found[name] or {}), "records": found["records"]}, (*_ENDS, "chance")
    if row.attribute:
        yield "attribute", row.attribute, (*_ENDS, "chance", "corrected")
    for name, known in (("utility", row.utility), ("utility_gap", row.gap)):
        if known:
            yield name, known, _ENDS


def document(boards: Sequence[Board]) -> dict[str, Any]:
    """Boards as `rank --json` prints them: the columns of a row, under `records` the names of the records of each
    figure, and under `attacks` every attack on it."""
    return {"boards": [_board(board) for board in boards]}


def _board(board: Board) -> dict[str, Any]:
    return {
        "title": board.title,
        "dataset": dict(board.dataset),
        "device": board.device,
        "targets": board.targets,
        "notes": on_board(board),
        "rows": [
            {
                **flat(board, row),
                "records": {"row": row.records} | {name: score["records"] for name, score, _ in _figures(row)},
                "attacks": [attack_document(attack) for attack in row.attacks],
            }
            for row in board.rows
        ],
        "reported": [row.document() for row in board.reported],
    }


def as_json(thing: Any) -> str:
    return json.dumps(thing, indent=1, allow_nan=False)
