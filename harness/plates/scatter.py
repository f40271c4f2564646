"""Privacy against utility, with the Pareto front and the paper's points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness import paper
from harness.figures import INK, PALE
from harness.plates.style import UNDER, basis, new, plain, reach, titled
from harness.report import Section, standing
from harness.rows import THRESHOLDS, Row
from harness.wording import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


LOOKS: dict[str, dict[str, Any]] = {
    "passes": {"marker": "o", "color": "#0072B2", "label": "passes by dSSIM"},
    "fails": {"marker": "s", "color": "#D55E00", "label": "does not pass"},
    "unjudged": {"marker": "o", "color": PALE, "markerfacecolor": "white", "label": "not judged"},
}


def privacy_utility(section: Section, rows: Sequence[Row]) -> Figure:
    """Worst-case dSSIM against accuracy, with intervals; a thin line leads from the release that nobody attacked."""
    figure = new(7.2, 5)
    axes = figure.subplots()
    worst = [row.worst["dssim"] for row in rows]
    axes.axvline(THRESHOLDS["dssim"], color=PALE, linewidth=0.9, linestyle=(0, (5, 2)), zorder=1)
    axes.annotate(
        f"threshold {short(THRESHOLDS['dssim']).rstrip('0')}", (THRESHOLDS["dssim"], 0.01), (4, 0), color=PALE,
        xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8,
    )  # fmt: skip
    points = [point for point in paper.TABLE_7 if not point.intra_class]
    axes.plot(
        [point.dssim for point in points], [point.accuracy for point in points], "D", color="#9A6700",
        markerfacecolor="none", markersize=4.5, markeredgewidth=0.9, alpha=0.8, zorder=2,
        label="the paper's Table 7, not attacked",
    )  # fmt: skip
    told: set[str] = set()
    for row, score in zip(rows, worst, strict=True):
        x, y = score["mean"], (row.utility or {})["mean"]
        look = LOOKS[standing(row)]
        axes.plot([row.scores["dssim"]["mean"], x], [y, y], color=PALE, linewidth=0.7, alpha=0.6, zorder=2)
        axes.plot([row.scores["dssim"]["mean"]], [y], "|", color=PALE, markersize=7, zorder=2)
        axes.errorbar(
            x, y, xerr=reach(score), yerr=reach(row.utility or {}), linestyle="none", markersize=6, elinewidth=0.9,
            zorder=4, **{**look, "label": look["label"] if look["label"] not in told else None},
        )  # fmt: skip
        told.add(look["label"])
        axes.annotate(
            plain(row.defense), (x, y), (6, 6), textcoords="offset points", fontsize=8, color=INK, zorder=5, bbox=UNDER
        )
    _fronts(axes, rows)
    axes.set_xlim(-0.03, max(1.03, *(score["high"] or score["mean"] for score in worst)))
    axes.set_ylim(min(0.5, *((row.utility or {})["mean"] - 0.05 for row in rows)), 1.02)
    axes.set_xlabel("worst-case dSSIM left (0: seen as it was)")
    axes.set_ylabel("utility (accuracy on clean test images)")
    axes.grid(color="#ececec", linewidth=0.7)
    axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False, fontsize=8)
    titled(
        figure,
        section,
        "Privacy against utility",
        f"{basis(rows)}; bars: 95 % intervals; |: the release before any attack",
    )
    return figure


def _fronts(axes: Axes, rows: Sequence[Row]) -> None:
    """The Pareto front of each training: stairs through the judged rows that no other beats in both."""
    named = "Pareto front"
    for training in dict.fromkeys((row.epochs, row.training) for row in rows if row.pareto):
        front = [row for row in rows if row.pareto and (row.epochs, row.training) == training]
        points = sorted((row.worst["dssim"]["mean"], (row.utility or {})["mean"]) for row in front)
        x, y = zip(*points, strict=True)
        axes.step(x, y, where="pre", color=INK, linewidth=1.2, zorder=3, label=named)
        named = "_"
