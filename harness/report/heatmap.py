"""Defenses by attacks: a score of every attack on every row, and the reason where a cell holds none.

A cell that failed, was skipped or does not apply says nothing about a defense: it has a reason and never a shade.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.leaderboard.attack_results import AttackResult
from harness.leaderboard.board import Board
from harness.leaderboard.format import LOOK, attack_name, figure, settings, short, t_and_r
from harness.leaderboard.limits import Limits, paper_limits
from harness.leaderboard.row import Row
from harness.leaderboard.verdict import AS_IS
from harness.scores import SCORES, label, on_boards

WORST, STRONGEST = "worst case", "strongest"


@dataclass(frozen=True)
class Measure:
    """What a grid shows: a distance after attack, or a hit rate, which is compared with its chance.

    kinds      the kinds of attack that have this figure
    distance   whether a larger value means that less is seen
    threshold  of a distance; None where there is none
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    distance: bool
    threshold: float | None


def measures(limits: Limits | None = None) -> list[Measure]:
    """One for each distance that attacks are judged by and each hit rate on boards."""
    found, limits = [], limits or paper_limits()
    for name in on_boards("distance", "hit_rate"):
        score = SCORES[name]
        if score.judged or not score.farther:
            title = f"{label(name)} after attack" if score.farther else label(name)
            found.append(Measure(name, title, score.attack_kinds, score.farther, limits.of(name)))
    return found


@dataclass(frozen=True)
class Mark:
    """One cell.

    state  ok, partial (some seeds), failed, skipped, inapplicable, absent (not run)
    title  the whole cell in words
    shade  -1 (the original itself) to 1 (far beyond the threshold); None where there is no figure
    note   number of the reason under the grid; None where there is nothing to explain
    score  the statistics behind it
    """

    state: str
    text: str
    title: str
    shade: float | None = None
    note: int | None = None
    score: Mapping[str, Any] | None = None

    @property
    def interval(self) -> str:
        if self.score is None or self.score["low"] is None:
            return ""
        return f"{short(self.score['low'])} {short(self.score['high'])}"


@dataclass(frozen=True)
class HeatmapColumn:
    """An attack with its settings, which are named where one attack was run with several."""

    name: str
    settings: str
    control: bool
    key: tuple[str, str]


@dataclass(frozen=True)
class Grid:
    """Lines are rows of the board; marks are the release as is, one for each column, and the worst case."""

    measure: Measure
    columns: Sequence[HeatmapColumn]
    lines: Sequence[tuple[Row, Sequence[Mark]]]
    reasons: Sequence[str]

    @property
    def has_release(self) -> bool:
        """Whether the release itself has a figure here."""
        return any(marks[0].score is not None for _, marks in self.lines)


def grids(board: Board) -> list[Grid]:
    """One for each measure that any attack on the board has a figure or a reason for."""
    found = [_grid(board.rows, measure) for measure in measures(board.limits)]
    return [grid for grid in found if grid.columns]


def row_label(row: Row) -> str:
    """noise_mix sigma=20 weights=0.75,0.25, T = 10, R = 1"""
    name = " ".join(filter(None, (row.defense, settings(row.settings))))
    return ", ".join(filter(None, (name, t_and_r(row.epochs, row.releases))))


def score_of(attack: AttackResult, measure: str) -> Mapping[str, Any] | None:
    score: Mapping[str, Any] | None = attack.distances.get(measure) or attack.hit_rates.get(measure)
    return score


def _grid(rows: Sequence[Row], measure: Measure) -> Grid:
    columns = _columns(rows, measure)
    reasons: dict[str, int] = {}
    lines = []
    for row in rows:
        by_key = {_key(attack): attack for attack in row.attacks}
        marks = [_release(row, measure)]
        marks += [_mark(row, by_key.get(column.key), column, measure, reasons) for column in columns]
        lines.append((row, [*marks, _worst(row, measure)]))
    return Grid(measure, columns, lines, list(reasons))


def _key(attack: AttackResult) -> tuple[str, str]:
    return attack.name, settings(attack.params)


def _columns(rows: Sequence[Row], measure: Measure) -> list[HeatmapColumn]:
    """Those that reveal most first, then those without a figure, then the controls."""
    scored: dict[tuple[str, str], list[float]] = defaultdict(list)
    control: dict[tuple[str, str], bool] = {}
    for row in rows:
        for attack in row.attacks:
            score = score_of(attack, measure.name)
            if attack.name == LOOK:  # the release as is, which has a column of its own
                continue
            if score or attack.group.entry.get("kind") in measure.kinds:
                control[_key(attack)] = attack.group.control
                scored[_key(attack)] += [score["mean"]] if score else []
    sign = 1 if measure.distance else -1
    names = [name for name, _ in scored]

    def order(key: tuple[str, str]) -> tuple[bool, float, tuple[str, str]]:
        means = scored[key]
        return control[key], sign * sum(means) / len(means) if means else math.inf, key

    return [
        HeatmapColumn(key[0], key[1] if names.count(key[0]) > 1 else "", control[key], key)
        for key in sorted(scored, key=order)
    ]


def _mark(
    row: Row, attack: AttackResult | None, column: HeatmapColumn, measure: Measure, reasons: dict[str, int]
) -> Mark:
    where = f"{row_label(row)}, {column.name}"
    if attack is None:
        return Mark("absent", "not run", f"{where}: not run")
    score = score_of(attack, measure.name)
    note = None
    if attack.status != "ok":
        reason = f"{attack.status}: {attack.reason or 'no reason was recorded'}"
        note = reasons.setdefault(reason, len(reasons) + 1)
        if score is None:
            short_name = "does not apply" if attack.status == "inapplicable" else attack.status
            return Mark(attack.status, short_name, f"{where}: {reason}", note=note)
        where += f" (on {len(attack.group.ok_runs)} of {len(attack.group.records)} seeds, {reason})"
    if score is None:
        return Mark("absent", "not measured", f"{where}: {measure.title} was not measured")
    words = f"{where}: {_words(score, measure)}" + (
        ", the release as is after one epoch" if attack.equals_release else ""
    )
    state = "ok" if note is None else "partial"
    return Mark(state, short(score["mean"]), words, _shade(score, measure), note, score)


def _release(row: Row, measure: Measure) -> Mark:
    score = row.scores.get(measure.name)
    if not score or score["mean"] is None:
        return Mark("absent", "–", f"{row_label(row)}: the release as is has no figure here")
    return _measured(f"{row_label(row)}, {AS_IS}", score, measure)


def _worst(row: Row, measure: Measure) -> Mark:
    """What the row is judged by: the worst case of a distance, the strongest attack of a hit rate."""
    if measure.distance:
        score, by = row.worst.get(measure.name), "per original the minimum over the release and every attack"
    else:
        score = row.strongest.get(measure.name)
        by = f"by {attack_name(score['attack'])}" if score else ""
    if not score:
        return Mark("absent", "–", f"{row_label(row)}: no figure")
    return _measured(f"{row_label(row)}, worst case ({by})", score, measure)


def _measured(where: str, score: Mapping[str, Any], measure: Measure) -> Mark:
    return Mark("ok", short(score["mean"]), f"{where}: {_words(score, measure)}", _shade(score, measure), None, score)


def _words(score: Mapping[str, Any], measure: Measure) -> str:
    chance = f", chance {short(score['chance'])}" if score.get("chance") is not None else ""
    return f"{measure.title} {figure(score)}, n = {score['n']}{chance}"


def _shade(score: Mapping[str, Any], measure: Measure) -> float:
    """Of a distance, on which side of the threshold and how far; of a hit rate, how far beyond chance."""
    mean = float(score["mean"])
    if not measure.distance:
        chance = score.get("chance") or 0.0
        return -max(0.0, (mean - chance) / (1 - chance)) if chance < 1 else 0.0
    if measure.threshold is None:
        return 0.0
    if mean >= measure.threshold:
        return min(1.0, (mean - measure.threshold) / (1 - measure.threshold))
    return max(-1.0, (mean - measure.threshold) / measure.threshold)
