"""Privacy against utility, with the Pareto front and the paper's points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.leaderboard.format import trimmed
from harness.leaderboard.reported import table_7
from harness.leaderboard.row import Row
from harness.leaderboard.summary import short_label
from harness.report.collect import Section, judgement
from harness.report.figures.style import INK, PALE, basis, new, reach, titled, write_names
from harness.scores import label, ranking

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MARKS: dict[str, dict[str, Any]] = {
    "passes": {"marker": "o", "color": "#0072B2", "label": "passes"},
    "fails": {"marker": "s", "color": "#D55E00", "label": "does not pass"},
    "unjudged": {"marker": "o", "color": PALE, "markerfacecolor": "white", "label": "not judged"},
}


def privacy_utility(section: Section, rows: Sequence[Row]) -> Figure:
    """The worst case against accuracy, with intervals; a thin line leads from the release before any attack."""
    figure = new(7.2, 5)
    axes = figure.subplots()
    _threshold(axes, section.board.limits.of(ranking()))
    reported = _paper(axes, section.board.dataset["name"])
    named: set[str] = set()
    for row in rows:
        _row(axes, row, named)
    _fronts(axes, rows)
    axes.set_xlim(-0.03, max(1.03, *(row.worst[ranking()]["high"] or 0.0 for row in rows)))
    highest = max(*((row.utility or {})["high"] or _place(row)[1] for row in rows), *(y for _, y in reported), 0.0)
    axes.set_ylim(min(0.5, *(_place(row)[1] - 0.05 for row in rows)), min(1.02, highest + 0.08))
    axes.set_xlabel(f"worst-case {label(ranking())} (0: the original itself)")
    axes.set_ylabel("utility (accuracy on clean test images)")
    axes.grid(color="#ececec", linewidth=0.7)
    axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False, fontsize=8)
    about = f"{section.board.title}\n{basis(rows)}; bars: 95 % intervals; |: the release before any attack"
    titled(figure, "Privacy against utility", about)
    write_names(axes, [(short_label(row, rows), _place(row)) for row in rows], reported)
    return figure


def _place(row: Row) -> tuple[float, float]:
    return row.worst[ranking()]["mean"], (row.utility or {})["mean"]


def _threshold(axes: Axes, limit: float | None) -> None:
    if limit is None:
        return
    axes.axvline(limit, color=PALE, linewidth=0.9, linestyle=(0, (5, 2)), zorder=1)
    axes.annotate(
        f"threshold {trimmed(limit)}", (limit, 0.01), (4, 0), color=PALE, fontsize=8,
        xycoords=("data", "axes fraction"), textcoords="offset points",
    )  # fmt: skip


def _paper(axes: Axes, dataset: str) -> list[tuple[float, float]]:
    """The paper's points, drawn on the board of its own data set alone: the accuracy of others is another task's."""
    paper = [row for row in table_7() if not row.intra_class and row.dataset == dataset]
    rows = [row.figures for row in paper]
    points = [(row[ranking()], row["utility"]) for row in rows if ranking() in row and "utility" in row]
    if not points:
        return []
    axes.plot(
        *zip(*points, strict=True), "D", color="#9A6700", markerfacecolor="none", markersize=4.5, markeredgewidth=0.9,
        alpha=0.8, zorder=2, label=f"{paper[0].cite}, not attacked",
    )  # fmt: skip
    return points


def _row(axes: Axes, row: Row, named: set[str]) -> None:
    """A mark with its intervals, in the legend once for each judgement."""
    (x, y), before = _place(row), row.scores[ranking()]["mean"]
    style = MARKS[judgement(row)]
    axes.plot([before, x], [y, y], color=PALE, linewidth=0.7, alpha=0.6, zorder=2)
    axes.plot([before], [y], "|", color=PALE, markersize=7, zorder=2)
    axes.errorbar(
        x, y, xerr=reach(row.worst[ranking()]), yerr=reach(row.utility or {}), linestyle="none", markersize=6,
        elinewidth=0.9, zorder=4, **{**style, "label": None if style["label"] in named else style["label"]},
    )  # fmt: skip
    named.add(style["label"])


def _fronts(axes: Axes, rows: Sequence[Row]) -> None:
    """The Pareto front of each training: stairs through the judged rows that no other beats in both."""
    named = "Pareto front"
    fronts: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.pareto:
            fronts.setdefault((row.epochs, row.releases, row.training), []).append(row)
    for front in fronts.values():
        x, y = zip(*sorted(map(_place, front)), strict=True)
        axes.step(x, y, where="pre", color=INK, linewidth=1.2, zorder=3, label=named)
        named = "_"
