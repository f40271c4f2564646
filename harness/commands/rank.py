"""`harness rank`: write tables from records, or verify that written ones agree with the records."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.common import (
    add_command,
    add_legend_option,
    add_records_option,
    path_type,
    print_result,
    registry_from,
)
from harness.errors import HarnessError
from harness.system.messages import log
from harness.system.output import console

if TYPE_CHECKING:
    from harness.leaderboard.board import Board
    from harness.leaderboard.reported import PublishedRow

DIFFERS = 3


def add(subparsers: Any) -> None:
    rank = add_command(
        subparsers, "rank", rank_records, "tables from records, printed and written", needs_scratch=False
    )
    add_records_option(rank, "records")
    rank.add_argument(
        "--out", type=path_type, default=Path("leaderboards"), metavar="DIR", help="tables (leaderboards/)"
    )
    rank.add_argument(
        "--reported",
        type=path_type,
        metavar="FILE",
        help="figures of papers (reported.yaml beside the records)",
    )
    add_legend_option(rank)
    rank.add_argument(
        "--verify", action="store_true", help="write nothing; fail (3) where a table in DIR is not what the records say"
    )


def rank_records(args: argparse.Namespace) -> int:
    from harness.leaderboard.board import boards
    from harness.leaderboard.limits import calibrated
    from harness.records import Records
    from harness.records.provenance import CodeAtHand
    from harness.records.store import read_all
    from harness.report import files, table_data, terminal

    records = read_all(args.records) if args.verify else Records(args.records).all()
    registry = registry_from(args)
    ranked = boards(records, _reported(args), CodeAtHand(registry), calibrated(registry.thresholds))
    if not ranked:
        raise HarnessError(f"no records in {args.records}; run `harness run` first, or name a folder with --records")
    if args.verify:
        return _verify(args, ranked)
    paths = files.write(ranked, args.out, args.records)
    print_result(args, table_data.document(ranked), None)
    if not args.json:
        terminal.show(ranked, console(), args.legend)
    if any(board.reported for board in ranked) and not args.json:
        log.info("figures that authors report are in the tables, apart from the rows")
    log.info("wrote %s", ", ".join(map(str, paths)))
    return 0


def _reported(args: argparse.Namespace) -> list[PublishedRow]:
    from harness.leaderboard.reported import read

    file = args.reported or args.records.resolve().parent / "reported.yaml"
    return read(file) if args.reported or file.is_file() else []


def _verify(args: argparse.Namespace, ranked: list[Board]) -> int:
    from harness.report.files import differences, texts

    expected = texts(ranked, args.out, args.records)
    unlike = differences(expected, args.out)
    document = {"files": [str(path) for path in expected], "differences": [each.document() for each in unlike]}
    print_result(args, document, None if unlike else f"{len(expected)} tables are what {args.records} says")
    for each in unlike:
        log.error("%s", each)
    return DIFFERS if unlike else 0
