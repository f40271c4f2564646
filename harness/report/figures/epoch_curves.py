"""Figures of a run, drawn with matplotlib, which is imported here and in harness.report.figures.draw, and nowhere else.

Colours are Okabe and Ito's, which colour-blind readers tell apart; markers and dashes differ too, for paper in grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.leaderboard.format import short
from harness.leaderboard.verdict import SIGNS
from harness.scores import thresholds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from harness.report.epoch_curves import EpochCurve, Point

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


def draw_spending(spending: EpochCurve, file: Path) -> Path:
    """Panels over the same epochs: dSSIM and dHaar left by the attack and, where it was trained, utility."""
    import matplotlib
    from matplotlib.figure import Figure

    points = [point for point in spending.points if point.seen.distances]
    trained = [point for point in spending.points if point.row.utility]
    with matplotlib.rc_context(STYLE):
        if trained:
            figure = Figure(figsize=(11, 4.4), dpi=200)
            figure.subplots_adjust(left=0.055, right=0.915, bottom=0.125, top=0.755, wspace=0.64)
        else:
            figure = Figure(figsize=(7.6, 4.4), dpi=200)
            figure.subplots_adjust(left=0.08, right=0.87, bottom=0.125, top=0.755, wspace=0.6)
        panels = figure.subplots(1, 3 if trained else 2, sharex=True)
        labels = [_privacy(panel, points, name) for name, panel in zip(SIGNS, panels, strict=False)]
        highest = max(y for some in labels for y, _, _ in some)
        for panel, some in zip(panels, labels, strict=False):
            panel.set_ylim(0, max(highest * 1.12, 0.8))
            _write(panel, some)
        if trained:
            panels[2].set_ylim(0, 1.02)
            _write(panels[2], _utility(panels[2], trained))
        for panel in panels:
            _epochs(panel, [point.epochs for point in spending.points])
        about = f"{spending.settings}\n{spending.basis}; bands: 95 % intervals".strip()
        told = f"privacy spent by {spending.attack} on {spending.defense}"
        figure.text(0.012, 0.975, told, fontsize=12.5, fontweight="bold", color=INK, va="top")
        figure.text(0.012, 0.915, about, color=PALE, va="top", linespacing=1.4)
        try:
            figure.savefig(file, facecolor="white", metadata={"Date": None} if file.suffix == ".svg" else None)
        except OSError as error:
            reason = error.strerror or error
            raise HarnessError(f"figure {file}: {reason}; name another with --figure") from None
    return file


def _privacy(panel: Axes, points: Sequence[Point], name: str) -> list[Label]:
    panel.set_title(f"privacy left, by {SIGNS[name]}")
    panel.set_ylabel(f"{SIGNS[name]} to the original (no unit)")
    limit = thresholds()[name]
    labels = [_level(panel, limit, f"threshold {short(limit).rstrip('0')}", "solid", INK)]
    if points:
        row = points[-1].row
        labels.append(_level(panel, row.scores[name]["mean"], "look", (0, (5, 2))))
        smooth = next(
            (each.distances[name] for each in row.attacks if each.name == "smooth" and name in each.distances), None
        )
        labels += [_level(panel, smooth["mean"], "smooth", (0, (1, 1.5)))] if smooth else []
        labels.append(_curve(panel, points, [point.seen.distances[name] for point in points], name, "attack"))
    return labels


def _utility(panel: Axes, points: Sequence[Point]) -> list[Label]:
    panel.set_title("utility, same T epochs")
    panel.set_ylabel("accuracy on clean test images (share)")
    labels = [_curve(panel, points, [point.row.utility for point in points], "utility", "defended")]
    beside = [point for point in points if point.undefended]
    if beside:
        x, y = [point.epochs for point in beside], [(point.undefended or {})["mean"] for point in beside]
        look: dict[str, Any] = {"linestyle": (0, (5, 2)), "marker": "D", "markersize": 4, "markerfacecolor": "w"}
        panel.plot(x, y, color=PALE, linewidth=1.2, **look)
        labels.append((y[-1], "undefended", PALE))
    return labels


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
    ordered = sorted(labels)
    heights = _apart([y for y, _, _ in ordered], (top - bottom) * 0.062, top)
    for (_, told, colour), height in zip(ordered, heights, strict=True):
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


def _apart(heights: Sequence[float], gap: float, top: float) -> list[float]:
    """Rising heights at least a gap apart, each group of neighbours around its own middle, none above the top."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _spread(groups[-2], gap, top)[-1] + gap > _spread(groups[-1], gap, top)[0]:
            last = groups.pop()
            groups[-1] += last
    return [height for group in groups for height in _spread(group, gap, top)]


def _spread(group: Sequence[float], gap: float, top: float) -> list[float]:
    """The heights of a group, a gap apart around their mean."""
    reach = (len(group) - 1) * gap / 2
    middle = min(sum(group) / len(group), top - reach)
    return [middle - reach + at * gap for at in range(len(group))]


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
