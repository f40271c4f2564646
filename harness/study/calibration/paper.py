"""The paper's Tables 2 to 5 (raynal2020.yaml), to stand beside what is calibrated here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.study.calibration.roc import CRITERIA, Point
from harness.system.documents import read_yaml

FILE = Path(__file__).with_name("raynal2020.yaml")


@dataclass(frozen=True)
class PaperRow:
    """One metric of one table.

    table, dataset, kind  where it stands, which images (with their side in pixels), and who judged them
    points                by criterion
    """

    table: str
    dataset: str
    size: int
    kind: str
    metric: str
    auc: float
    points: Mapping[str, Point]

    @property
    def where(self) -> str:
        """Table 2, Stanford Dogs"""
        return f"{self.table}, {self.dataset}"


@cache
def paper_rows() -> tuple[PaperRow, ...]:
    """All rows, in the order of the tables."""
    return tuple(
        PaperRow(
            table["table"],
            table["dataset"],
            table["size"],
            table["kind"],
            row["metric"],
            row["auc"],
            {criterion: Point(*row[criterion]) for criterion in CRITERIA},
        )
        for table in read_yaml(FILE, "file of the paper's tables")["tables"]
        for row in table["rows"]
    )


def rows_of(kind: str, metric: str) -> list[PaperRow]:
    """The paper's rows of one metric against people or against Google Vision; none of other judges."""
    return [row for row in paper_rows() if (row.kind, row.metric) == (kind, metric)]


def cite() -> str:
    """The paper."""
    return str(read_yaml(FILE, "file of the paper's tables")["cite"])
