"""`harness report`: one HTML page from records, and figures for a paper."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from harness.commands.common import (
    add_command,
    add_records_option,
    path_type,
    print_result,
    registry_from,
)


def add(subparsers: Any) -> None:
    report = add_command(
        subparsers, "report", make_report, "one self-contained HTML page from records, and figures", needs_scratch=False
    )
    add_records_option(report, "records")
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


def make_report(args: argparse.Namespace) -> int:
    from harness.records.provenance import CodeAtHand
    from harness.report.collect import check_out, collect, write
    from harness.report.html.chart_data import document

    if args.out:
        check_out(args.out)
    out = args.out or args.records / "report.html"
    report = collect(args.records, args.sheet, CodeAtHand(registry_from(args)))
    figures = []
    if args.figures:
        from harness.report.figures.draw import draw

        figures = draw(report, args.figures)
    from harness.report.html.page import render

    write(out, render(report))
    print_result(args, {"page": str(out), "figures": list(map(str, figures)), **document(report)}, None)
    print("wrote " + ", ".join(map(str, (out, *figures))), file=sys.stderr)
    return 0
