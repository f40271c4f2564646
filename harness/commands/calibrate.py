"""`harness calibrate`: judgements of people and attacks to thresholds for one data set and image size."""

from __future__ import annotations

import argparse
from typing import Any

from harness.commands.common import add_command, path_type, print_result, registry_from
from harness.system.messages import log


def add(subparsers: Any) -> None:
    text = "from which distance on people do not recognise your images: ROC curves and thresholds from judgements"
    calibrate = add_command(subparsers, "calibrate", calibrate_thresholds, text, needs_scratch=False)
    calibrate.add_argument(
        "judgements", type=path_type, nargs="+", metavar="JUDGEMENTS",
        help="what harness survey score and harness survey ask wrote with --out; of one data set and size",
    )  # fmt: skip
    calibrate.add_argument(
        "--survey", action="append", default=[], metavar="ID",
        help="judgements of this survey alone; several times for several (every one in the files)",
    )  # fmt: skip
    calibrate.add_argument(
        "--out", type=path_type, required=True, metavar="FOLDER",
        help="tables, figures, JSON, and thresholds.yaml for --registry",
    )  # fmt: skip


def calibrate_thresholds(args: argparse.Namespace) -> int:
    from harness.study.calibration import output
    from harness.study.calibration.calibrate import calibrate, document
    from harness.study.calibration.gather import gather
    from harness.study.calibration.tables import text

    registry_from(args)
    output.check_place(args.out, args.judgements)
    found = calibrate(gather(args.judgements, args.survey))
    written = output.write(found, args.out)
    print_result(args, {**document(found), "files": list(map(str, written))}, text(found))
    log.info("wrote %s", ", ".join(map(str, written)))
    return 0
