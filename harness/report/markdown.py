"""Boards as a Markdown page: every figure links to the record that it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.leaderboard import verdict
from harness.leaderboard.attack_results import AttackResult
from harness.leaderboard.board import Board
from harness.leaderboard.format import ATTACK_NOTES, LINKS, NOTES, REPORTED_NOTES, figure, settings, short
from harness.leaderboard.reported import FIGURES, PublishedRow
from harness.leaderboard.row import Row

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
    "complete, or lacks",
    "records",
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
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def page(boards: Sequence[Board], records: str = "records") -> str:
    """The page of one data set; figures and rows link to their records, in a folder relative to the page."""
    lines = [f"# {boards[0].dataset['name']}", "", f"{NOTES} {LINKS}", ""]
    for board in boards:
        lines += [f"## {board.title}", ""]
        lines += [f"{text}\n" for text in verdict.on_board(board)]
        lines += grid(HEADS, [_cells(row, records) for row in board.rows])
        if any(row.attacks for row in board.rows):
            lines += ["### Attack by attack", "", f"{ATTACK_NOTES}{_how_many(board)}", ""]
        for row in board.rows:
            if row.attacks:
                lines += [f"#### {verdict.headline(row)}", "", *(f"* {text}" for text in verdict.on_row(row)[1:]), ""]
                attacks = [_attack_cells(attack, records) for attack in row.attacks]
                lines += grid(ATTACK_HEADS, [_look(row, records), *attacks])
    return "\n".join([*lines, *_reported(boards[0].reported)])


def _how_many(board: Board) -> str:
    counts = {number for row in board.rows for attack in row.attacks for _, number in attack.holm.values()}
    return f" They are {max(counts)}." if counts else ""


def _reported(rows: Sequence[PublishedRow]) -> list[str]:
    """What authors report, paper by paper: the same on every board of a data set, so once a page."""
    lines = ["## Reported by authors", "", REPORTED_NOTES, ""] if rows else []
    for cite in dict.fromkeys(row.cite for row in rows):
        mine = [row for row in rows if row.cite == cite]
        shown = [name for name in FIGURES if any(name in row.figures for row in mine)]
        lines += [f"### {cite}", "", *([f"{mine[0].about}.", ""] if mine[0].about else [])]
        cells = [
            (
                "reported",
                row.defense,
                settings(row.settings),
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


def linked(text: str, keys: Sequence[str], records: str) -> str:
    """A figure that links to its record; to those of the other seeds by a small number behind it."""
    if not keys or text == "-":
        return text
    first, *others = (f"({records}/{key}.json)" for key in keys)
    return f"[{text}]{first}" + "".join(f"[{str(n).translate(_RAISED)}]{to}" for n, to in enumerate(others, 2))


def _cells(row: Row, records: str) -> tuple[str, ...]:
    """One line of the board, under HEADS."""
    read, found = row.recognition, row.reidentified
    passed = [name for name, yes in row.passes.items() if yes]

    def shown(score: Mapping[str, Any] | None, *words: Any) -> str:
        whole = " ".join([figure(score), *(str(word) for word in words if word)])
        return linked(whole, score.get("attack_records", score.get("records", [])) if score else [], records)

    return (
        row.place,
        row.defense + (" *" if row.pareto else ""),
        settings(row.settings),
        shown(row.scores.get("dssim")),
        shown(row.scores.get("dhaar")),
        shown(row.worst["dssim"], row.worst["dssim"]["attack"]),
        f"{row.worst['dssim']['below']:.0%}",
        shown(row.worst["dhaar"], row.worst["dhaar"]["attack"]),
        shown({**found["rank1"], "records": found["records"]}, found["attack"]) if found else "-",
        shown({**read["top1"], "records": read["records"]}, read["attack"], read["arch"]) if read else "-",
        short(read["top1"]["chance"]) if read else "-",
        shown(row.utility),
        shown(row.gap),
        ", ".join(filter(None, (f"{row.epochs} epochs" if row.epochs else "", row.training))) or "-",
        str(row.worst["dssim"]["n"]),
        str(row.seeds),
        "not judged" if row.missing else ", ".join(passed) or "no",
        ", ".join(row.granted) or "-",
        "; ".join(row.missing) or "complete",
        " ".join(f"[{key[:6]}]({records}/{key}.json)" for key in row.records),
    )


def _look(row: Row, records: str) -> tuple[str, ...]:
    """The floor: the release itself."""
    seen = {
        name: linked(figure(score), score["records"], records)
        for name in ("dssim", "dhaar", "any_dssim", "reid_rank1")
        if (score := row.scores.get(name))
    }
    release = [seen.get(name, "-") for name in ("dssim", "dhaar", "any_dssim")]
    blank = ("-",) * 4
    return ("look", "floor", *release, *blank, seen.get("reid_rank1", "-"), *blank, "-")


def _attack_cells(attack: AttackResult, records: str) -> tuple[str, ...]:
    """One line under ATTACK_HEADS."""
    told = " ".join(filter(None, (attack.name, settings(attack.params), "(= look)" if attack.is_look else "")))
    read, mine = attack.hit_rates, attack.records
    chances = [short(read[name]["chance"]) if name in read else "-" for name in ("top1", "attribute")]
    status = attack.status + (f": {attack.reason}" if attack.reason else "")

    def shown(score: Mapping[str, Any] | None) -> str:
        doubt = (
            " †" if score and not verdict.survives(score) and (score["low"] or -1) * (score["high"] or 0) > 0 else ""
        )
        return linked(figure(score) + doubt, mine, records)

    return (
        told,
        status + (", control" if attack.group.control else ", external" if attack.external else ""),
        *(shown(attack.distances.get(name)) for name in ("dssim", "dhaar", "any_dssim")),
        *(
            shown(apart.get(name))
            for apart in (attack.gain_over_release, attack.gain_over_smoothing)
            for name in ("dssim", "dhaar")
        ),
        shown(read.get("reid_rank1")),
        shown(read.get("top1")),
        chances[0],
        shown(read.get("attribute")),
        chances[1],
        ", ".join(attack.group.granted) or "-",
    )
