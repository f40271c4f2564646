"""The section `thresholds` of a registry file: from which distance on people do not recognise images of a data set.

    thresholds:
      my_photos_96:
        dataset: my_photos          # as boards name it
        height: 96
        width: 96
        dssim: 0.61                 # any distance of harness.scores that has a threshold
        dhaar: 0.58
        source: "24 people, 2,520 judgements"

`harness calibrate` writes such a file. For boards of that data set and size the value replaces the constant of
harness.scores; other boards, and distances that are not named, keep it. No record depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from harness.errors import HarnessError
from harness.scores import SCORES, thresholds
from harness.system.schema import decode, shown

SECTION = "thresholds"


@dataclass(frozen=True)
class Thresholds:
    """Of images of one data set and size.

    name           in the file
    height, width  in pixels
    values         by distance (dssim, dhaar); above 0
    source         where they come from, in a few words
    origin         the file, or the installed package
    """

    name: str
    dataset: str
    height: int
    width: int
    values: Mapping[str, float]
    source: str
    origin: str

    @property
    def images(self) -> tuple[str, int, int]:
        return self.dataset, self.height, self.width


def read_section(file: Path, origin: str, table: Any) -> list[Thresholds]:
    """The entries of the section, every field checked. HarnessError."""
    if not isinstance(table, dict | None):
        raise HarnessError(f"{file}: {SECTION} is {shown(table)}; expected a table of entries by name")
    return [_entry(file, origin, name, fields) for name, fields in (table or {}).items()]


def _entry(file: Path, origin: str, name: str, given: Any) -> Thresholds:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}", name):
        raise HarnessError(f"{file}: {SECTION}.{shown(name)}: not a name; use up to 100 letters, digits, _ and -")
    where = f"{file}: {SECTION}.{name}"
    decode(given, _fields(), where)
    values = {metric: float(given[metric]) for metric in thresholds() if given.get(metric) is not None}
    if not values:
        raise HarnessError(f"{where}: holds no threshold; give at least one of {', '.join(thresholds())}")
    return Thresholds(name, given["dataset"], given["height"], given["width"], values, given["source"], origin)


def _fields() -> Any:
    from msgspec import Meta, defstruct

    text: Any = Annotated[str, Meta(min_length=1, max_length=300)]
    side: Any = Annotated[int, Meta(ge=1, le=100_000)]
    values = [
        (name, Annotated[float, Meta(gt=0, le=SCORES[name].ceiling or 1e12)] | None, None) for name in thresholds()
    ]
    fields: list[Any] = [("dataset", text), ("height", side), ("width", side), ("source", text), *values]
    return defstruct("Thresholds", fields, forbid_unknown_fields=True)


def refuse_twice(entries: list[Thresholds]) -> None:
    """HarnessError where two entries are of the same images."""
    seen: dict[tuple[str, int, int], Thresholds] = {}
    for each in entries:
        first = seen.setdefault(each.images, each)
        if first is not each:
            raise HarnessError(
                f"thresholds of {each.dataset} ({each.height}x{each.width}) are given twice, by {first.name!r} of "
                f"{first.origin} and {each.name!r} of {each.origin}; keep one"
            )
