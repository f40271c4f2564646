"""The shared style of the figures: colours, sizes, headlines, and names beside marks where there is room for them.

matplotlib is imported where a figure is drawn, never at the top of a module. Colours are Okabe and Ito's, which
colour-blind readers can distinguish; markers and dashes differ too, for print in grey.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import HarnessError
from harness.leaderboard.row import Row
from harness.system.text import mathtext

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg")
INK, PALE = "#222222", "#6b6b6b"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#9A6700", "#56B4E9", "#222222")
MARKERS = "osD^Pv*X"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.fonttype": "none",
}
UNDER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.6}
STRIP = 0.75  # inches for the headline


def check_file(file: Path) -> None:
    """Refuse a figure that could not be written, before the work for it is done."""
    if file.suffix.lower() not in SUFFIXES:
        raise HarnessError(f"figure {file}: unknown kind of picture; use a name that ends in {', '.join(SUFFIXES)}")
    if not file.parent.is_dir():
        raise HarnessError(f"figure {file}: there is no folder {file.parent}; make it, or name another with --figure")


def new(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=200, layout="constrained")


def titled(figure: Figure, title: str, about: str) -> None:
    """A headline, then what the figures are of, in a strip above the axes."""
    height = figure.get_figheight()
    engine = figure.get_layout_engine()
    assert engine is not None
    lines = [part for line in about.split("\n") for part in wrap(line, int(16.5 * figure.get_figwidth()))]
    strip = STRIP + 0.16 * (len(lines) - 2)
    engine.set(rect=(0, 0, 1, 1 - strip / height))  # type: ignore[call-arg]
    figure.text(0.012, 1 - 0.1 / height, mathtext(title, 200), va="top", fontsize=12, fontweight="bold", color=INK)
    figure.text(
        0.012, 1 - 0.36 / height, mathtext("\n".join(lines), 200), va="top", fontsize=8, color=PALE, linespacing=1.4
    )


@contextmanager
def as_it_is() -> Iterator[None]:
    """A letter that the font lacks, or a name too long for the figure, is no message: the figure is drawn as it can."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def basis(rows: Sequence[Row]) -> str:
    """n = 500 originals, 3 seeds"""
    sizes, seeds = {row.originals for row in rows}, {row.seeds for row in rows}
    ranges = [f"{min(some)}" if len(some) == 1 else f"{min(some)} to {max(some)}" for some in (sizes, seeds)]
    return f"n = {ranges[0]} originals, {ranges[1]} seed{'' if seeds == {1} else 's'}"


def reach(score: Any) -> list[list[float]]:
    """How far the interval reaches below and above the mean, as errorbar takes it."""
    mean, low, high = score["mean"], score["low"], score["high"]
    return [[0.0 if low is None else mean - low], [0.0 if high is None else high - mean]]


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
    figure.draw_without_rendering()  # lays the axes out where they will be
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
                    mathtext(name), mark, (across, up), textcoords="offset points", fontsize=SIZE, color=INK,
                    bbox=UNDER, zorder=5,
                    arrowprops={"arrowstyle": "-", "color": PALE, "linewidth": 0.6} if far else None,
                )  # fmt: skip
                break


def _places(wide: float) -> list[tuple[float, float]]:
    """Offsets of the name's lower left corner from its mark, in points: the preferred ones first."""
    near = [(6, 5), (6, -12), (-6 - wide, 5), (-6 - wide, -12), (-wide / 2, 9), (-wide / 2, -16), (6, 15), (6, -22)]
    return [*near, (-wide / 2, 18), (-wide / 2, -25), (9, 25), (9, -32), (-9 - wide, 25), (-9 - wide, -32)]


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
