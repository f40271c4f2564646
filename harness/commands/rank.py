"""`harness rank`: tables from records."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.commands.common import command, console, emit, records_option
from harness.errors import HarnessError


def add(subparsers: Any) -> None:
    rank = command(subparsers, "rank", rank_records, "tables from records, printed and written")
    records_option(rank, "records")
    rank.add_argument("--out", type=Path, default=Path("leaderboards"), metavar="DIR", help="tables (leaderboards/)")


def rank_records(given: argparse.Namespace) -> int:
    from harness import columns, tables
    from harness.leaderboard import boards
    from harness.records import Records

    found = boards(Records(given.records).all())
    if not found:
        raise HarnessError(f"no records in {given.records}; run `harness run` first, or name a folder with --records")
    paths = tables.write(found, given.out, given.records)
    emit(given, columns.document(found), None)
    if not given.json:
        tables.show(found, console())
    print("wrote " + ", ".join(map(str, paths)), file=sys.stderr)
    return 0
