"""`harness sweep`: the crosses of a file."""

from __future__ import annotations

import argparse
from typing import Any

from harness.commands.common import (
    add_cache_options,
    add_command,
    add_engine_options,
    add_legend_option,
    add_log_option,
    add_records_option,
    dataset_type,
    engine_from,
    path_type,
    print_result,
    registry_from,
)
from harness.system.messages import log
from harness.system.output import console
from harness.system.text import one_line


def add(subparsers: Any) -> None:
    sweep = add_command(subparsers, "sweep", run_sweep, "the crosses of a file: lists and ranges of everything")
    sweep.add_argument("file", type=path_type, help="YAML, such as experiments/board.yaml")
    sweep.add_argument("--dataset", type=dataset_type, help="instead of the file's")
    add_engine_options(sweep)
    add_records_option(sweep, "where records go")
    add_cache_options(sweep)
    add_log_option(sweep)
    add_legend_option(sweep)
    sweep.add_argument("--dry-run", action="store_true", help="print the plan and what it will cost, and stop")


def run_sweep(args: argparse.Namespace) -> int:
    registry = registry_from(args)
    from harness.leaderboard.limits import calibrated
    from harness.report import run_summary
    from harness.run import engine, sweep
    from harness.system.progress import ProgressDisplay
    from harness.trackers import tracking

    chosen = engine_from(args)
    with ProgressDisplay() as watch:
        instead = {"threads": args.threads, "dataset": args.dataset}
        crosses = sweep.crosses(args.file, registry, args.records, watch.step, watch.progress, **instead)
        if args.dry_run:
            print_result(args, *run_summary.planned(crosses, chosen))
            return 0
        watch.expect(run_summary.jobs_left(crosses))
        with tracking(args.log, [piece.spec for each in crosses for piece in each.pieces], args.records) as finished:
            joined = engine.run(crosses, chosen, watch.step, finished)
        cells = [cell for cells_of_cross in joined for cell in cells_of_cross]
    limits = calibrated(registry.thresholds)
    if args.json:
        print_result(args, run_summary.document(cells, limits), None)
    else:
        run_summary.show(cells, [], console(), args.legend, limits)
    for line in run_summary.troubles(cells):
        log.warning("%s", one_line(line))
    return 1 if any(cell.status == "failed" for cell in cells) else 0
