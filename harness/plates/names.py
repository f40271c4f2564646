"""Names beside marks, where they meet neither each other nor a mark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.figures import INK, PALE
from harness.plates.style import UNDER, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
