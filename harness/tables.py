"""Boards as text: on the terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from harness.errors import HarnessError
from harness.leaderboard import Board
from harness.rows import THRESHOLDS, Row
from harness.settings import as_setting

HEADS = (
    "rank",
    "defense",
    "settings",
    "dSSIM of release",
    "dHaar of release",
    "worst dSSIM",
    "below .66",
    "worst dHaar",
    "recognised (top-1)",
    "chance",
    "utility",
    "lost to undefended",
    "training",
    "n",
    "seeds",
    "passes",
    "granted",
    "lacks",
)
NOTES = (
    "Mean [95 % interval]; distances to the dominant original, bootstrap over n originals; proportions by Wilson. "
    "Worst: per original the minimum over looking at the release (look) and every reconstruction run, controls apart. "
    "Recognised: top-1 of the strongest recogniser against the dominant source's class; read it against the row none. "
    "Utility: accuracy on clean test images; lost: paired, against undefended; with one seed the intervals do not hold "
    "what another training would do. * on the Pareto front of both, among judged rows. "
    "Passes: lower end of the worst case at or above "
    + " and ".join(f"{value} ({name})" for name, value in THRESHOLDS.items())
    + ", thresholds of a survey at 96 to 256 px: at 64 px a blank grey image has dSSIM .80 to a photograph."
)


def figure(score: dict[str, Any] | None) -> str:
    """.71 [.69, .73]"""
    if not score or score["mean"] is None:
        return "-"
    if score["low"] is None:
        return _short(score["mean"])
    return f"{_short(score['mean'])} [{_short(score['low'])}, {_short(score['high'])}]"


def _short(value: float) -> str:
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def settings(row: Row) -> str:
    parts = []
    for name, value in row.settings.items():
        if name == "weights" and value == [1.0]:
            continue
        parts.append(f"{name}={as_setting(value)}")
    return " ".join(parts)


def cells(row: Row) -> tuple[str, ...]:
    """One line of the board, under HEADS."""
    read = row.recognition
    passed = [name for name, yes in row.passes.items() if yes]
    return (
        str(row.rank) if row.rank else "",
        row.defense + (" *" if row.pareto else ""),
        settings(row),
        figure(row.scores.get("dssim")),
        figure(row.scores.get("dhaar")),
        figure(row.worst["dssim"]) + (f" {row.worst['dssim']['attack']}"),
        f"{row.worst['dssim']['below']:.0%}",
        figure(row.worst["dhaar"]),
        f"{figure(read['top1'])} {read['attack']} {read['arch'] or ''}".strip() if read else "-",
        _short(read["top1"]["chance"]) if read else "-",
        figure(row.utility),
        figure(row.gap),
        f"{row.epochs} epochs, {row.training}" if row.training else "-",
        str(row.worst["dssim"]["n"]),
        str(row.seeds),
        "not judged" if row.lacks else ", ".join(passed) or "no",
        ", ".join(row.granted) or "-",
        "; ".join(row.lacks) or "-",
    )


def verdict(board: Board) -> list[str]:
    """What a stranger must know before quoting the table."""
    lines = []
    for lacks in dict.fromkeys("; ".join(row.lacks) for row in board.rows if row.lacks):
        names = dict.fromkeys(row.defense for row in board.rows if "; ".join(row.lacks) == lacks)
        lines.append(f"Not yet judged, so not ranked: {', '.join(names)}. Lacking: {lacks}.")
    if any(not row.lacks for row in board.rows) and not any(row.rank for row in board.rows):
        lines.append("No defense passes: none keeps a worst-case dSSIM of 0.66. Rows are not ranked.")
    for row in board.rows:
        lines += [f"{row.defense} {settings(row)}: FAILED {reason}" for reason in row.failures]
    return lines


def show(boards: Sequence[Board], console: Console) -> None:
    """Print each board within 80 columns: a figure, its interval under it, then what it belongs to."""
    for board in boards:
        table = Table(title=board.title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
        table.add_column("defense", min_width=17, overflow="fold")
        for head in ("dSSIM", "worst dSSIM", "dHaar", "recognised", "utility"):
            table.add_column(head, justify="right", no_wrap=True)
        for row in board.rows:
            read, worst = row.recognition, row.worst["dssim"]
            sign = [row.defense + (" *" if row.pareto else ""), *settings(row).split(), f"n={worst['n']}"]
            table.add_row(
                "\n".join(sign),
                _stacked(row.scores.get("dssim")),
                f"{_stacked(worst)}\n{worst['attack']}",
                _stacked(row.scores.get("dhaar")),
                f"{_stacked(read['top1'])}\n{read['attack']}\nchance {_short(read['top1']['chance'])}" if read else "-",
                _stacked(row.utility) + (f"\nlost {_stacked(row.gap)}" if row.gap else ""),
                end_section=True,
            )
        console.print(table)
        console.print(NOTES, style="dim", highlight=False)
        for text in verdict(board):
            console.print(text, highlight=False)


def _stacked(score: dict[str, Any] | None) -> str:
    return figure(score).replace(" [", "\n[").replace(", ", " ")


def markdown(boards: Sequence[Board], records: str = "records") -> str:
    """The page of one data set; every row links to its records, in a folder relative to the page."""
    lines = [f"# {boards[0].dataset['name']}", "", NOTES, ""]
    for board in boards:
        lines += [f"## {board.title}", ""]
        lines += [f"{text}\n" for text in verdict(board)]
        lines += ["| " + " | ".join((*HEADS, "records")) + " |", "|" + "---|" * (len(HEADS) + 1)]
        for row in board.rows:
            links = " ".join(f"[{key[:6]}]({records}/{key}.json)" for key in row.records)
            lines.append("| " + " | ".join(text.replace("|", "\\|") for text in (*cells(row), links)) + " |")
        lines.append("")
    return "\n".join(lines)


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
        "settings": settings(row),
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
    for name, known in (("utility", row.utility), ("utility_gap", row.gap)):
        if known:
            line |= {f"{name}_{part}": known[part] for part in ("mean", "low", "high")}
    return line


def document(boards: Sequence[Board]) -> dict[str, Any]:
    """Boards as `rank --json` prints them."""
    return {"boards": [{"title": board.title, "rows": [flat(board, row) for row in board.rows]} for board in boards]}


def write(boards: Sequence[Board], folder: Path, records: Path | None = None) -> list[Path]:
    """leaderboards/<dataset>.md and .csv"""
    paths = []
    names = dict.fromkeys(board.dataset["name"] for board in boards)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            mine = [board for board in boards if board.dataset["name"] == name]
            for suffix, text in (
                (".md", markdown(mine, os.path.relpath(records or folder / "records", folder))),
                (".csv", csv_text(mine)),
            ):
                paths.append(folder / f"{name}{suffix}")
                temporary = folder / f".{name}{suffix}.tmp"
                temporary.write_text(text)
                temporary.replace(paths[-1])
    except OSError as error:
        raise HarnessError(
            f"leaderboards folder {folder}: {error.strerror or error}; name another with --out"
        ) from None
    return paths


def as_json(thing: Any) -> str:
    return json.dumps(thing, indent=1, allow_nan=False)
