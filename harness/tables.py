"""Boards as text: on the terminal and as Markdown; the files of a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from rich import box
from rich.console import Console
from rich.table import Table

from harness import verdict
from harness.attacked import Attacked
from harness.columns import as_json, csv_text, document, flat
from harness.errors import HarnessError
from harness.leaderboard import Board
from harness.rows import THRESHOLDS, Row
from harness.wording import figure, settings, short, stacked

HEADS = (
    "rank",
    "defense",
    "settings",
    "dSSIM of release",
    "dHaar of release",
    "worst dSSIM",
    "below .66",
    "worst dHaar",
    "re-identified (rank 1)",
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
ATTACK_HEADS = (
    "attack",
    "status",
    "dSSIM left",
    "dHaar left",
    "any source: dSSIM",
    "dSSIM below look",
    "dHaar below look",
    "dSSIM below smooth",
    "dHaar below smooth",
    "re-identified (rank 1)",
    "recognised (top-1)",
    "chance",
    "attribute",
    "chance",
    "granted",
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


ATTACK_NOTES = (
    "Look is the release itself, the floor of every row. Left: the attack alone, without that floor. Below look, below "
    "smooth: how much closer the attack comes, paired over originals. Re-identified: the original comes first in a "
    "gallery. An attack sees more than smoothing where it is closer than smooth by dSSIM and, apart from that, by "
    "dHaar or in re-identification. Controls never enter the worst case; what failed or was skipped says nothing for "
    "the defense."
)


def cells(row: Row) -> tuple[str, ...]:
    """One line of the board, under HEADS."""
    read = row.recognition
    passed = [name for name, yes in row.passes.items() if yes]
    return (
        str(row.rank) if row.rank else "",
        row.defense + (" *" if row.pareto else ""),
        settings(row.settings),
        figure(row.scores.get("dssim")),
        figure(row.scores.get("dhaar")),
        figure(row.worst["dssim"]) + (f" {row.worst['dssim']['attack']}"),
        f"{row.worst['dssim']['below']:.0%}",
        figure(row.worst["dhaar"]) + (f" {row.worst['dhaar']['attack']}"),
        f"{figure(row.reidentified['rank1'])} {row.reidentified['attack']}" if row.reidentified else "-",
        f"{figure(read['top1'])} {read['attack']} {read['arch'] or ''}".strip() if read else "-",
        short(read["top1"]["chance"]) if read else "-",
        figure(row.utility),
        figure(row.gap),
        ", ".join(filter(None, (f"{row.epochs} epochs" if row.epochs else "", row.training))) or "-",
        str(row.worst["dssim"]["n"]),
        str(row.seeds),
        "not judged" if row.lacks else ", ".join(passed) or "no",
        ", ".join(row.granted) or "-",
        "; ".join(row.lacks) or "-",
    )


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
    return [*settings(row.settings).split(), *([f"epochs={row.epochs}"] if row.epochs else [])]


def verdicts(rows: Sequence[Row], console: Console) -> None:
    """The last words of a run: a paragraph for each defense."""
    for row in rows:
        first, *others = verdict.on_row(row)
        console.print(first, style="bold", highlight=False, markup=False)
        for line in others:
            for part in wrap(line, console.width, initial_indent="  ", subsequent_indent="    "):
                console.print(part, highlight=False, markup=False, soft_wrap=True)
        console.print()


def markdown(boards: Sequence[Board], records: str = "records") -> str:
    """The page of one data set; every row links to its records, in a folder relative to the page."""
    lines = [f"# {boards[0].dataset['name']}", "", NOTES, ""]
    for board in boards:
        lines += [f"## {board.title}", ""]
        lines += [f"{text}\n" for text in verdict.on_board(board)]
        links = [" ".join(f"[{key[:6]}]({records}/{key}.json)" for key in row.records) for row in board.rows]
        lines += grid((*HEADS, "records"), [(*cells(row), link) for row, link in zip(board.rows, links, strict=True)])
        if any(row.attacks for row in board.rows):
            lines += ["### Attack by attack", "", ATTACK_NOTES, ""]
        for row in board.rows:
            if row.attacks:
                lines += [f"#### {verdict.headline(row)}", "", *(f"* {text}" for text in verdict.on_row(row)[1:]), ""]
                lines += grid(ATTACK_HEADS, [_look(row), *(_attack_cells(attack) for attack in row.attacks)])
    return "\n".join(lines)


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, and a blank one."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
    return [*lines, ""]


def _look(row: Row) -> tuple[str, ...]:
    """The floor: the release itself."""
    seen = {name: figure(row.scores.get(name)) for name in ("dssim", "dhaar", "any_dssim", "reid_rank1")}
    blank = ("-",) * 4
    return ("look", "floor", seen["dssim"], seen["dhaar"], seen["any_dssim"], *blank, seen["reid_rank1"], *blank, "-")


def _attack_cells(attack: Attacked) -> tuple[str, ...]:
    """One line under ATTACK_HEADS."""
    told = " ".join(filter(None, (attack.name, settings(attack.params), "(= look)" if attack.is_look else "")))
    read = attack.read
    chances = [short(read[name]["chance"]) if name in read else "-" for name in ("top1", "attribute")]
    status = attack.status + (f": {attack.reason}" if attack.reason else "")
    return (
        told,
        f"{status}, control" if attack.group.control else status,
        *(figure(attack.left.get(name)) for name in ("dssim", "dhaar", "any_dssim")),
        *(figure(apart.get(name)) for apart in (attack.from_look, attack.from_smooth) for name in ("dssim", "dhaar")),
        figure(read.get("reid_rank1")),
        figure(read.get("top1")),
        chances[0],
        figure(read.get("attribute")),
        chances[1],
        ", ".join(attack.group.granted) or "-",
    )


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


__all__ = ["as_json", "cells", "csv_text", "document", "figure", "flat", "markdown", "show", "verdicts", "write"]
