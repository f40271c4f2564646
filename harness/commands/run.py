"""`harness run`: defenses crossed with attacks."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.common import (
    command,
    console,
    data_options,
    defense_settings,
    device_option,
    emit,
    engine_of,
    engine_options,
    records_option,
    registry_of,
)
from harness.registry import parse_settings

if TYPE_CHECKING:
    from harness.run.engine import RunOptions


def add(subparsers: Any) -> None:
    run = command(subparsers, "run", run_cross, "obfuscate, attack, measure, record, and print the board")
    run.add_argument("--defense", required=True, help="a name, several with commas, or all")
    run.add_argument("--attack", required=True, help="a name, several with commas, or all")
    data_options(run)
    defense_settings(run)
    run.add_argument("-A", dest="attack_settings", action="append", default=[], metavar="KNOB=VALUE")
    run.add_argument(
        "--epochs",
        type=_epochs,
        default=[10],
        metavar="T[,T...]",
        help="releases, one training epoch each (10; the paper: 20); several, 1,2,5,10,20, for privacy left against T",
    )
    run.add_argument("--figure", type=Path, metavar="FILE", help="where that curve is drawn (in the records folder)")
    run.add_argument("--seeds", type=int, default=1, metavar="N", help="repeat with seeds 0 to N-1 (1)")
    run.add_argument("--targets", type=int, default=1000, metavar="N", help="originals that are scored (1000)")
    run.add_argument("--no-utility", dest="utility", action="store_false", help="train no model on the release")
    run.add_argument("--model", help="network of the utility model (resnet18)")
    run.add_argument("--recipe", help="its training: default or paper")
    device_option(run)
    engine_options(run)
    records_option(run, "where records go")
    run.add_argument("--dry-run", action="store_true", help="print the plan and stop")


def run_cross(given: argparse.Namespace) -> int:
    registry = registry_of(given)
    registry.choose("defenses", given.defense.split(","), parse_settings(given.defense_settings))  # refused at once:
    registry.choose("attacks", given.attack.split(","), parse_settings(given.attack_settings))  # torch takes seconds
    from harness.report import epoch_curves, run_summary
    from harness.run import engine
    from harness.system.progress import ProgressDisplay

    chosen = engine_of(given)
    with ProgressDisplay() as watch:
        cross = engine.prepare(_order(given), registry, watch.step, watch.progress)
        crosses = [cross.with_epochs(epochs) for epochs in given.epochs]
        pairs = run_summary.pairs_to_draw(crosses, given.figure)
        if given.dry_run:
            emit(given, *run_summary.planned(crosses, chosen))
            return 0
        cross.refuse_what_cannot_run()
        watch.expect(sum(not item["done"] for item in run_summary.plan(crosses)))
        cells = [cell for found in engine.run(crosses, chosen, watch.step) for cell in found]
    spent = epoch_curves.of_run(cells, pairs)
    if given.json:
        emit(given, run_summary.document(cells), None)
    else:
        run_summary.show(cells, spent, console())
    for line in run_summary.troubles(cells):
        print(line, file=sys.stderr)
    for file in run_summary.draw(spent, given.records, given.figure):
        print(f"drew {file}", file=sys.stderr)
    if all(cell.status == "skipped" for cell in cells):  # nothing was attacked: what it lacks is the caller's to mend
        return 2
    return 1 if any(cell.status == "failed" for cell in cells) else 0


def _order(given: argparse.Namespace) -> RunOptions:
    from harness.run.engine import RunOptions

    names = RunOptions.__dataclass_fields__
    chosen = {name: value for name, value in vars(given).items() if name in names}
    chosen |= {name: getattr(given, name).split(",") for name in ("defense", "attack")} | {"epochs": given.epochs[0]}
    chosen |= {name: parse_settings(getattr(given, name)) for name in ("defense_settings", "attack_settings")}
    return RunOptions(**chosen)


def _epochs(text: str) -> list[int]:
    """One T, or several that differ."""
    found: list[int] = []
    for part in text.split(","):
        if not re.fullmatch(r"-?[0-9]{1,9}", part.strip()):
            raise argparse.ArgumentTypeError(f"epochs {part!r} is no whole number; use 10, or several as 1,2,5,10")
        if int(part) < 1:
            raise argparse.ArgumentTypeError(f"epochs {int(part)} is too few; use 1 or more")
        if int(part) in found:
            raise argparse.ArgumentTypeError(f"epochs {int(part)} stands twice in {text!r}; name each once")
        found.append(int(part))
    return found
