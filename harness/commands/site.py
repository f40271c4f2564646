"""`harness site`: a leaderboard as a folder of static pages."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.common import add_command, add_records_option, path_type, print_result, registry_from
from harness.errors import HarnessError
from harness.system.text import counted

if TYPE_CHECKING:
    from harness.registry import Registry
    from harness.report.site.pages import About


def add(subparsers: Any) -> None:
    site = add_command(
        subparsers,
        "site",
        make_site,
        "a leaderboard as static pages: boards, defenses, records and a search",
        needs_scratch=False,
    )
    add_records_option(site, "records")
    site.add_argument(
        "--also", type=path_type, action="append", default=[], metavar="DIR",
        help="a further folder of records, whose boards follow; several times for several",
    )  # fmt: skip
    site.add_argument(
        "--out", type=path_type, default=Path("site"), metavar="DIR",
        help="the folder: a new or an empty one, or an unchanged site of this command, which is replaced (site/)",
    )  # fmt: skip
    site.add_argument(
        "--home", default="", metavar="ADDRESS",
        help="a page that every page links to as Docs: from the top of the site, such as ../index.html",
    )  # fmt: skip


def make_site(args: argparse.Namespace) -> int:
    from harness.leaderboard.limits import calibrated
    from harness.records.provenance import CodeAtHand
    from harness.report.collect import collect
    from harness.report.site.folder import check, write
    from harness.report.site.pages import Site, pages

    check(args.out)
    if ":" in args.home.partition("/")[0] and not args.home.startswith(("https://", "http://")):
        raise HarnessError(f"--home {args.home}: expected a relative path, or an address that begins with https://")
    registry = registry_from(args)
    report = collect(args.records, None, CodeAtHand(registry), args.also, calibrated(registry.thresholds))
    site = Site(report, _about(registry), args.home)
    number, size = write(args.out, pages(site))
    boards = [{"title": section.board.title, "page": site.addresses.board(section)} for section in site.report.sections]
    print_result(args, {"site": str(args.out), "files": number, "bytes": size, "boards": boards}, None)
    held = f"{counted(len(boards), 'board')}, {counted(len(site.report.records), 'record')}"
    print(f"wrote {args.out / 'index.html'} ({held}; {number:,} files, {size / 1e6:.1f} MB)", file=sys.stderr)
    return 0


def _about(registry: Registry) -> dict[str, About]:
    from harness.registry.availability import what_it_does, why_unavailable
    from harness.report.site.pages import About

    found = {}
    for name, entry in registry.section("defenses").items():
        does = "" if why_unavailable(entry) else what_it_does(entry)
        found[name] = About(does, entry.cite if entry.cite != does else "")
    return found
