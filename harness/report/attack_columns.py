"""The columns of an attack on one row, as in `harness.report.columns`: all for JSON, the brief ones for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.leaderboard.attack_results import AttackResult
from harness.leaderboard.format import LOOK, NO_ATTACK, attack_name, settings
from harness.leaderboard.row import Row
from harness.leaderboard.verdict import beyond_smoothing, significant
from harness.report.columns import NOTHING, Column, Summary, TableCell, figure_cell
from harness.scores import ANY, SCORES, label, on_boards, ranking


@dataclass(frozen=True)
class AttackColumn(Column[AttackResult]):
    """A column of the attacks on one row.

    before  what it shows of the release as is, before any attack
    brief   its heading in a narrow table, in which it stands; empty: only JSON and the page have it
    """

    before: Callable[[Row], TableCell] = lambda _: NOTHING
    brief: str = ""


def attack_columns() -> list[AttackColumn]:
    """All columns of an attack, in the order of JSON."""
    shown = [name for name in on_boards("distance") if SCORES[name].judged]
    return [
        AttackColumn(
            "attack", "attack", _attack_name, "row", before=lambda row: TableCell(NO_ATTACK),
            data=lambda attack: {"attack": attack.name, "params": dict(attack.params)}, brief="attack",
        ),
        AttackColumn("status", "status", _status, "row", before=lambda row: TableCell("baseline"), data=_status_data),
        AttackColumn(
            "granted", "granted", lambda attack: TableCell(", ".join(attack.group.granted) or "-"),
            data=lambda attack: {"granted": list(attack.group.granted)},
        ),
        AttackColumn("runs", "", lambda attack: NOTHING, data=_runs_data),
        *(_after(name) for name in (*shown, ANY + ranking())),
        *(_gain(name, "release") for name in shown),
        *(_gain(name, "smoothing") for name in shown),
        *(_attack_hit_rate(name) for name in on_boards("hit_rate")),
        AttackColumn("scores", "", lambda attack: NOTHING, data=_scores_data),
    ]  # fmt: skip


@dataclass(frozen=True)
class AttackTable:
    """The attacks on one row in few columns: the release as is first, then every attack that has a figure.

    lines    of cells, one for the release as is and one for each of `attacks`
    chances  of each column that has one, in words
    """

    heads: Sequence[str]
    attacks: Sequence[AttackResult]
    lines: Sequence[Sequence[TableCell]]
    chances: Sequence[str]


def attack_table(row: Row, most: int | None = None) -> AttackTable:
    """Of the brief columns those that have a figure, `most` at most; `look` is the release, which has its own line."""
    shown = [attack for attack in row.attacks if (attack.distances or attack.hit_rates) and attack.name != LOOK]
    figures = [column for column in attack_columns() if column.brief and column.group == "figure"]
    every = [(column.brief, [column.before(row), *map(column.cell, shown)]) for column in figures]
    kept = [(head, cells) for head, cells in every if any(cell != NOTHING for cell in cells)][:most]
    chances = []
    for head, cells in kept:
        found = sorted({cell.chance for cell in cells if cell.chance})
        chances += [f"{head} {found[0]}{f' to {found[-1]}' if len(found) > 1 else ''}"] if found else []
    lines = [[cells[at] for _, cells in kept] for at in range(len(shown) + 1)]
    return AttackTable([head for head, _ in kept], shown, lines, chances)


def attacks_without_figure(row: Row) -> dict[str, list[str]]:
    """Why attacks have no figure, or not on every seed -> which; 'inapplicable: it separates mixtures of two'"""
    why: dict[str, list[str]] = {}
    for attack in row.attacks:
        if attack.status != "ok":
            why.setdefault(f"{attack.status}: {attack.reason or 'no reason was recorded'}", []).append(attack.name)
    return why


def _status_data(attack: AttackResult) -> dict[str, Any]:
    about = {"status": attack.status, "reason": attack.reason}
    return {**about, "control": attack.group.control, "external": attack.external}


def _runs_data(attack: AttackResult) -> dict[str, Any]:
    seeds = sorted(attack.group.ok_runs)
    return {"releases": attack.group.releases, "seeds": seeds, "is_look": attack.equals_release}


def _scores_data(attack: AttackResult) -> dict[str, Any]:
    return {
        "left": attack.distances,
        "read": attack.hit_rates,
        "from_look": attack.gain_over_release,
        "from_smooth": attack.gain_over_smoothing,
        "beyond_smoothing": beyond_smoothing(attack),
        "records": attack.records,
    }


def _attack_name(attack: AttackResult) -> TableCell:
    parts = (attack_name(attack.name), settings(attack.params), f"(= {NO_ATTACK})" if attack.equals_release else "")
    return TableCell(" ".join(filter(None, parts)))


def _status(attack: AttackResult) -> TableCell:
    status = attack.status + (f": {attack.reason}" if attack.reason else "")
    return TableCell(status + (", control" if attack.group.control else ", external" if attack.external else ""))


def _of_attack(attack: AttackResult, score: Summary | None, doubt: str = "") -> TableCell:
    return figure_cell({**score, "records": attack.records} if score else None, doubt=doubt)


def _after(name: str) -> AttackColumn:
    return AttackColumn(
        name, f"{label(name)} after attack", lambda attack: _of_attack(attack, attack.distances.get(name)), "figure",
        before=lambda row: figure_cell(row.scores.get(name)), brief=label(name) if SCORES.get(name) else "",
    )  # fmt: skip


def _gain(name: str, over: Literal["release", "smoothing"]) -> AttackColumn:
    """How much closer the attack comes; † where Holm's correction takes the significance away."""

    def cell(attack: AttackResult) -> TableCell:
        more = (attack.gain_over_release if over == "release" else attack.gain_over_smoothing).get(name)
        doubtful = more and not significant(more) and (more["low"] or -1) * (more["high"] or 0) > 0
        return _of_attack(attack, more, " †" if doubtful else "")

    brief = "gain over smooth" if over == "smoothing" and name == ranking() else ""
    return AttackColumn(f"{name}_over_{over}", f"{label(name)}: gain over {over}", cell, "figure", brief=brief)


def _attack_hit_rate(name: str) -> AttackColumn:
    before = (lambda row: figure_cell(row.scores.get(name))) if SCORES[name].of_release else (lambda row: NOTHING)
    return AttackColumn(
        name, label(name), lambda attack: _of_attack(attack, attack.hit_rates.get(name)), "figure", before=before,
        brief=label(name).partition(" (")[0],
    )  # fmt: skip
