"""Privacy left against epochs, from a board: a curve for every defense and attack that has two points."""

from __future__ import annotations

from collections import defaultdict

from harness.leaderboard.attack_results import RELEASES
from harness.leaderboard.board import UNDEFENDED, Board
from harness.leaderboard.format import settings
from harness.leaderboard.row import Row
from harness.report.epoch_curves import EpochCurve, Point


def curves(board: Board) -> list[EpochCurve]:
    """In the order of the board's rows; the points of a curve by T."""
    data = f"{board.dataset['name']}, {board.dataset['height']}x{board.dataset['width']}"
    found: dict[tuple[str, str, str, str], dict[int, Point]] = defaultdict(dict)
    for row in board.rows:
        if row.epochs is None:
            continue
        for attack in row.attacks:
            if RELEASES in attack.group.granted and attack.distances:
                name = (row.defense, settings(row.settings), attack.name, settings(attack.params))
                if row.epochs not in found[name] or row.utility:  # one that was trained says more
                    found[name][row.epochs] = Point(row.epochs, row, attack, _undefended(board, row))
    several: dict[tuple[str, str, str], int] = defaultdict(int)
    for name in found:
        several[name[:3]] += 1
    made = []
    for (defense, chosen, attacker, knobs), points in found.items():
        if len(points) > 1:
            told = f"{attacker} {knobs}" if several[defense, chosen, attacker] > 1 and knobs else attacker
            made.append(EpochCurve(defense, chosen, told, data, [points[epochs] for epochs in sorted(points)]))
    return made


def _undefended(board: Board, row: Row) -> dict[str, object] | None:
    """Utility of the undefended model after as many epochs of the same training."""
    for other in board.rows:
        plain = other.defense == UNDEFENDED and other.settings.get("weights") == [1.0]
        if plain and (other.epochs, other.training) == (row.epochs, row.training):
            return other.utility
    return None
