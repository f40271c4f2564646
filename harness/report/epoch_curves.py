"""Scores after an attack on R releases, against R: every release reveals more.

Utility is shown beside privacy. A model is trained for T = R epochs, so that accuracy grows with T; or, of equal
training, for the same T on each R. These are two curves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from harness.leaderboard.attack_results import RELEASES, AttackResult
from harness.leaderboard.board import UNDEFENDED, Board, boards
from harness.leaderboard.format import settings, stacked
from harness.leaderboard.limits import LimitsOf
from harness.leaderboard.row import Row
from harness.scores import SCORES, hit_rates, judged, label
from harness.system.text import as_text

if TYPE_CHECKING:
    from harness.registry import Entry
    from harness.run.cross import Cell, Cross


@dataclass(frozen=True)
class Point:
    """One R.

    attack      its result on R releases, and whether it worked
    undefended  utility of the undefended model with the same T, R and training
    """

    releases: int
    row: Row
    attack: AttackResult
    undefended: Mapping[str, Any] | None

    def score(self, name: str) -> Mapping[str, Any] | None:
        """A distance after attack or a hit rate of the attack; or `utility`."""
        if SCORES[name].kind == "accuracy":
            return self.row.utility
        score: Mapping[str, Any] | None = self.attack.distances.get(name) or self.attack.hit_rates.get(name)
        return score


@dataclass(frozen=True)
class EpochCurve:
    """One attack on one defense, by R.

    epochs  T of every point; None: T = R, or no model was trained
    """

    defense: str
    settings: str
    attack: str
    data: str
    points: Sequence[Point]
    epochs: int | None = None

    @property
    def chosen(self) -> str:
        """The settings, and T where it is the same for all points."""
        return " ".join(filter(None, (self.settings, f"epochs={self.epochs}" if self.epochs else "")))

    @property
    def title(self) -> str:
        chosen = f" ({self.chosen})" if self.chosen else ""
        return f"{self.attack} on {self.defense}{chosen}"

    @property
    def basis(self) -> str:
        """What the figures are of."""
        row = self.points[-1].row
        seeds = f"{row.seeds} seed{'' if row.seeds == 1 else 's'}"
        return f"{self.data}; n = {row.originals} originals, {seeds}"

    @property
    def control(self) -> bool:
        return self.points[0].attack.group.control


def scores_by_epoch() -> list[tuple[str, str]]:
    """The scores of a curve and their titles: distances after attack, hit rates of reconstructions, utility."""
    found = [(name, f"{label(name)} after attack") for name in judged()]
    found += [(name, label(name)) for name in hit_rates(leading=True) if SCORES[name].of_release]
    return [*found, *((name, score.label) for name, score in SCORES.items() if score.kind == "accuracy")]


def of_board(board: Board) -> list[EpochCurve]:
    """A curve for every defense and multi-release attack with two points, where the attack worked.

    In the order of the board's rows; the points of a curve by R.
    """
    worked = [
        replace(curve, points=[point for point in curve.points if point.attack.distances]) for curve in _every(board)
    ]
    return [curve for curve in worked if len(curve.points) > 1]


def of_run(
    cells: Sequence[Cell], pairs: Sequence[tuple[Entry, Entry]], limits: LimitsOf | None = None
) -> list[EpochCurve]:
    """The curve of every pair that has a point at two R or more; an R where the attack failed is one of them."""
    if not pairs:
        return []
    records = {part.spec.key: part for cell in cells for part in (*cell.parts, *cell.beside)}
    found_boards = boards(records.values(), limits=limits)
    every = [curve for board in found_boards for curve in _every(board) if len(curve.points) > 1]
    found = []
    for pair in pairs:
        keys = {cell.attacked.spec.key for cell in cells if (cell.defense, cell.attack) == pair}
        found += [curve for curve in every if any(_records(point) & keys for point in curve.points)]
    return found


def _records(point: Point) -> set[str]:
    return {record.spec.key for record in point.attack.group.records.values()}


def _every(board: Board) -> list[EpochCurve]:
    data = f"{board.shown}, {board.dataset['height']}x{board.dataset['width']}"
    found: dict[tuple[str, str, str, str], dict[int | None, dict[int, Point]]] = defaultdict(lambda: defaultdict(dict))
    for row in board.rows:
        if row.releases is None:
            continue
        for attack in row.attacks:
            if RELEASES in attack.group.granted:
                by_epochs = found[row.defense, settings(row.settings), attack.name, settings(attack.params)]
                for epochs in curves_with(row.epochs, row.releases):
                    if row.releases not in by_epochs[epochs] or row.utility:  # one that was trained has more scores
                        by_epochs[epochs][row.releases] = Point(row.releases, row, attack, _undefended(board, row))
    several: dict[tuple[str, str, str], int] = defaultdict(int)
    for name in found:
        several[name[:3]] += 1
    curves = []
    for (defense, chosen, attack_name, knobs), by_epochs in found.items():
        title = f"{attack_name} {knobs}" if several[defense, chosen, attack_name] > 1 and knobs else attack_name
        for epochs, points in by_epochs.items():
            in_order = [points[releases] for releases in sorted(points)]
            curves.append(EpochCurve(defense, chosen, title, data, in_order, epochs))
    return curves


def curves_with(epochs: int | None, releases: int) -> list[int | None]:
    """The curves that a row with this T and R is a point of: of its own T, and of T = R (None)."""
    return [*([None] if epochs in (None, releases) else []), *([] if epochs is None else [epochs])]


def _undefended(board: Board, row: Row) -> dict[str, Any] | None:
    for other in board.rows:
        plain = other.defense == UNDEFENDED and other.settings.get("weights") == [1.0]
        if plain and _training(other) == _training(row):
            return other.utility
    return None


def _training(row: Row) -> tuple[int | None, int | None, str | None]:
    return row.epochs, row.releases, row.training


def curves_of(crosses: Sequence[Cross]) -> list[int | None]:
    """The curves, by their T (None: T = R), that have a point at two R or more."""
    points: dict[int | None, set[int]] = defaultdict(set)
    for cross in crosses:
        epochs, releases = cross.bench.epochs if cross.utility else None, cross.bench.release_count
        for curve in curves_with(epochs, releases):
            points[curve].add(releases)
    return [curve for curve, found in points.items() if len(found) > 1]


def pairs_of(cross: Cross) -> list[tuple[Entry, Entry]]:
    """The defenses and attacks of a cross that have a curve: attacks that reconstruct from every release."""
    several = [
        attack
        for attack in cross.attacks
        if attack.kind == "reconstruction" and cross.bench.attack_spec(cross.defenses[0], attack, 0).releases
    ]
    return [(defense, attack) for defense in cross.defenses for attack in several]


def table(curve: EpochCurve) -> Table:
    """R, the scores after attack, utility and the accuracy drop: within 80 columns."""
    title = f"privacy by releases: {curve.title}\n{curve.basis}"
    result = Table(title=as_text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
    scores = scores_by_epoch()
    trained = curve.epochs is None and any(point.row.epochs for point in curve.points)
    first = "releases\n(= epochs)" if trained else "releases"
    result.add_column(first, justify="right")
    for head in (*(head for _, head in scores), "accuracy drop"):
        result.add_column("\n".join(wrap(head, 13)), justify="right", no_wrap=True)
    for point in curve.points:
        mark = "\n(= no\nattack)" if point.attack.equals_release else ""
        result.add_row(
            f"{point.releases}{mark}" if point.attack.distances else f"{point.releases}\n{point.attack.status}",
            *(stacked(point.score(name)) for name, _ in scores),
            stacked(point.row.accuracy_drop),
            end_section=True,
        )
    return result
