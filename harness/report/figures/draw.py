"""The report's figures for a paper: privacy_utility, attacks and spending, each as PNG and SVG.

SVG holds its text as text and is the same file for the same records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from harness.errors import HarnessError
from harness.report.collect import Report, Section
from harness.report.figures.epoch_curves import epoch_figure
from harness.report.figures.heatmap import attacks_grid
from harness.report.figures.scatter import privacy_utility
from harness.report.figures.style import STYLE, as_it_is, basis
from harness.system.files import write_atomically
from harness.system.names import file_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = (".svg", ".png")
Drawn: TypeAlias = "Callable[[], Figure]"


def draw(report: Report, folder: Path) -> list[Path]:
    """Every figure that the records hold, in a folder that is made where it is missing; the files written."""
    import matplotlib

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(f"figures folder {folder}: {error.strerror or error}; name another with --figures") from None
    written = []
    with as_it_is(), matplotlib.rc_context({**STYLE, "svg.hashsalt": "harness"}):
        for name, drawn in _figures(report.sections):
            for kind in KINDS:
                written.append(save(drawn(), folder / f"{name}{kind}"))
    return written


def figures_of(sections: Sequence[Section]) -> dict[str, Drawn]:
    """What can be drawn of some boards, by its name: privacy_utility, attacks, spending."""
    import matplotlib

    def styled(drawn: Drawn) -> Figure:
        with as_it_is(), matplotlib.rc_context(STYLE):
            return drawn()

    return {name: partial(styled, drawn) for name, drawn in _figures(sections)}


def _figures(sections: Sequence[Section]) -> Iterator[tuple[str, Drawn]]:
    """A name and what draws the figure; with several boards the name says which, by data set and number."""
    for section in sections:
        several = len(sections) > 1
        data = file_name(section.board.shown)
        suffix = f"_{section.anchor.removeprefix('board-')}_{data}" if several else ""
        rows = [row for row in section.board.rows if section.shown in (None, row.releases) or row.releases is None]
        if any(row.utility for row in rows):
            yield f"privacy_utility{suffix}", partial(privacy_utility, section, [row for row in rows if row.utility])
        for grid in section.grids[:1]:
            yield f"attacks{suffix}", partial(attacks_grid, section, grid, rows)
        if section.curves:
            points = [point for curve in section.curves for point in curve.points]
            more = f"{section.board.title}\n{basis([point.row for point in points])}; bars: 95 % intervals"
            yield f"spending{suffix}", partial(epoch_figure, section.curves, "Privacy by releases", more)


def save(figure: Figure, file: Path, option: str = "--figures") -> Path:
    """Write a figure as its name says, PNG or SVG; `option` names the folder in a HarnessError."""
    metadata = {"Date": None} if file.suffix == ".svg" else None
    kind = file.suffix.removeprefix(".")
    try:
        write_atomically(file, lambda stream: figure.savefig(stream, format=kind, facecolor="white", metadata=metadata))
    except OSError as error:
        raise HarnessError(f"figure {file}: {error.strerror or error}; name another folder with {option}") from None
    return file


__all__ = ["draw", "save"]
