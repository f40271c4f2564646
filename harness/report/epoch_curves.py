"""Privacy is spent by every epoch: what an attack leaves after T releases, beside what they are worth to the client.

T releases go to the attack and one training epoch is run on each of the same T.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from harness.leaderboard.attack_results import AttackResult
from harness.leaderboard.board import Board, boards
from harness.leaderboard.format import settings, stacked
from harness.leaderboard.row import Row

if TYPE_CHECKING:
    from harness.registry import Entry
    from harness.run.cross import Cell, Cross


@dataclass(frozen=True)
class Point:
    """One T.

    seen        what the attack got, and whether it worked at all
    undefended  utility of the undefended model after as many epochs
    """

    epochs: int
    row: Row
    seen: AttackResult
    undefended: Mapping[str, Any] | None


@dataclass(frozen=True)
class EpochCurve:
    """One attack on one defense, by T."""

    defense: str
    settings: str
    attack: str
    data: str
    points: Sequence[Point]

    @property
    def title(self) -> str:
        chosen = f" ({self.settings})" if self.settings else ""
        return f"{self.attack} on {self.defense}{chosen}"

    @property
    def basis(self) -> str:
        """What the figures are of."""
        row = self.points[-1].row
        seeds = f"{row.seeds} seed{'' if row.seeds == 1 else 's'}"
        return f"{self.data}; n = {row.worst['dssim']['n']} originals, {seeds}"


def curves(cross: Cross) -> list[tuple[Entry, Entry]]:
    """The defenses and attacks of a cross whose privacy left depends on T: reconstructions from every release."""
    several = [
        attack
        for attack in cross.attacks
        if attack.kind == "reconstruction" and "epochs" in cross.bench.attack_spec(cross.defenses[0], attack, 0).inputs
    ]
    return [(defense, attack) for defense in cross.defenses for attack in several]


def epoch_curves(cells: Sequence[Cell], pairs: Sequence[tuple[Entry, Entry]]) -> list[EpochCurve]:
    """The curve of every pair that has a point at two T or more."""
    if not pairs:
        return []
    at = {epochs: [cell for cell in cells if cell.epochs == epochs] for epochs in sorted({c.epochs for c in cells})}
    found = {epochs: boards(_records(some)) for epochs, some in at.items()}
    made = []
    for defense, attack in pairs:
        points = []
        for epochs, some in at.items():
            cell = next((cell for cell in some if cell.defense == defense and cell.attack == attack), None)
            point = _point(epochs, cell, found[epochs]) if cell else None
            points += [point] if point else []
        if len(points) > 1:
            chosen = settings(points[0].row.settings)
            data = found[points[0].epochs][0].dataset
            about = f"{data['name']}, {data['height']}x{data['width']}"
            made.append(EpochCurve(defense.name, chosen, attack.name, about, points))
    return made


def _records(cells: Sequence[Cell]) -> list[Any]:
    return list({part.spec.key: part for cell in cells for part in (*cell.parts, *cell.beside)}.values())


def _point(epochs: int, cell: Cell, found: Sequence[Board]) -> Point | None:
    """None where the release itself could not be made."""
    for board in found:
        for row in board.rows:
            if cell.release.spec.key in row.records and cell.attacked.spec.key in row.records:
                seen = next(a for a in row.attacks if (a.name, a.params) == (cell.attack.name, cell.attack.params))
                reference = next((part for part in cell.beside if part.spec.kind == "utility"), None)
                key = reference.spec.key if reference else None
                beside = next((other.utility for other in board.rows if key in other.records), None)
                return Point(epochs, row, seen, beside)
    return None


def table(spending: EpochCurve) -> Table:
    """T, privacy left, re-identification, utility and what it lost: within 80 columns."""
    title = f"privacy spent: {spending.title}\n{spending.basis}"
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
    for head in ("epochs", "dSSIM left", "dHaar left", "re-identified", "utility", "lost"):
        made.add_column(head, justify="right", no_wrap=head != "epochs")
    for point in spending.points:
        seen, left = point.seen, point.seen.distances
        mark = "\n(= look)" if seen.is_look else ""
        made.add_row(
            f"{point.epochs}{mark}" if left else f"{point.epochs}\n{seen.status}",
            stacked(left.get("dssim")),
            stacked(left.get("dhaar")),
            stacked(seen.hit_rates.get("reid_rank1")),
            stacked(point.row.utility),
            stacked(point.row.gap),
            end_section=True,
        )
    return made
