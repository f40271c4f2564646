"""dSSIM and dHaar left after T releases, every curve of a board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.leaderboard.format import short
from harness.leaderboard.verdict import SIGNS
from harness.report.collect import Section
from harness.report.epoch_curves import EpochCurve
from harness.report.figures.epoch_curves import PALE
from harness.report.figures.style import basis, new, plain, reach, titled
from harness.scores import thresholds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#9A6700", "#56B4E9", "#222222")
MARKERS = "osD^Pv*X"
DASHES = ("solid", (0, (5, 2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)))
DOTTED = (0, (1, 1.5))


def spending(section: Section) -> Figure:
    """dSSIM and dHaar left after T releases."""
    owners = list(dict.fromkeys(_owner(curve) for curve in section.curves))
    figure = new(8.6, 4.4 + 0.16 * (len(owners) + 2) // 2)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    attacks = list(dict.fromkeys(c.attack for c in section.curves if not c.points[0].seen.group.control))
    for panel, (name, sign) in zip(panels, SIGNS.items(), strict=True):
        panel.axhline(thresholds()[name], color=PALE, linewidth=0.9, linestyle=(0, (5, 2)), zorder=1)
        told = f"threshold\n{short(thresholds()[name]).rstrip('0')}"
        beside = panel.get_yaxis_transform()
        panel.text(1.01, thresholds()[name], told, transform=beside, va="center", fontsize=8, color=PALE)
        for curve in section.curves:
            _curve(panel, curve, name, owners.index(_owner(curve)), attacks)
        _epochs(panel, sorted({point.epochs for curve in section.curves for point in curve.points}))
        panel.set_ylabel(f"{sign} left")
    panels[0].set_ylim(bottom=0)
    figure.legend(
        handles=_keys(section.curves, owners, attacks), loc="outside lower left", ncols=2, frameon=False, fontsize=8
    )
    points = [point for curve in section.curves for point in curve.points]
    more = f"{basis([point.row for point in points])}; bars: 95 % intervals"
    titled(figure, section, "Privacy left against epochs", more)
    return figure


def _keys(curves: Sequence[EpochCurve], owners: Sequence[str], attacks: Sequence[str]) -> list[Any]:
    """A colour and a marker for each defense, dashes for each attack."""
    from matplotlib.lines import Line2D

    keys = [
        Line2D([], [], label=plain(owner), linewidth=1.6, markersize=5, **_hue(at)) for at, owner in enumerate(owners)
    ]
    controls = dict.fromkeys(c.attack for c in curves if c.points[0].seen.group.control)
    named: list[tuple[str, Any]] = [(attack, DASHES[at % len(DASHES)]) for at, attack in enumerate(attacks)]
    named += [(f"{attack} (control)", DOTTED) for attack in controls]
    return keys + [
        Line2D([], [], label=plain(told), color=PALE, linewidth=1.4, linestyle=dashes) for told, dashes in named
    ]


def _hue(at: int) -> dict[str, Any]:
    return {"color": HUES[at % len(HUES)], "marker": MARKERS[at % len(MARKERS)]}


def _owner(curve: EpochCurve) -> str:
    return " ".join(filter(None, (curve.defense, curve.settings)))


def _curve(panel: Axes, curve: EpochCurve, name: str, at: int, attacks: Sequence[str]) -> None:
    points = [point for point in curve.points if name in point.seen.distances]
    scores = [point.seen.distances[name] for point in points]
    control = points[0].seen.group.control if points else False
    dashes = DOTTED if control else DASHES[attacks.index(curve.attack) % len(DASHES)]
    panel.errorbar(
        [point.epochs for point in points], [score["mean"] for score in scores],
        yerr=[[reach(score)[end][0] for score in scores] for end in (0, 1)],
        markersize=5, linewidth=1.6, linestyle=dashes, elinewidth=0.9, **_hue(at),
    )  # fmt: skip


def _epochs(panel: Axes, ticks: Sequence[int]) -> None:
    from matplotlib.ticker import NullLocator

    panel.set_xscale("log")
    panel.set_xticks(list(ticks), [str(tick) for tick in ticks])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel("epochs released, T (log scale)")
    panel.grid(axis="y", color="#ececec", linewidth=0.7)
    panel.set_axisbelow(True)
