"""What `harness.evaluate` returns: the document of `harness run --json` with its verdict, as a table and as figures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from harness.api.tables import cell_line
from harness.errors import HarnessError
from harness.report import collect, run_summary
from harness.report.figures.draw import figures_of
from harness.system.schema import shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from harness.run.cross import Cell

_WIDTH = 79


class Evaluation(Mapping[str, Any]):
    """Equal to the document that `harness run --json` prints: `cells`, one for each defense, attack and seed, and
    `verdicts`, one for each defense.

    evaluation["cells"][0]["scores"]["dssim"]["mean"]
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = tuple(cells)
        self._document: dict[str, Any] = json.loads(json.dumps(run_summary.document(cells), allow_nan=False))

    def __getitem__(self, key: str) -> Any:
        return self._document[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._document)

    def __len__(self) -> int:
        return len(self._document)

    def __repr__(self) -> str:
        counts = Counter(cell["status"] for cell in self["cells"])
        said = ", ".join(f"{number} {status}" for status, number in counts.items())
        return f"<Evaluation of {len(self['cells'])} cells: {said}>"

    @property
    def verdict(self) -> str:
        """The verdict on each defense in words, as `harness run` prints it: a headline, then a paragraph for each part.

        In lines of 79 letters. As data it is in `evaluation["verdicts"]`, where `passes` holds every part.
        """
        return "\n\n".join("\n".join(_wrapped(*each["text"])) for each in self["verdicts"])

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each cell: what was run, its status, and of every score the mean, `_low` and `_high`."""
        import pandas as pd

        return pd.DataFrame([cell_line(cell) for cell in self["cells"]])

    def plot(self, figure: str | None = None) -> Figure:
        """A figure of `harness report`, of matplotlib: `show()` it in a notebook, or `savefig(file)`.

        figure  "privacy_utility": the worst case against accuracy; "attacks": defenses by attacks, each its score.
                None: the first of these that there are figures for
        """
        records = {part.spec.key: part for cell in self._cells for part in (*cell.parts, *cell.beside)}
        found = figures_of(collect.sections(run_summary.board_of(self._cells), records))
        if not found:
            raise HarnessError(f"nothing can be plotted of {self!r}; reasons are in to_dataframe()['reason']")
        if figure is None:
            return next(iter(found.values()))()
        if figure not in found:
            raise HarnessError(f"there is no figure {shown(figure)} of this evaluation; there are {', '.join(found)}")
        return found[figure]()


def _wrapped(headline: str, *parts: str) -> list[str]:
    options: dict[str, Any] = {"width": _WIDTH, "break_on_hyphens": False, "break_long_words": False}
    lines = wrap(headline, subsequent_indent="  ", **options)
    for part in parts:
        lines += wrap(part, initial_indent="  ", subsequent_indent="    ", **options)
    return lines
