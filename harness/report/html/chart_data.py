"""What the charts of the report draw, JSON-able: points, curves, thresholds and the paper's points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.leaderboard import paper
from harness.leaderboard.format import settings
from harness.leaderboard.row import Row
from harness.report.collect import Report, Section
from harness.report.epoch_curves import EpochCurve
from harness.scores import thresholds

PARTS = ("mean", "low", "high", "n")


def document(report: Report) -> dict[str, Any]:
    """All boards of a report."""
    return {
        "thresholds": thresholds(),
        "paper": {
            "citation": paper.CITATION,
            "protocol": paper.PROTOCOL,
            "points": [asdict(point) for point in paper.TABLE_7],
        },
        "boards": [_board(section) for section in report.sections],
    }


def _board(section: Section) -> dict[str, Any]:
    return {
        "anchor": section.anchor,
        "title": section.board.title,
        "points": [_point(row) for row in section.board.rows],
        "blank": _blank(section.board.rows),
        "curves": [_curve(curve) for curve in section.curves],
    }


def _point(row: Row) -> dict[str, Any]:
    return {
        "defense": row.defense,
        "settings": settings(row.settings),
        "epochs": row.epochs,
        "training": row.training,
        "seeds": row.seeds,
        "judged": not row.missing,
        "passes": row.passes,
        "rank": row.place if row.rank else "",
        "pareto": row.pareto,
        "lacks": "; ".join(row.missing),
        "release": {name: _statistics(row.scores.get(name)) for name in thresholds()},
        "worst": {name: _statistics(row.worst.get(name)) for name in thresholds()},
        "by": {name: row.worst[name]["attack"] for name in thresholds() if name in row.worst},
        "utility": _statistics(row.utility),
        "lost": _statistics(row.gap),
    }


def _blank(rows: Sequence[Row]) -> dict[str, float]:
    """How far one mean image is from these originals, where that control was run: a blank guess is far from all."""
    for row in rows:
        for attack in row.attacks:
            if attack.name == "mean_image" and attack.distances:
                return {
                    name: round(attack.distances[name]["mean"], 6) for name in thresholds() if name in attack.distances
                }
    return {}


def _curve(curve: EpochCurve) -> dict[str, Any]:
    return {
        "defense": curve.defense,
        "settings": curve.settings,
        "attack": curve.attack,
        "control": curve.points[0].seen.group.control,
        "basis": curve.basis,
        "points": [
            {
                "epochs": point.epochs,
                "dssim": _statistics(point.seen.distances.get("dssim")),
                "dhaar": _statistics(point.seen.distances.get("dhaar")),
                "reid_rank1": _statistics(point.seen.hit_rates.get("reid_rank1")),
                "utility": _statistics(point.row.utility),
                "is_look": point.seen.is_look,
                "status": point.seen.status,
            }
            for point in curve.points
        ],
    }


def _statistics(score: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Mean, interval and n, to six digits: a page is read, not computed with."""
    if not score or score.get("mean") is None:
        return None
    kept = {part: score.get(part) for part in PARTS}
    return {part: round(value, 6) if isinstance(value, float) else value for part, value in kept.items()}
