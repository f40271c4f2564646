"""Where each page of the site is: names from records become file names in one place, and every link is relative."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from harness.records import RunResult
from harness.report.collect import Section
from harness.system.names import file_names

FINGERPRINT = 8
"""Letters of a data set's fingerprint in the name of its page: two folders called `test` have a page each."""


@dataclass(frozen=True)
class Addresses:
    """Paths of pages from the top of the site, as links write them.

    boards    by data set (`data_set`), under boards/
    defenses  by name, under defenses/
    """

    boards: dict[str, str]
    defenses: dict[str, str]

    @classmethod
    def of(cls, sections: Iterable[Section], records: Iterable[RunResult]) -> Addresses:
        names = dict.fromkeys(str(record.inputs["defense"]["name"]) for record in records)
        return cls(file_names(map(data_set, sections)), file_names(names))

    def board(self, section: Section) -> str:
        return f"boards/{quote(self.boards[data_set(section)])}.html"

    def defense(self, name: str) -> str:
        return f"defenses/{quote(self.defenses[name])}.html"

    @staticmethod
    def record(key: str) -> str:
        """key  hexadecimal digits: a record is not read where its name is anything else"""
        return f"records/{key}.html"


def data_set(section: Section) -> str:
    """The data set of a board: its name and the beginning of its fingerprint."""
    data = section.board.dataset
    return f"{data['name']}-{str(data['fingerprint'])[:FINGERPRINT]}"


def row_anchor(section: Section, number: int) -> str:
    """The place of a row on the page of its board and of its defense; number: from 1, in the order of the board."""
    return f"{section.anchor}-row-{number}"
