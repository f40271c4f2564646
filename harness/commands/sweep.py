"""`harness sweep`: the crosses of a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.commands.common import command, console, emit, engine_of, engine_options, records_option, registry_of


def add(subparsers: Any) -> None:
    sweep = command(subparsers, "sweep", run_sweep, "the crosses of a file: lists and ranges of everything")
    sweep.add_argument("file", type=Path, help="YAML, such as experiments/table7.yaml")
    sweep.add_argument("--dataset", help="in the place of the file's")
    engine_options(sweep)
    records_option(sweep, "where records go")
    sweep.add_argument("--offline", action="store_true", help="download nothing; what is missing is named")
    sweep.add_argument("--dry-run", action="store_true", help="print the plan and what it will cost, and stop")


def run_sweep(given: argparse.Namespace) -> int:
    registry = registry_of(given)
    from harness.report import run_summary
    from harness.run import engine, sweep
    from harness.system.progress import ProgressDisplay

    chosen = engine_of(given)
    with ProgressDisplay() as watch:
        instead = {"threads": given.threads, "dataset": given.dataset}
        crosses = sweep.crosses(given.file, registry, given.records, watch.step, watch.progress, **instead)
        if given.dry_run:
            emit(given, *run_summary.planned(crosses, chosen))
            return 0
        watch.expect(sum(not item["done"] for item in run_summary.plan(crosses)))
        cells = [cell for found in engine.run(crosses, chosen, watch.step) for cell in found]
    if given.json:
        emit(given, run_summary.document(cells), None)
    else:
        run_summary.show(cells, [], console())
    for line in run_summary.troubles(cells):
        print(line, file=sys.stderr)
    return 1 if any(cell.status == "failed" for cell in cells) else 0
