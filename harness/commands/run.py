"""`harness run`: defenses crossed with attacks."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.commands.common import (
    add_checkpoint_option,
    add_command,
    add_data_options,
    add_defense_settings,
    add_device_option,
    add_engine_options,
    add_legend_option,
    add_log_option,
    add_records_option,
    engine_from,
    path_type,
    print_result,
    registry_from,
)
from harness.commands.published import add_published_options, published_cross, refuse_without_release
from harness.errors import HarnessError
from harness.registry import parse_settings
from harness.system.messages import log
from harness.system.numbers import check_count, count, whole
from harness.system.output import console
from harness.system.schema import shown
from harness.system.text import one_line

if TYPE_CHECKING:
    from harness.run.engine import RunOptions


MOST_SCHEDULES = 100


def add(subparsers: Any) -> None:
    run = add_command(subparsers, "run", run_cross, "obfuscate, attack, measure, record, and print the board")
    run.add_argument("--defense", help="a name, several with commas, or all")
    run.add_argument(
        "--attack", help="a name, several with commas, or all (those that a verdict needs: harness run --dry-run)"
    )
    run.add_argument(
        "--release", type=path_type, metavar="DIR", help="instead of a defense: what harness obfuscate released"
    )
    add_published_options(run)
    add_data_options(run)
    run.add_argument("--name", metavar="TEXT", help="how boards call the data set (its own name)")
    add_defense_settings(run)
    run.add_argument("-A", dest="attack_settings", action="append", default=[], metavar="KNOB=VALUE")
    run.add_argument(
        "--epochs",
        type=_several("epochs"),
        default=[10],
        metavar="T[,T...]",
        help="training epochs (10; the paper: 20)",
    )
    run.add_argument(
        "--releases",
        type=_several("releases"),
        default=[None],
        metavar="R[,R...]",
        help="distinct releases: epoch e trains on release e mod R (as many as epochs); several, or several epochs, "
        "for scores against R",
    )
    run.add_argument(
        "--figure", type=path_type, metavar="FILE", help="where that curve is drawn (in the records folder)"
    )
    run.add_argument("--seeds", type=count("seeds"), default=1, metavar="N", help="repeat with seeds 0 to N-1 (1)")
    run.add_argument(
        "--targets", type=count("targets"), default=1000, metavar="N", help="originals that are scored (1000)"
    )
    run.add_argument("--no-utility", dest="utility", action="store_false", help="train no model on the release")
    run.add_argument(
        "--model",
        help="network of the utility model (resnet10t; resnet18 with --recipe paper), or package.module:function of "
        "your own",
    )
    run.add_argument("--recipe", help="its training: default or paper")
    add_checkpoint_option(run, "weights that the model begins with")
    add_device_option(run)
    add_engine_options(run)
    add_records_option(run, "where records go")
    add_log_option(run)
    add_legend_option(run)
    run.add_argument("--dry-run", action="store_true", help="print the plan and stop")


def run_cross(args: argparse.Namespace) -> int:
    registry = registry_from(args)
    if args.release is None:
        refuse_without_release(args, "--release")
        if args.defense is None:
            raise HarnessError("whose images? name a --defense, or a client's own --release; see harness run --help")
        registry.choose("defenses", args.defense.split(","), parse_settings(args.defense_settings))  # refused at once
    if args.attack is None:
        from harness.leaderboard.completeness import VERDICT_ATTACKS

        args.attack = ",".join(VERDICT_ATTACKS)
        log.info("attacks, the fewest that a verdict needs: %s", ", ".join(VERDICT_ATTACKS))
    attacks = registry.choose("attacks", args.attack.split(","), parse_settings(args.attack_settings))
    from harness.leaderboard.limits import calibrated
    from harness.report import epoch_curves, run_summary
    from harness.run import engine
    from harness.run.options import check_releases
    from harness.system.progress import ProgressDisplay
    from harness.trackers import tracking

    chosen = engine_from(args)
    schedules = list(itertools.product(args.epochs, args.releases))
    for epochs, releases in schedules:
        check_releases(epochs, releases)
    with ProgressDisplay() as watch:
        options = _run_options(args)
        if args.release is None:
            cross = engine.prepare(options, registry, watch.step, watch.progress)
            crosses = [cross.with_epochs(epochs, releases) for epochs, releases in schedules]
        else:
            cross = published_cross(args, options, attacks, registry, watch.step, watch.progress)
            crosses, chosen = [cross], replace(chosen, workers=1, here=True)
        engine.check_plugins(crosses)
        pairs = run_summary.pairs_to_draw(crosses, args.figure)
        if args.dry_run:
            print_result(args, *run_summary.planned(crosses, chosen))
            return 0
        cross.refuse_what_cannot_run()
        watch.expect(run_summary.jobs_left(crosses))
        with tracking(args.log, [piece.spec for each in crosses for piece in each.pieces], args.records) as finished:
            joined = engine.run(crosses, chosen, watch.step, finished)
        cells = [cell for cells_of_cross in joined for cell in cells_of_cross]
    limits = calibrated(registry.thresholds)
    curves = epoch_curves.of_run(cells, pairs, limits)
    if args.json:
        print_result(args, run_summary.document(cells, limits), None)
    else:
        run_summary.show(cells, curves, console(), args.legend, limits)
    for line in run_summary.troubles(cells):
        log.warning("%s", one_line(line))
    for file in run_summary.draw(curves, args.records, args.figure):
        log.info("drew %s", file)
    if all(cell.status == "skipped" for cell in cells):  # nothing was attacked: the caller must provide what is missing
        return 2
    return 1 if any(cell.status == "failed" for cell in cells) else 0


def _run_options(args: argparse.Namespace) -> RunOptions:
    from harness.run.engine import RunOptions

    names = RunOptions.__dataclass_fields__
    chosen = {name: value for name, value in vars(args).items() if name in names}
    chosen |= {name: getattr(args, name).split(",") for name in ("defense", "attack") if getattr(args, name)}
    chosen |= {"epochs": args.epochs[0], "releases": args.releases[0]}
    chosen |= {name: parse_settings(getattr(args, name)) for name in ("defense_settings", "attack_settings")}
    return RunOptions(**chosen)


def _several(name: str) -> Callable[[str], list[int]]:
    """Reads one number, or several different ones."""

    def read(text: str) -> list[int]:
        numbers: list[int] = []
        for part in text.split(","):
            number = whole(part)
            if number is None:
                said = f"{name} {shown(part)} is no whole number; use 10, or several as 1,2,5,10"
                raise argparse.ArgumentTypeError(said)
            try:
                check_count(name, number)
            except HarnessError as error:
                raise argparse.ArgumentTypeError(str(error)) from None
            if number in numbers:
                raise argparse.ArgumentTypeError(f"{name} {number} stands twice in {shown(text)}; name each once")
            numbers.append(number)
        if len(numbers) > MOST_SCHEDULES:
            raise argparse.ArgumentTypeError(f"{len(numbers)} {name}; {MOST_SCHEDULES} at most at a time")
        return numbers

    return read
