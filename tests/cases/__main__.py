"""`python -m tests.cases [NAME ...]`: run the scripts, print a table, and exit 1 if one of them fails."""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import cases


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    arguments.add_argument("--jobs", type=int, default=1, help="scripts at a time")
    arguments.add_argument("--verbose", action="store_true", help="print what each failing script printed")
    given = arguments.parse_args()
    unknown = sorted(set(given.names) - set(cases.names()))
    if unknown:
        arguments.error(f"no case {unknown[0]!r}; there are {', '.join(cases.names())}")
    chosen = given.names or cases.names()
    skipped = [] if cases.may_mount() else [name for name in chosen if cases.needs_root(name)]
    failed = 0
    print("| case | result | seconds |\n|---|---|---|")
    with ThreadPoolExecutor(given.jobs) as pool:
        for outcome in pool.map(run, [name for name in chosen if name not in skipped]):
            failed += outcome.code != 0
            result = "ok" if outcome.code == 0 else f"exit {outcome.code}: {outcome.last_line[:110]}"
            print(f"| {outcome.name} | {result} | {outcome.seconds:.0f} |", flush=True)
            if given.verbose and outcome.code:
                print(outcome.output, file=sys.stderr, flush=True)
    for name in skipped:
        print(f"| {name} | skipped: needs root | |")
    print(f"\n{len(chosen)} cases, {failed} failed, {len(skipped)} skipped")
    return 1 if failed else 0


def run(name: str) -> cases.Outcome:
    with tempfile.TemporaryDirectory(prefix="case.") as place:
        return cases.run(name, Path(place))


if __name__ == "__main__":
    sys.exit(main())
