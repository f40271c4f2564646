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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from harness.errors import HarnessError
from harness.registry.settings import check_size
from harness.scores import SCORES, judged
from harness.system.documents import read_yaml
from harness.system.numbers import LARGEST, MOST
from harness.system.schema import decode


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
    papers = read_yaml(file, "file of reported figures")
    decode(papers, list_of_papers(), str(file))
    return [row for place, paper in enumerate(papers, 1) for row in _rows(paper, f"{file}: #{place}.rows")]


@cache
def list_of_papers() -> Any:
    """The type of the whole file."""
    from msgspec import Meta, defstruct

    name: Any = Annotated[str, Meta(min_length=1, max_length=300)]
    text: Any = Annotated[str, Meta(min_length=1, max_length=5000)]
    row: list[Any] = [
        ("defense", name),
        ("settings", Annotated[dict[name, Any], Meta(max_length=100)] | None, None),
        ("epochs", Annotated[int, Meta(ge=1, le=MOST["epochs"])] | None, None),
        *((figure, Annotated[float, Meta(ge=0, le=1)] | None, None) for figure in figure_names()),
    ]
    rows: Any = list[defstruct("Row", row, forbid_unknown_fields=True)]  # type: ignore[misc]
    paper: list[Any] = [
        ("dataset", name),
        ("cite", text),
        ("rows", Annotated[rows, Meta(max_length=10_000)]),
        ("about", text | None, None),
    ]
    papers: Any = list[defstruct("Paper", paper, forbid_unknown_fields=True)]  # type: ignore[misc]
    return Annotated[papers, Meta(max_length=1000, description="a list of papers, each with dataset, cite and rows")]


def _rows(paper: Mapping[str, Any], where: str) -> Iterator[PublishedRow]:
    for place, row in enumerate(paper["rows"], 1):
        figures = {name: row[name] for name in figure_names() if row.get(name) is not None}
        if not figures:
            names = ", ".join(figure_names())
            raise HarnessError(f"{where}.#{place}: no figure is reported; give at least one of {names}")
        settings = row.get("settings") or {}
        check_size(settings, LARGEST, f"{where}.#{place}.settings")
        about, epochs = paper.get("about") or "", row.get("epochs")
        yield PublishedRow(paper["dataset"], paper["cite"], about, row["defense"], settings, epochs, figures)
