"""Boards as data: CSV with one line per row, and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from harness.leaderboard import Board
from harness.rows import Row
from harness.verdict import attack_document
from harness.wording import settings


def csv_text(boards: Sequence[Board]) -> str:
    """One line per row, numbers in full."""
    out = io.StringIO()
    lines = [(board, flat(board, row)) for board in boards for row in board.rows]
    names = list(dict.fromkeys(name for _, line in lines for name in line))
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(line for _, line in lines)
    return out.getvalue()


def flat(board: Board, row: Row) -> dict[str, Any]:
    """A row as plain columns."""
    line: dict[str, Any] = {
        "dataset": board.dataset["name"],
        "fingerprint": board.dataset["fingerprint"],
        "size": board.dataset["height"],
        "private": board.dataset["private"],
        "device": board.device,
        "rank": row.rank,
        "defense": row.defense,
        "settings": settings(row.settings),
        "epochs": row.epochs,
        "training": row.training,
        "seeds": row.seeds,
        "pareto": row.pareto,
        "lacks": "; ".join(row.lacks),
        "granted": " ".join(row.granted),
    }
    for name, score in row.scores.items():
        line |= {f"{name}_{part}": score[part] for part in ("mean", "low", "high", "p5", "min", "n")}
    for name, score in row.worst.items():
        line |= {
            f"worst_{name}_{part}": score[part] for part in ("mean", "low", "high", "p5", "min", "below", "attack")
        }
    line |= {f"passes_{name}": yes for name, yes in row.passes.items()}
    if row.recognition:
        line |= {"recogniser": row.recognition["attack"], "recogniser_arch": row.recognition["arch"]}
        for name in ("top1", "any_source", "released"):
            line |= {f"{name}_{part}": row.recognition[name][part] for part in ("mean", "low", "high", "chance")}
        line["top1_corrected"] = row.recognition["corrected"]
    if row.reidentified:
        line["reidentifier"] = row.reidentified["attack"]
        for name in ("rank1", "rank5"):
            score = row.reidentified[name] or {}
            line |= {f"worst_reid_{name}_{part}": score.get(part) for part in ("mean", "low", "high", "chance")}
    if row.attribute:
        line["attribute_reader"] = row.attribute["attack"]
        line |= {f"attribute_{part}": row.attribute[part] for part in ("mean", "low", "high", "chance", "corrected")}
    for name, known in (("utility", row.utility), ("utility_gap", row.gap)):
        if known:
            line |= {f"{name}_{part}": known[part] for part in ("mean", "low", "high")}
    return line | {"unjudged": "; ".join(row.unjudged), "warnings": "; ".join(row.warnings)}


def document(boards: Sequence[Board]) -> dict[str, Any]:
    """Boards as `rank --json` prints them: the columns of a row, and under `attacks` every attack on it."""
    return {
        "boards": [
            {
                "title": board.title,
                "rows": [
                    {**flat(board, row), "attacks": [attack_document(attack) for attack in row.attacks]}
                    for row in board.rows
                ],
            }
            for board in boards
        ]
    }


def as_json(thing: Any) -> str:
    return json.dumps(thing, indent=1, allow_nan=False)
