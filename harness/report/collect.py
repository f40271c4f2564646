"""Collects what the report shows: the boards of a folder of records, and the sheets of pictures beside them.

The data of its charts are made in `html.chart_data`, the page in `html.page`, figures for a paper in `figures`.
"""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from harness.errors import HarnessError
from harness.leaderboard.board import Board, boards
from harness.leaderboard.format import settings
from harness.leaderboard.limits import LimitsOf
from harness.leaderboard.row import Row
from harness.leaderboard.selection import Code
from harness.records import Records, RunResult
from harness.report import epoch_curves
from harness.report.epoch_curves import EpochCurve
from harness.report.heatmap import Grid, grids
from harness.report.pictures import BoardPictures
from harness.report.provenance_table import Origins, origins
from harness.system.documents import read_bytes
from harness.system.files import write_atomically

DRAWN = "spending_"
"""How the figures begin that `harness run` draws beside the records: epoch curves, which the report draws itself."""
SHEET_BYTES = 2**28
log = logging.getLogger("harness")


@dataclass(frozen=True)
class Sheet:
    """One picture, as a data URI; width and height in pixels."""

    name: str
    uri: str
    width: int
    height: int


def sheets(folder: Path, named: Sequence[Path]) -> list[Sheet]:
    """The named files, which must be pictures; where none is named, every PNG file in the folder of records."""
    if named:
        return [_read(file) for file in named]
    found = []
    for file in sorted(folder.glob("*.png")):
        if not file.name.startswith(DRAWN):
            try:
                found.append(_read(file))
            except HarnessError as problem:
                log.warning("%s: left out", problem)
    return found


def _read(file: Path) -> Sheet:
    try:
        data = read_bytes(file, SHEET_BYTES, "PNG sheet")
    except HarnessError as error:
        raise HarnessError(f"sheet {str(error).partition(';')[0]}; name a PNG file with --sheet") from None
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            width, height = picture.size
            picture.verify()
    except Exception:  # Pillow raises many kinds for a damaged file
        raise HarnessError(
            f"sheet {file}: not a sound PNG file; make one with `harness preview --out sheet.png`"
        ) from None
    return Sheet(file.name, "data:image/png;base64," + base64.b64encode(data).decode(), width, height)


@dataclass(frozen=True)
class Section:
    """One board and what is drawn of it.

    anchor      the target of links to it
    no_pictures  why it has no pictures, where they were wanted
    """

    anchor: str
    board: Board
    grids: Sequence[Grid]
    curves: Sequence[EpochCurve]
    origins: Origins
    pictures: BoardPictures | None = None
    no_pictures: str = ""

    @property
    def releases(self) -> list[int]:
        """Every R of the board, where there are several to choose from."""
        found = sorted({row.releases for row in self.board.rows if row.releases})
        return found if len(found) > 1 else []

    @property
    def shown(self) -> int | None:
        """The R that a reader sees first: the largest; None, every R, where that would hide a defense."""
        if not self.releases:
            return None
        most = self.releases[-1]
        covered = {_named(row) for row in self.board.rows if row.releases in (most, None)}
        return most if all(_named(row) in covered for row in self.board.rows) else None


@dataclass(frozen=True)
class Report:
    """The boards of one folder of records, and the pictures beside them.

    read, used  numbers of records that were found, and of those that are on a board
    missing     releases that could not be made, with the reason: they have no row
    records     all that were read, by key
    """

    sections: Sequence[Section]
    sheets: Sequence[Sheet]
    read: int
    used: int
    missing: Sequence[str]
    records: Mapping[str, RunResult] = field(default_factory=dict, repr=False)


def collect(
    folder: Path,
    named: Sequence[Path] | None = (),
    code: Code | None = None,
    more: Sequence[Path] = (),
    limits: LimitsOf | None = None,
) -> Report:
    """Everything that the page shows, boards with judged rows first.

    named  the sheets that were asked for; None: no sheets, not even those that lie beside the records
    more   further folders of records: their boards follow, each of its own folder
    limits  calibrated thresholds; boards of other images have the paper's
    """
    records: dict[str, RunResult] = {}
    found: list[Board] = []
    for place in (folder, *more):
        read = {record.spec.key: record for record in Records(place).all()}
        if not read:
            raise HarnessError(f"no records in {place}; run `harness run` first, or name a folder with --records")
        found += boards(read.values(), code=code, limits=limits)
        records |= read
    pictures = [] if named is None else sheets(folder, named)
    found.sort(key=_incomplete)
    used = {key for board in found for row in board.rows for key in row.records}
    missing = _missing(records.values(), used)
    return Report(sections(found, records), pictures, len(records), len(used & set(records)), missing, records)


def sections(found: Iterable[Board], records: Mapping[str, RunResult]) -> list[Section]:
    """Boards that have rows, with what is drawn of them; `records` are those that they were made of, by key."""
    return [
        Section(f"board-{at}", board, grids(board), epoch_curves.of_board(board), origins(board, records))
        for at, board in enumerate((board for board in found if board.rows), 1)
    ]


def _incomplete(board: Board) -> tuple[bool, float]:
    """What sorts boards: those with judged rows first, of these those with the fewest others."""
    judged = sum(not row.missing for row in board.rows)
    return judged == 0, 1 - judged / len(board.rows) if board.rows else 1.0


def check_out(out: Path) -> None:
    """Refuse a page that could not be written, before the work for it is done."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise HarnessError(f"page {out}: expected a name that ends in .html")
    if out.is_dir():
        raise HarnessError(f"page {out}: is a folder; name a file with --out")
    if not out.absolute().parent.is_dir():
        raise HarnessError(f"page {out}: there is no folder {out.parent}; make it, or name another with --out")


def write(out: Path, page: str) -> None:
    """Write the page atomically."""
    try:
        write_atomically(out, lambda file: file.write(page.encode()))
    except OSError as error:
        raise HarnessError(f"page {out}: {error.strerror or error}; name another with --out") from None


def judgement(row: Row) -> str:
    """passes, fails, or unjudged where a requirement is missing or a part is not judged."""
    return {True: "passes", False: "fails", None: "unjudged"}[row.passing]


def passing(row: Row) -> str:
    """The same in words."""
    return {True: "passes", False: "does not pass", None: "not judged"}[row.passing]


def _named(row: Row) -> tuple[str, str]:
    return row.defense, settings(row.settings)


def _missing(records: Iterable[RunResult], used: set[str]) -> list[str]:
    """Releases that could not be made, of defenses without a row on these images."""
    shown = {_cell(record) for record in records if record.spec.key in used}
    failed: dict[str, None] = {}
    for record in records:
        if record.spec.kind == "release" and record.status != "ok" and _cell(record) not in shown:
            entry = record.inputs["defense"]
            chosen = settings({**entry["params"], "weights": entry["mixing"]["weights"]})
            failed[
                f"{entry['name']} {chosen} on {record.inputs['dataset']['name']}: {record.status}: {record.reason}"
            ] = None
    return list(failed)


def _cell(record: RunResult) -> tuple[str, str]:
    return str(record.inputs["dataset"]["fingerprint"]), str(record.inputs["defense"])
