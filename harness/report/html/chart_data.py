"""What the charts of the report draw, JSON-able: points, curves, thresholds and the paper's points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.leaderboard.format import attack_name, settings
from harness.leaderboard.reported import PublishedRow, table_7
from harness.leaderboard.row import Row
from harness.leaderboard.summary import short_label
from harness.report.collect import Report, Section
from harness.report.epoch_curves import EpochCurve, scores_by_epoch
from harness.scores import judged, label, ranking, thresholds

PARTS = ("mean", "low", "high", "n")


def document(report: Report) -> dict[str, Any]:
    """All boards of a report."""
    return {
        "thresholds": thresholds(),
        "labels": {name: label(name) for name in judged()},
        "ranking": ranking(),
        "curve_titles": dict(scores_by_epoch()),
        "paper": [_published(row) for row in table_7()],
        "paper_about": f"{table_7()[0].dataset}, {table_7()[0].about}",
        "boards": [_board(section) for section in report.sections],
    }


def _board(section: Section) -> dict[str, Any]:
    return {
        "anchor": section.anchor,
        "title": section.board.title,
        "thresholds": dict(section.board.limits.values),
        "points": [{**_point(row), "label": short_label(row, section.board.rows)} for row in section.board.rows],
        "blank": _blank(section.board.rows),
        "curves": [_curve(curve) for curve in section.curves],
    }


def _published(row: PublishedRow) -> dict[str, Any]:
    about = {"defense": row.defense, "settings": settings(row.knobs), "intra_class": row.intra_class}
    return {**about, "distances": {name: row.figures.get(name) for name in judged()}, "utility": row.figures["utility"]}


def _point(row: Row) -> dict[str, Any]:
    return {
        "defense": row.defense,
        "settings": settings(row.settings),
        "epochs": row.epochs,
        "releases": row.releases,
        "training": row.training,
        "seeds": row.seeds,
        "judged": row.passing is not None,
        "passes": {} if row.passing is None else dict.fromkeys(thresholds(), row.passing),
        "rank": row.place if row.rank else "",
        "pareto": row.pareto,
        "missing": "; ".join(row.missing),
        "release": {name: _statistics(row.scores.get(name)) for name in judged()},
        "worst": {name: _statistics(row.worst.get(name)) for name in judged()},
        "null": {name: _statistics(row.worst[name]["null"]) for name in judged() if name in row.worst},
        "by": {name: attack_name(row.worst[name]["attack"]) for name in judged() if name in row.worst},
        "utility": _statistics(row.utility),
        "drop": _statistics(row.accuracy_drop),
    }


def _blank(rows: Sequence[Row]) -> dict[str, float]:
    """How far one mean image is from these originals, where that control was run."""
    for row in rows:
        for attack in row.attacks:
            if attack.name == "mean_image" and attack.distances:
                distances = attack.distances
                return {name: round(distances[name]["mean"], 6) for name in judged() if name in distances}
    return {}


def _curve(curve: EpochCurve) -> dict[str, Any]:
    return {
        "defense": curve.defense,
        "settings": curve.chosen,
        "attack": curve.attack,
        "control": curve.control,
        "basis": curve.basis,
        "points": [
            {
                "epochs": point.row.epochs,
                "releases": point.releases,
                **{name: _statistics(point.score(name)) for name, _ in scores_by_epoch()},
                "equals_release": point.attack.equals_release,
                "status": point.attack.status,
            }
            for point in curve.points
        ],
    }


def _statistics(score: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Mean, interval and n, to six digits, to keep the page small."""
    if not score or score.get("mean") is None:
        return None
    statistics = {part: score.get(part) for part in PARTS}
    return {part: round(value, 6) if isinstance(value, float) else value for part, value in statistics.items()}
