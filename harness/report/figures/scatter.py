"""Privacy against utility, with the Pareto front and the paper's points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.leaderboard import paper
from harness.leaderboard.format import short
from harness.leaderboard.row import Row
from harness.report.collect import Section, standing
from harness.report.figures.epoch_curves import INK, PALE
from harness.report.figures.style import basis, new, reach, titled, write_names
from harness.scores import thresholds

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
    _threshold(axes)
    reported = _paper(axes)
    told: set[str] = set()
    for row in rows:
        _row(axes, row, told)
    _fronts(axes, rows)
    axes.set_xlim(-0.03, max(1.03, *(row.worst["dssim"]["high"] or 0.0 for row in rows)))
    axes.set_ylim(min(0.5, *(_place(row)[1] - 0.05 for row in rows)), 1.02)
    axes.set_xlabel("worst-case dSSIM left (0: seen as it was)")
    axes.set_ylabel("utility (accuracy on clean test images)")
    axes.grid(color="#ececec", linewidth=0.7)
    axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False, fontsize=8)
    about = f"{basis(rows)}; bars: 95 % intervals; |: the release before any attack"
    titled(figure, section, "Privacy against utility", about)
    write_names(axes, [(row.defense, _place(row)) for row in rows], reported)
    return figure


def _place(row: Row) -> tuple[float, float]:
    return row.worst["dssim"]["mean"], (row.utility or {})["mean"]


def _threshold(axes: Axes) -> None:
    limit = thresholds()["dssim"]
    axes.axvline(limit, color=PALE, linewidth=0.9, linestyle=(0, (5, 2)), zorder=1)
    axes.annotate(
        f"threshold {short(limit).rstrip('0')}", (limit, 0.01), (4, 0), color=PALE, fontsize=8,
        xycoords=("data", "axes fraction"), textcoords="offset points",
    )  # fmt: skip


def _paper(axes: Axes) -> list[tuple[float, float]]:
    """The paper's points, drawn; where they are."""
    points = [(point.dssim, point.accuracy) for point in paper.TABLE_7 if not point.intra_class]
    axes.plot(
        *zip(*points, strict=True), "D", color="#9A6700", markerfacecolor="none", markersize=4.5, markeredgewidth=0.9,
        alpha=0.8, zorder=2, label="the paper's Table 7 (cats and dogs), not attacked",
    )  # fmt: skip
    return points


def _row(axes: Axes, row: Row, told: set[str]) -> None:
    """A mark with its intervals, told in the legend once for each standing."""
    (x, y), before = _place(row), row.scores["dssim"]["mean"]
    look = LOOKS[standing(row)]
    axes.plot([before, x], [y, y], color=PALE, linewidth=0.7, alpha=0.6, zorder=2)
    axes.plot([before], [y], "|", color=PALE, markersize=7, zorder=2)
    axes.errorbar(
        x, y, xerr=reach(row.worst["dssim"]), yerr=reach(row.utility or {}), linestyle="none", markersize=6,
        elinewidth=0.9, zorder=4, **{**look, "label": None if look["label"] in told else look["label"]},
    )  # fmt: skip
    told.add(look["label"])


def _fronts(axes: Axes, rows: Sequence[Row]) -> None:
    """The Pareto front of each training: stairs through the judged rows that no other beats in both."""
    named = "Pareto front"
    for training in dict.fromkeys((row.epochs, row.training) for row in rows if row.pareto):
        front = [row for row in rows if row.pareto and (row.epochs, row.training) == training]
        x, y = zip(*sorted(map(_place, front)), strict=True)
        axes.step(x, y, where="pre", color=INK, linewidth=1.2, zorder=3, label=named)
        named = "_"
