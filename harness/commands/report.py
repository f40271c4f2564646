"""`harness report`: one HTML page from records, and figures for a paper."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from harness.commands.common import (
    add_command,
    add_data_options,
    add_records_option,
    path_type,
    print_result,
    registry_from,
)
from harness.system.messages import log
from harness.system.text import counted, one_line

if TYPE_CHECKING:
    from harness.registry import Registry
    from harness.report.collect import Report


def add(subparsers: Any) -> None:
    report = add_command(
        subparsers, "report", make_report, "one self-contained HTML page from records, and figures", needs_scratch=False
    )
    add_records_option(report, "records")
    report.add_argument(
        "--also", type=path_type, action="append", default=[], metavar="DIR",
        help="a further folder of records, whose boards and curves follow; several times for several",
    )  # fmt: skip
    report.add_argument(
        "--pictures", choices=("best", "quick", "none"), default="quick",
        help="originals, releases and reconstructions, made again once: by the attack that comes nearest, which may "
        "train for as long as it did (best), by the nearest that trains no network (quick, the default), or none",
    )  # fmt: skip
    add_data_options(report)
    report.set_defaults(dataset=None)
    report.add_argument("--device", help="where pictures are made, if not as the records were: cpu or cuda")
    report.add_argument("--out", type=path_type, metavar="FILE", help="the page (report.html in the records folder)")
    report.add_argument(
        "--sheet",
        type=path_type,
        action="append",
        default=[],
        metavar="FILE",
        help="a PNG sheet to show; several times for several (every PNG file in the records folder)",
    )
    report.add_argument(
        "--figures", type=path_type, metavar="DIR", help="also privacy_utility, attacks and spending as PNG and SVG"
    )


def _with_pictures(report: Report, registry: Registry, args: argparse.Namespace) -> Report:
    from harness.system.device import use_threads
    from harness.system.progress import ProgressDisplay
    from harness.tools.board_pictures import jobs, with_pictures

    use_threads()
    with ProgressDisplay() as watch:
        watch.expect(jobs(report, args.pictures))
        made = with_pictures(report, registry, vars(args), args.pictures, watch.step)
    for problem in made.problems:
        log.warning("%s", one_line(problem))
    if made.originals:
        held = counted(made.originals, "original image")
        log.warning("the page holds %s; --pictures none leaves pictures out", held)
    return made.report


def make_report(args: argparse.Namespace) -> int:
    from harness.leaderboard.limits import calibrated
    from harness.records.provenance import CodeAtHand
    from harness.report.collect import check_out, collect, write
    from harness.report.html.chart_data import document

    if args.out:
        check_out(args.out)
    out = args.out or args.records / "report.html"
    registry = registry_from(args)
    report = collect(args.records, args.sheet, CodeAtHand(registry), args.also, calibrated(registry.thresholds))
    figures = []
    if args.figures:
        from harness.report.figures.draw import draw

        figures = draw(report, args.figures)
    if args.pictures != "none":
        report = _with_pictures(report, registry, args)
    from harness.report.html.page import render

    write(out, render(report))
    print_result(args, {"page": str(out), "figures": list(map(str, figures)), **document(report)}, None)
    log.info("wrote %s", ", ".join(map(str, (out, *figures))))
    return 0
