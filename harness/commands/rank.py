"""`harness rank`: tables from records, and whether written ones are what the records say."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.common import command, console, emit, records_option, registry_of
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.leaderboard.board import Board
    from harness.leaderboard.reported import PublishedRow

DIFFERS = 3


def add(subparsers: Any) -> None:
    rank = command(subparsers, "rank", rank_records, "tables from records, printed and written")
    records_option(rank, "records")
    rank.add_argument("--out", type=Path, default=Path("leaderboards"), metavar="DIR", help="tables (leaderboards/)")
    rank.add_argument(
        "--reported",
        type=Path,
        metavar="FILE",
        help="figures of papers (reported.yaml beside the records)",
    )
    rank.add_argument(
        "--verify", action="store_true", help="write nothing; fail (3) where a table in DIR is not what the records say"
    )


def rank_records(given: argparse.Namespace) -> int:
    from harness.leaderboard.board import boards
    from harness.records import Records
    from harness.records.provenance import CodeAtHand
    from harness.records.store import read_all
    from harness.report import table_data, terminal

    records = read_all(given.records) if given.verify else Records(given.records).all()
    found = boards(records, _reported(given), CodeAtHand(registry_of(given)))
    if not found:
        raise HarnessError(f"no records in {given.records}; run `harness run` first, or name a folder with --records")
    if given.verify:
        return _verify(given, found)
    paths = terminal.write(found, given.out, given.records)
    emit(given, table_data.document(found), None)
    if not given.json:
        terminal.show(found, console())
    if any(board.reported for board in found) and not given.json:
        print("figures that authors report are in the tables, apart from the rows", file=sys.stderr)
    print("wrote " + ", ".join(map(str, paths)), file=sys.stderr)
    return 0


def _reported(given: argparse.Namespace) -> list[PublishedRow]:
    from harness.leaderboard.reported import read

    file = given.reported or given.records.resolve().parent / "reported.yaml"
    return read(file) if given.reported or file.is_file() else []


def _verify(given: argparse.Namespace, found: list[Board]) -> int:
    from harness.report.files import differences, texts

    expected = texts(found, given.out, given.records)
    unlike = differences(expected, given.out)
    document = {"files": [str(path) for path in expected], "differences": [each.document() for each in unlike]}
    emit(given, document, None if unlike else f"{len(expected)} tables are what {given.records} says")
    for each in unlike:
        print(each, file=sys.stderr)
    return DIFFERS if unlike else 0
