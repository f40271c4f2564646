"""`python -m tests.fuzz [TARGET ...] --count 20000 [--command]`: a table of what happened; exit 1 for any fault."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

from tests.fuzz import campaign
from tests.fuzz.material import Material
from tests.fuzz.targets import TARGETS


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (all)")
    arguments.add_argument("--count", type=int, default=2000, help="inputs of each (2000)")
    arguments.add_argument("--first", type=int, default=0, metavar="N", help="the number of the first (0)")
    arguments.add_argument("--command", action="store_true", help="through the real command, a process for each")
    given = arguments.parse_args()
    unknown = sorted(set(given.targets) - set(TARGETS))
    if unknown:
        arguments.error(f"no target {unknown[0]!r}; there are {', '.join(TARGETS)}")
    run = campaign.by_command if given.command else campaign.in_process
    if not given.command and hasattr(os, "sched_setaffinity"):  # OpenMP's threads do not outlive a fork: start none
        os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})
    bad = 0
    print(f"| {' | '.join(campaign.HEADS)} |\n|{'---|' * len(campaign.HEADS)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fuzz.") as folder:
        material = Material(Path(folder))
        for target in given.targets or TARGETS:
            _ = (
                material.records,
                material.release,
                material.challenge,
                material.code,
                material.registry,
            )  # made once, before any fork
            count = run(target, given.first, given.first + given.count, material)
            bad += count.bad
            print(f"| {' | '.join(count.row())} |", flush=True)
            print("\n".join(campaign.one_of_each_kind(count)), file=sys.stderr, flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
