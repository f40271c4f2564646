"""The figure of defenses by attacks: each score on its shade; a cell without a score is hatched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.leaderboard.format import settings, t_and_r
from harness.leaderboard.row import Row
from harness.report.collect import Section
from harness.report.figures.style import INK, PALE, basis, new, titled
from harness.report.heatmap import STRONGEST, WORST, Grid, Mark
from harness.system.text import mathtext

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


RECOGNISABLE, HIDDEN = (0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)


def attacks_grid(section: Section, grid: Grid, rows: Sequence[Row]) -> Figure:
    """Scores on their shade; a cell without a score is hatched and names the reason."""
    lines = [(row, marks) for row, marks in grid.lines if any(row is each for each in rows)]
    counted = sum(not column.control for column in grid.columns)
    heads = [WORST if grid.measure.distance else STRONGEST, *(["no attack"] if grid.has_release else [])]
    attacked = len(heads)
    heads += [f"{column.name} (control)" if column.control else column.name for column in grid.columns]
    named = max(len(part) for row, _ in lines for part in _line(row).split("\n"))
    figure = new(max(6.2, 0.9 + 0.06 * min(named, 100) + 0.62 * len(heads)), 2.1 + 0.42 * len(lines))
    axes = figure.subplots()
    for down, (row, marks) in enumerate(lines):
        for across, mark in enumerate([marks[-1], *marks[1 if attacked == 1 else 0 : -1]]):
            control = across >= attacked + counted
            unsure = across == 0 and bool(row.missing) and (mark.shade or 0) >= 0
            _cell(axes, across, down, mark, control or unsure)
    axes.set_xlim(-0.5, len(heads) - 0.5)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xticks(range(len(heads)), list(map(mathtext, heads)), rotation=45, ha="left", fontsize=8)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(lines)), [mathtext(_line(row)) for row, _ in lines], fontsize=7.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for edge in dict.fromkeys((1, attacked + counted)):
        axes.axvline(edge - 0.5, color=INK, linewidth=0.8)
    sides = "orange: under the threshold; blue: at or above" if grid.measure.threshold else "orange: beyond chance"
    note = f"{sides}; hatched: no figure, or not on every seed; controls: no colour"
    about = f"{section.board.title}\n{basis(rows)}; mean\n{note}"
    titled(figure, f"{grid.measure.title}, defenses by attacks", about)
    return figure


def _cell(axes: Axes, across: int, down: int, mark: Mark, pale: bool) -> None:
    from matplotlib.patches import Rectangle

    hatched = mark.state in ("failed", "skipped", "inapplicable", "partial")
    colour = "white" if not mark.shade or hatched or pale else _mixed(mark.shade)
    axes.add_patch(
        Rectangle(
            (across - 0.47, down - 0.46), 0.94, 0.92, facecolor=colour, linewidth=0,
            edgecolor="#c4c4c4", hatch="////" if hatched else None,
        )
    )  # fmt: skip
    small = mark.score is None
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8} if hatched else None
    words = {"does not apply": "n/a", "not measured": "–", "not run": "not\nrun"}.get(mark.text, mark.text)
    axes.text(
        across,
        down,
        mathtext(words),
        ha="center",
        va="center",
        fontsize=6.5 if small else 8,
        color=PALE if small else INK,
        bbox=box,
    )


def _mixed(shade: float) -> tuple[float, float, float]:
    """White towards orange or blue, never so far that black on it cannot be read."""
    amount = 0.1 + 0.6 * abs(shade)
    red, green, blue = ((255 - amount * (255 - part)) / 255 for part in (HIDDEN if shade >= 0 else RECOGNISABLE))
    return red, green, blue


def _line(row: Row) -> str:
    """Two lines: the defense, then its settings with T and R."""
    more = ", ".join(filter(None, (settings(row.settings), t_and_r(row.epochs, row.releases))))
    return f"{row.defense}{' (not judged)' if row.missing else ''}\n{more}"
