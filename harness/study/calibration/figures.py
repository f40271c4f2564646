"""Figures 2 to 4 of what was calibrated: ROC curves, and FPR against the threshold, with the paper's points.

The paper's curves are not in numbers: of each metric its tables give two points.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.leaderboard.format import short
from harness.report.figures.draw import KINDS, save
from harness.report.figures.style import COLOURS, INK, PALE, STYLE, as_it_is, new, titled
from harness.scores import label, thresholds
from harness.study.calibration.calibrate import Against, Calibration, MetricResult
from harness.study.calibration.clustered import of_share
from harness.study.calibration.paper import rows_of
from harness.study.calibration.roc import ACC
from harness.study.calibration.tables import of_kind, title
from harness.system.names import file_name
from harness.system.text import mathtext

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEPS = 81  # thresholds along the axis of Figure 3
MARKS = "DsP^v"


def draw(calibration: Calibration, folder: Path) -> list[Path]:
    """roc_KIND and fpr_KIND for each kind of judges, as SVG and PNG; the files written. HarnessError."""
    import matplotlib

    written = []
    with as_it_is(), matplotlib.rc_context({**STYLE, "svg.hashsalt": "harness"}):
        for each in calibration.against:
            for name, figure in _figures(calibration, each):
                kind = file_name("people" if each.kind == "person" else each.kind)
                written += [save(figure, folder / f"{name}_{kind}{suffix}", "--out") for suffix in KINDS]
    return written


def _figures(calibration: Calibration, each: Against) -> Iterator[tuple[str, Figure]]:
    about = f"{title(calibration)}\n{of_kind(each)}"
    if each.metrics:
        yield "roc", _roc(each, about, calibration.about.simulated)
    if judged := [result for result in each.metrics if result.metric in thresholds()]:
        yield "fpr", _false_positives(each, judged, about, calibration.about.simulated)


def _headline(text: str, simulated: bool) -> str:
    return f"SIMULATED: {text}" if simulated else text


def _roc(each: Against, about: str, simulated: bool) -> Figure:
    """TPR against FPR of every metric; a mark at t_acc, hollow ones where the paper's tables have it."""
    figure = new(5.6, 5.6)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=PALE, linewidth=0.8, linestyle=(0, (5, 2)), zorder=1)
    for at, result in enumerate(each.metrics):
        colour = COLOURS[at % len(COLOURS)]
        ends = "" if result.low is None else f" [{short(result.low)}, {short(result.high)}]"
        name = mathtext(f"{label(result.metric)}: AUC {short(result.auc)}{ends}")
        axes.plot(result.curve.fpr, result.curve.tpr, color=colour, linewidth=1.5, label=name, zorder=3)
        axes.plot([result.chosen[ACC].fpr], [result.chosen[ACC].tpr], "o", color=colour, markersize=6, zorder=4)
        for mark, paper in zip(MARKS, rows_of(each.kind, result.metric), strict=False):
            point = paper.points[ACC]
            axes.plot([point.fpr], [point.tpr], mark, color=colour, markerfacecolor="none", markersize=6, zorder=2)
    _paper_keys(axes, each)
    axes.set_xlabel("FPR: recognised, and at or above the threshold")
    axes.set_ylabel("TPR: not recognised, and at or above the threshold")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    titled(figure, _headline("ROC curves of distances", simulated), about)
    return figure


def _paper_keys(axes: Axes, each: Against) -> None:
    """The paper's tables in the legend, once each."""
    tables = dict.fromkeys(paper.where for result in each.metrics for paper in rows_of(each.kind, result.metric))
    for mark, where in zip(MARKS, tables, strict=False):
        axes.plot([], [], mark, color=INK, markerfacecolor="none", markersize=6, label=f"paper, {where}: t_acc")


def _false_positives(each: Against, judged: list[MetricResult], about: str, simulated: bool) -> Figure:
    """FPR against the threshold of each judged distance, with its 95 % interval and the paper's points."""
    figure = new(3.6 * len(judged) + 0.4, 4.2)
    panels = figure.subplots(1, len(judged), squeeze=False)[0]
    for panel, result in zip(panels, judged, strict=True):
        grid = np.linspace(0, max(1.0, float(np.quantile(result.distances, 0.99))), STEPS)
        rates, _ = result.curve.rates_at(grid)
        recognised = ~result.hidden
        ends = [
            of_share(rate, recognised * ((result.distances >= at) - rate) / recognised.sum(), result.clusters)
            for at, rate in zip(grid, rates, strict=True)
        ]
        low, high = (
            [rate if end[side] is None else end[side] for rate, end in zip(rates, ends, strict=True)] for side in (0, 1)
        )
        panel.fill_between(grid, low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
        panel.plot(grid, rates, color=COLOURS[0], linewidth=1.5, label="here, 95 % interval")
        for mark, colour, paper in zip(MARKS, COLOURS[1:], rows_of(each.kind, result.metric), strict=False):
            points = list(paper.points.values())
            at = [point.threshold for point in points], [point.fpr for point in points]
            panel.plot(*at, mark, color=colour, markerfacecolor="none", label=f"paper, {paper.where}")
        panel.set_xlabel(f"{label(result.metric)} threshold")
        panel.set_ylabel("FPR")
        panel.set_ylim(-0.02, 1.02)
        panel.legend(loc="upper right", frameon=False, fontsize=7)
    titled(figure, _headline("False positives against the threshold", simulated), about)
    return figure
