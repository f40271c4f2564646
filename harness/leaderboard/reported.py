"""Figures that authors report of their own defenses: shown under a board as `reported`, never ranked or checked.

`leaderboards/reported.yaml` holds Table 7 of Raynal et al. 2020 and is shipped with the package: its points are drawn
beside what is measured here. The format is a YAML file of papers; `settings` are as -D takes them, in the authors' own
units and at their own image size.

    - dataset: cats_vs_dogs                 # the boards that it is shown under
      cite: "Raynal et al. 2020, Table 7"
      about: "256 px; privacy of the release by dSSIM; ResNet-18 after 20 epochs"
      rows:
        - {defense: mix, settings: {weights: [0.75, 0.25]}, dssim: 0.14, utility: 0.9275}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError
from harness.scores import SCORES, judged

_PAPER = {"dataset", "cite", "about", "rows"}
_ROW = {"defense", "settings", "epochs"}


def figure_names() -> tuple[str, ...]:
    """All from 0 to 1: distances of the release, distances under the authors' strongest attack, accuracy."""
    accuracy = (name for name, score in SCORES.items() if score.kind == "accuracy")
    return (*judged(), *(f"worst_{name}" for name in judged()), *accuracy)


@dataclass(frozen=True)
class PublishedRow:
    """One row of a paper."""

    dataset: str
    cite: str
    about: str
    defense: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def knobs(self) -> dict[str, Any]:
        """The settings without `intra_class`."""
        return {name: value for name, value in self.settings.items() if name != "intra_class"}

    @property
    def intra_class(self) -> bool:
        """Whether partners are of the same class."""
        return bool(self.settings.get("intra_class", False))

    def document(self) -> dict[str, Any]:
        return {
            "status": "reported",
            "cite": self.cite,
            "about": self.about,
            "defense": self.defense,
            "settings": dict(self.settings),
            "epochs": self.epochs,
            **self.figures,
        }


def table_7() -> list[PublishedRow]:
    """The rows of the paper's Table 7: the first paper of the shipped file."""
    rows = read(shipped_file())
    return [row for row in rows if row.cite == rows[0].cite]


def shipped_file() -> Path:
    """reported.yaml: inside this package in a wheel, under leaderboards/ in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "reported.yaml"
    return inside if inside.is_file() else package.parent / "leaderboards" / "reported.yaml"


def read(file: Path) -> list[PublishedRow]:
    """Every row of the file; what is wrong in it is one error with the place and the value."""
    try:
        papers = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise HarnessError(
            f"reported figures {file}: {reason}; fix the file, or name another with --reported"
        ) from None
    if not isinstance(papers, list):
        raise HarnessError(
            f"reported figures {file}: a list of papers is expected, each with {', '.join(sorted(_PAPER))}"
        )
    return [row for place, paper in enumerate(papers, 1) for row in _paper(paper, f"{file}: paper {place}")]


def _paper(paper: Any, where: str) -> list[PublishedRow]:
    _check_names(paper, _PAPER, {"dataset", "cite", "rows"}, where)
    if not isinstance(paper["rows"], list):
        raise HarnessError(f"{where}: rows is {paper['rows']!r}; give a list")
    about = str(paper.get("about", ""))
    return [
        _row(row, str(paper["dataset"]), str(paper["cite"]), about, f"{where}, row {place}")
        for place, row in enumerate(paper["rows"], 1)
    ]


def _row(row: Any, dataset: str, cite: str, about: str, where: str) -> PublishedRow:
    _check_names(row, {*_ROW, *figure_names()}, {"defense"}, where)
    settings, epochs = row.get("settings", {}), row.get("epochs")
    if not isinstance(settings, dict):
        raise HarnessError(f"{where}: settings is {settings!r}; give knobs with values, as {{sigma: 20}}")
    if epochs is not None and (type(epochs) is not int or epochs < 1):
        raise HarnessError(f"{where}: epochs is {epochs!r}; give a whole number, 1 or more")
    figures = {name: row[name] for name in figure_names() if name in row}
    for name, value in figures.items():
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise HarnessError(f"{where}: {name} is {value!r}; give a number from 0 to 1")
    if not figures:
        raise HarnessError(f"{where}: no figure is reported; give at least one of {', '.join(figure_names())}")
    return PublishedRow(dataset, cite, about, str(row["defense"]), settings, epochs, figures)


def _check_names(thing: Any, known: set[str], needed: set[str], where: str) -> None:
    if not isinstance(thing, dict):
        raise HarnessError(f"{where}: {thing!r} is no mapping; give {', '.join(sorted(known))}")
    for name in thing:
        if name not in known:
            raise HarnessError(f"{where}: {name!r} is unknown; use {', '.join(sorted(known))}")
    for name in sorted(needed):
        if name not in thing:
            raise HarnessError(f"{where}: {name} is missing; add it")
