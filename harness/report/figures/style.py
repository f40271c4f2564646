"""What the figures share: their size, their headline, and how names and intervals are put into them.

Names beside marks, where they meet neither each other nor a mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.leaderboard.row import Row
from harness.report.collect import Section
from harness.report.figures.epoch_curves import INK, PALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNDER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.6}
STRIP = 0.75  # inches for the headline


def new(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=200, layout="constrained")


def titled(figure: Figure, section: Section, title: str, more: str) -> None:
    """A headline, then what the figures are of, in a strip above the axes."""
    height = figure.get_figheight()
    engine = figure.get_layout_engine()
    assert engine is not None
    told = [
        part
        for line in (section.board.title, *more.split("\n"))
        for part in wrap(line, int(16.5 * figure.get_figwidth()))
    ]
    strip = STRIP + 0.16 * (len(told) - 2)
    engine.set(rect=(0, 0, 1, 1 - strip / height))  # type: ignore[call-arg]
    figure.text(0.012, 1 - 0.1 / height, plain(title), va="top", fontsize=12, fontweight="bold", color=INK)
    figure.text(0.012, 1 - 0.36 / height, plain("\n".join(told)), va="top", fontsize=8, color=PALE, linespacing=1.4)


def basis(rows: Sequence[Row]) -> str:
    """n = 500 originals, 3 seeds"""
    sizes, seeds = {row.worst["dssim"]["n"] for row in rows}, {row.seeds for row in rows}
    told = [f"{min(some)}" if len(some) == 1 else f"{min(some)} to {max(some)}" for some in (sizes, seeds)]
    return f"n = {told[0]} originals, {told[1]} seed{'' if seeds == {1} else 's'}"


def reach(score: Any) -> list[list[float]]:
    """How far the interval reaches below and above the mean, as errorbar takes it."""
    mean, low, high = score["mean"], score["low"], score["high"]
    return [[0.0 if low is None else mean - low], [0.0 if high is None else high - mean]]


def plain(text: str) -> str:
    """A dollar begins a formula in matplotlib; a name holds none."""
    return text.replace("$", r"\$")


SIZE = 8  # points
FAR = 14  # points: a name so high or low has a line to its mark
WIDE = 4.9  # of a letter of that size, in points
Box = tuple[float, float, float, float]


def write_names(
    axes: Axes, named: Sequence[tuple[str, tuple[float, float]]], others: Sequence[tuple[float, float]]
) -> None:
    """Each name at the first of some places beside its mark that is free; a name without one is left out.

    named   name and mark, in the data's coordinates
    others  marks without a name
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # the axes stand where they will be
    marks = np.asarray(axes.transData.transform([*(mark for _, mark in named), *others])) * 72 / figure.dpi
    taken: list[Box] = [(x - 4, y - 4, x + 4, y + 4) for x, y in marks]
    frame = np.asarray(axes.get_window_extent().extents) * 72 / figure.dpi
    for (name, mark), (x, y) in zip(named, marks, strict=False):
        for across, up in _places(WIDE * len(name)):
            box = (x + across, y + up - 1, x + across + WIDE * len(name), y + up + SIZE)
            inside = frame[0] < box[0] and box[2] < frame[2] and frame[1] < box[1] and box[3] < frame[3]
            if inside and not any(_meet(box, other) for other in taken):
                taken.append(box)
                far = abs(up + SIZE / 2) > FAR
                axes.annotate(
                    plain(name), mark, (across, up), textcoords="offset points", fontsize=SIZE, color=INK, bbox=UNDER,
                    zorder=5, arrowprops={"arrowstyle": "-", "color": PALE, "linewidth": 0.6} if far else None,
                )  # fmt: skip
                break


def _places(wide: float) -> list[tuple[float, float]]:
    """Offsets of the name's lower left corner from its mark, in points: the preferred ones first."""
    near = [(6, 5), (6, -12), (-6 - wide, 5), (-6 - wide, -12), (-wide / 2, 9), (-wide / 2, -16), (6, 15), (6, -22)]
    return [*near, (-wide / 2, 18), (-wide / 2, -25), (9, 25), (9, -32), (-9 - wide, 25), (-9 - wide, -32)]


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
