"""The figure of epoch curves: a panel for each judged distance after attack and, where models were trained, utility.

A colour and a marker for each defense, dashes for each attack. `harness run` draws one curve, beside the levels of the
release as is and of smoothing; `harness report` draws all curves of a board.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.leaderboard.attack_results import SMOOTH
from harness.leaderboard.format import trimmed
from harness.report.figures.style import COLOURS, INK, MARKERS, PALE, STYLE, as_it_is, new, reach, titled
from harness.scores import SCORES, judged, label
from harness.system.text import mathtext

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.report.epoch_curves import EpochCurve

DASHES = ("solid", (0, (5, 2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)))
DASHED, DOTTED = (0, (5, 2)), (0, (1, 1.5))
Label = tuple[float, str, str]
"""Where a line ends, what it is called, its colour."""


def save_curve(curve: EpochCurve, file: Path) -> Path:
    """Draw one curve to a file."""
    import matplotlib

    about = f"{curve.chosen}\n{curve.basis}; bars: 95 % intervals".strip()
    with as_it_is(), matplotlib.rc_context(STYLE):
        figure = epoch_figure([curve], f"privacy by releases: {curve.attack} on {curve.defense}", about)
        try:
            figure.savefig(file, facecolor="white", metadata={"Date": None} if file.suffix == ".svg" else None)
        except OSError as error:
            reason = error.strerror or error
            raise HarnessError(f"figure {file}: {reason}; name another with --figure") from None
    return file


def epoch_figure(curves: Sequence[EpochCurve], title: str, about: str) -> Figure:
    """All curves over the same numbers of releases."""
    names = [*judged()]
    if any(point.row.utility for curve in curves for point in curve.points):
        names += [name for name, score in SCORES.items() if score.kind == "accuracy"]
    defenses = list(dict.fromkeys(map(_defense, curves)))
    attacks = list(dict.fromkeys(curve.attack for curve in curves if not curve.control))
    keys = _keys(curves, defenses, attacks)
    figure = new(4.1 * len(names), 4.6 + 0.18 * ((len(keys) + 1) // 2))
    panels = figure.subplots(1, len(names), sharex=True, squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
        shown = curves if SCORES[name].farther else _once_per_defense(curves)
        for curve in shown:
            style = {**_hue(defenses.index(_defense(curve))), "linestyle": _dashes(curve, attacks)}
            _curve(panel, curve, name, style if SCORES[name].farther else {**style, "linestyle": "solid"})
        levels = _levels(curves, name) if SCORES[name].farther else _undefended(panel, curves)
        _axes(
            panel, name, sorted({point.releases for curve in curves for point in curve.points}), _across(curves, name)
        )
        highest = max([panel.get_ylim()[1], *(1.12 * y for y, _, _ in levels)])
        panel.set_ylim(0, max(highest, 0.8) if SCORES[name].farther else 1.02)
        for y, text, colour in levels if SCORES[name].farther else []:
            dashes = DOTTED if text == SMOOTH else DASHED if text == "no attack" else "solid"
            panel.axhline(y, color=colour, linewidth=1, linestyle=dashes, zorder=1)
        _write(panel, levels)
    figure.legend(handles=keys, loc="outside lower left", ncols=2, frameon=False, fontsize=8)
    titled(figure, title, about)
    return figure


def _defense(curve: EpochCurve) -> str:
    return " ".join(filter(None, (curve.defense, curve.chosen)))


def _once_per_defense(curves: Sequence[EpochCurve]) -> list[EpochCurve]:
    """Utility does not depend on the attack."""
    return list({_defense(curve): curve for curve in reversed(curves)}.values())


def _hue(at: int) -> dict[str, Any]:
    return {"color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at % len(MARKERS)]}


def _dashes(curve: EpochCurve, attacks: Sequence[str]) -> Any:
    return DOTTED if curve.control else DASHES[attacks.index(curve.attack) % len(DASHES)]


def _keys(curves: Sequence[EpochCurve], defenses: Sequence[str], attacks: Sequence[str]) -> list[Any]:
    """The legend: a colour and a marker for each defense, dashes for each attack."""
    from matplotlib.lines import Line2D

    keys = [
        Line2D([], [], label=mathtext(name), linewidth=1.6, markersize=5, **_hue(at))
        for at, name in enumerate(defenses)
    ]
    controls = dict.fromkeys(curve.attack for curve in curves if curve.control)
    named: list[tuple[str, Any]] = [(attack, DASHES[at % len(DASHES)]) for at, attack in enumerate(attacks)]
    named += [(f"{attack} (control)", DOTTED) for attack in controls]
    return keys + [
        Line2D([], [], label=mathtext(name), color=PALE, linewidth=1.4, linestyle=dashes) for name, dashes in named
    ]


def _curve(panel: Axes, curve: EpochCurve, name: str, style: Mapping[str, Any]) -> None:
    found = [(point.releases, score) for point in curve.points if (score := point.score(name))]
    panel.errorbar(
        [releases for releases, _ in found], [score["mean"] for _, score in found],
        yerr=[[reach(score)[end][0] for _, score in found] for end in (0, 1)],
        markersize=5, linewidth=1.6, elinewidth=0.9, **style,
    )  # fmt: skip


def _levels(curves: Sequence[EpochCurve], name: str) -> list[Label]:
    """The threshold; of a single defense also the release as is, and smoothing."""
    limit = curves[0].points[0].row.limits.of(name)
    levels = [] if limit is None else [(limit, f"threshold\n{trimmed(limit)}", INK)]
    points = [point for point in curves[0].points if point.attack.distances]
    if len(set(map(_defense, curves))) == 1 and points:
        row = points[-1].row
        levels.append((row.scores[name]["mean"], "no attack", PALE))
        smoothed = (attack.distances for attack in row.attacks if attack.name == SMOOTH)
        levels += [(distances[name]["mean"], SMOOTH, PALE) for distances in smoothed if name in distances][:1]
    return levels


def _undefended(panel: Axes, curves: Sequence[EpochCurve]) -> list[Label]:
    """Utility of the undefended model, beside a single defense."""
    points = [(point.releases, point.undefended["mean"]) for point in curves[0].points if point.undefended]
    if len(set(map(_defense, curves))) > 1 or not points:
        return []
    x, y = zip(*points, strict=True)
    panel.plot(x, y, color=PALE, linewidth=1.2, linestyle=DASHED, marker="D", markersize=4, markerfacecolor="w")
    return [(y[-1], "undefended", PALE)]


def _across(curves: Sequence[EpochCurve], name: str) -> str:
    """Privacy is a matter of releases, accuracy of epochs; where T is the same for all points, of releases too."""
    of_epochs = not SCORES[name].farther and all(curve.epochs is None for curve in curves)
    return "epochs, T (log scale)" if of_epochs else "releases, R (log scale)"


def _axes(panel: Axes, name: str, releases: Sequence[int], across: str) -> None:
    from matplotlib.ticker import NullLocator

    panel.set_ylabel(f"{label(name)} after attack" if SCORES[name].farther else f"{label(name)} (accuracy)")
    panel.set_xscale("log")
    panel.set_xticks(list(releases), [str(number) for number in releases])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlim(min(releases) / 1.12, max(releases) * 1.12)
    panel.set_xlabel(across)
    panel.grid(axis="y", color="#e6e6e6", linewidth=0.7, zorder=0)
    panel.set_axisbelow(True)


def _write(panel: Axes, labels: Sequence[Label]) -> None:
    """Names beside the ends of their lines, moved apart where they would overlap."""
    bottom, top = panel.get_ylim()
    ordered = sorted(labels)
    lines = max((text.count("\n") + 1 for _, text, _ in ordered), default=1)
    heights = _spread_out([y for y, _, _ in ordered], (top - bottom) * 0.062 * lines, top)
    for (_, text, colour), height in zip(ordered, heights, strict=True):
        panel.annotate(
            mathtext(text), (1.02, height), xycoords=("axes fraction", "data"), color=colour, va="center", fontsize=8.5,
            annotation_clip=False,
        )  # fmt: skip


def _spread_out(heights: Sequence[float], gap: float, top: float) -> list[float]:
    """Rising heights at least a gap apart, each group of neighbours around its own middle, none above the top."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _places(groups[-2], gap, top)[-1] + gap > _places(groups[-1], gap, top)[0]:
            last = groups.pop()
            groups[-1] += last
    return [height for group in groups for height in _places(group, gap, top)]


def _places(group: Sequence[float], gap: float, top: float) -> list[float]:
    """The heights of a group, a gap apart around their mean."""
    half = (len(group) - 1) * gap / 2
    middle = min(sum(group) / len(group), top - half)
    return [middle - half + at * gap for at in range(len(group))]
