"""What the figures share: their size, their headline, and how names and intervals are put into them."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from harness.figures import INK, PALE
from harness.report import Section
from harness.rows import Row

if TYPE_CHECKING:
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
