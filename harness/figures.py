"""Figures, drawn with matplotlib, which is imported here and nowhere else.

Colours are Okabe and Ito's, which colour-blind readers tell apart; markers and dashes differ too, for paper in grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.rows import THRESHOLDS
from harness.verdict import SIGNS
from harness.wording import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from harness.spending import Point, Spending

SUFFIXES = (".png", ".pdf", ".svg")
INK, PALE = "#222222", "#6b6b6b"
COLOURS = {"dssim": "#0072B2", "dhaar": "#D55E00", "utility": "#009E73"}
MARKERS = {"dssim": "o", "dhaar": "s", "utility": "D"}
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
Label = tuple[float, str, str]
"""Where a line ends, what it is called, its colour."""


def check_file(file: Path) -> None:
    """Refuse a figure that could not be written, before the work for it is done."""
    if file.suffix.lower() not in SUFFIXES:
        raise HarnessError(f"figure {file}: unknown kind of picture; use a name that ends in {', '.join(SUFFIXES)}")
    if not file.parent.is_dir():
        raise HarnessError(f"figure {file}: there is no folder {file.parent}; make it, or name another with --figure")


def draw_spending(spending: Spending, file: Path) -> Path:
    """Three panels over the same epochs: dSSIM and dHaar left by the attack, and what the releases are worth."""
    import matplotlib
    from matplotlib.figure import Figure

    points = [point for point in spending.points if point.seen.left]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.2), dpi=200)
        figure.subplots_adjust(left=0.055, right=0.915, bottom=0.125, top=0.77, wspace=0.64)
        panels = figure.subplots(1, 3, sharex=True)
        for name, panel in zip(SIGNS, panels, strict=False):
            _privacy(panel, points, name)
        top = max(panel.get_ylim()[1] for panel in panels[:2])
        for panel in panels[:2]:
            panel.set_ylim(0, top)
        _utility(panels[2], spending.points)
        for panel in panels:
            _epochs(panel, [point.epochs for point in spending.points])
        figure.text(0.012, 0.945, spending.title, fontsize=12.5, fontweight="bold", color=INK, va="center")
        figure.text(0.012, 0.885, f"{spending.basis}; bands: 95 % intervals", color=PALE, va="center")
        try:
            figure.savefig(file, facecolor="white", metadata={"Date": None} if file.suffix == ".svg" else None)
        except OSError as error:
            reason = error.strerror or error
            raise HarnessError(f"figure {file}: {reason}; name another with --figure") from None
    return file


def _privacy(panel: Axes, points: Sequence[Point], name: str) -> None:
    panel.set_title(f"privacy left, by {SIGNS[name]}")
    panel.set_ylabel(f"{SIGNS[name]} to the original (no unit)")
    labels = []
    if points:
        labels.append(_curve(panel, points, [point.seen.left[name] for point in points], name, "attack"))
        row = points[-1].row
        labels.append(_level(panel, row.scores[name]["mean"], "look", (0, (5, 2))))
        smooth = next((each.left[name] for each in row.attacks if each.name == "smooth" and name in each.left), None)
        if smooth:
            labels.append(_level(panel, smooth["mean"], "smooth", (0, (1, 1.5))))
    limit = THRESHOLDS[name]
    labels.append(_level(panel, limit, f"threshold {short(limit).rstrip('0')}", "solid", INK))
    highest = max(y for y, _, _ in labels)
    panel.set_ylim(0, max(highest * 1.12, 0.8))
    _write(panel, labels)


def _utility(panel: Axes, points: Sequence[Point]) -> None:
    panel.set_title("utility, same T epochs")
    panel.set_ylabel("accuracy on clean test images (share)")
    panel.set_ylim(0, 1.02)
    trained = [point for point in points if point.row.utility]
    if not trained:
        panel.text(0.5, 0.5, "not trained", transform=panel.transAxes, ha="center", va="center", color=PALE)
        return
    labels = [_curve(panel, trained, [point.row.utility for point in trained], "utility", "defended")]
    beside = [point for point in trained if point.undefended]
    if beside:
        y = [(point.undefended or {})["mean"] for point in beside]
        x = [point.epochs for point in beside]
        panel.plot(
            x, y, color=PALE, linestyle=(0, (5, 2)), linewidth=1.2, marker="D", markersize=4, markerfacecolor="w"
        )
        labels.append((y[-1], "undefended", PALE))
    _write(panel, labels)


def _curve(panel: Axes, points: Sequence[Point], scores: Sequence[Any], name: str, told: str) -> Label:
    x, y = [point.epochs for point in points], [score["mean"] for score in scores]
    low, high = ([y[at] if s[end] is None else s[end] for at, s in enumerate(scores)] for end in ("low", "high"))
    panel.fill_between(x, low, high, color=COLOURS[name], alpha=0.18, linewidth=0)
    panel.plot(x, y, color=COLOURS[name], marker=MARKERS[name], markersize=5.5, linewidth=1.9, zorder=3)
    return y[-1], told, COLOURS[name]


def _level(panel: Axes, y: float, told: str, dashes: Any, colour: str = PALE) -> Label:
    panel.axhline(y, color=colour, linestyle=dashes, linewidth=0.9 if dashes == "solid" else 1.2, zorder=1)
    return y, told, colour


def _write(panel: Axes, labels: Sequence[Label]) -> None:
    """Names beside the ends of their lines, moved apart where they would overlap."""
    bottom, top = panel.get_ylim()
    gap = (top - bottom) * 0.062
    heights: list[float] = []
    for y, _, _ in sorted(labels):
        heights.append(max(y, heights[-1] + gap) if heights else y)
    excess = max(0.0, heights[-1] - top)
    for at in range(len(heights) - 1, -1, -1):  # push back down what ran over the top
        ceiling = heights[at + 1] - gap if at + 1 < len(heights) else heights[at] - excess
        heights[at] = min(heights[at], ceiling)
    for (_, told, colour), height in zip(sorted(labels), heights, strict=True):
        panel.annotate(
            told,
            (1.02, height),
            xycoords=("axes fraction", "data"),
            color=colour,
            va="center",
            fontsize=8.5,
            fontweight="bold" if colour in COLOURS.values() else "normal",
            annotation_clip=False,
        )


def _epochs(panel: Axes, epochs: Sequence[int]) -> None:
    from matplotlib.ticker import NullLocator

    panel.set_xscale("log")
    panel.set_xticks(list(epochs), [str(number) for number in epochs])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlim(min(epochs) / 1.12, max(epochs) * 1.12)
    panel.set_xlabel("epochs released, T (log scale)")
    panel.grid(axis="y", color="#e6e6e6", linewidth=0.7, zorder=0)
    panel.set_axisbelow(True)


__all__ = ["SUFFIXES", "check_file", "draw_spending"]
