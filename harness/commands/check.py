"""`harness check`: a small suite, run again and held against a committed baseline."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.common import command, emit, engine_of, engine_options, registry_of
from harness.errors import HarnessError
from harness.registry import Registry
from harness.registry.settings import did_you_mean

if TYPE_CHECKING:
    from harness.check.changes import Comparison
    from harness.records import RunResult
    from harness.system.progress import ProgressDisplay


def add(subparsers: Any) -> None:
    check = command(subparsers, "check", run_check, "run a small suite again, and fail where its baseline was better")
    check.set_defaults(again="starts it again")
    check.add_argument("baseline", type=Path, metavar="BASELINE", help="folder of the records to compare with")
    check.add_argument("--suite", type=Path, metavar="FILE", help="what is run, as for sweep (experiments/ci.yaml)")
    check.add_argument("--seeds", type=_seeds, metavar="N", help="how many of the suite's seeds (2), or which: 10,11")
    check.add_argument("--update", action="store_true", help="run all seeds, show what moved, and rewrite the baseline")
    check.add_argument(
        "--tolerance", action="append", default=[], metavar="SCORE=CHANGE", help="a change of a score that may pass"
    )
    engine_options(check)
    check.add_argument("--records", type=Path, metavar="DIR", help="keep the new run's records, and continue from them")
    check.add_argument("--summary", type=Path, metavar="FILE", help="write what moved as Markdown")
    check.add_argument("--junit", type=Path, metavar="FILE", help="write it as JUnit XML")


def run_check(given: argparse.Namespace) -> int:
    registry = registry_of(given)
    tolerances = _tolerances(given.tolerance, registry)
    if given.update and given.seeds is not None:
        raise HarnessError("--seeds: a baseline holds all seeds of its suite; remove --seeds, or change the suite's")
    from harness.check import baseline, output
    from harness.check.compare import compare
    from harness.records import Records
    from harness.system.files import check_writable
    from harness.system.progress import ProgressDisplay

    check_writable(given.summary, given.junit)
    engine_of(given)
    before = list(Records(given.baseline).all()) if given.update else baseline.read(given.baseline)
    start = time.perf_counter()
    with ProgressDisplay() as watch:
        after = _renewed(given, registry, watch) if given.update else _again(given, registry, watch)
    comparison = compare(before, after, tolerances)
    _write(given, comparison, time.perf_counter() - start)
    name = str(given.baseline)
    emit(
        given,
        output.document(comparison, name),
        "\n".join([output.headline(comparison, name), *output.lines(comparison)]),
    )
    broken = [f"{' '.join(each.spec.names)}: {each.reason}" for each in after if each.status == "failed"]
    for line in dict.fromkeys(broken):
        print(f"failed: {line}", file=sys.stderr)
    if given.update:
        return 0
    return 3 if comparison.failed else 1 if broken else 0


def _again(given: argparse.Namespace, registry: Registry, watch: ProgressDisplay) -> list[RunResult]:
    """The suite's first seeds, run from nothing unless --records has some of it."""
    from harness.check import suite

    with ExitStack() as stack:
        folder = given.records or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harness-check-")))
        return suite.run(_suite(given), registry, folder, given.seeds or 2, engine_of(given), given.threads, watch)


def _renewed(given: argparse.Namespace, registry: Registry, watch: ProgressDisplay) -> list[RunResult]:
    """All of the suite's seeds, put where the baseline was; what failed is no baseline."""
    from harness.check import baseline, suite

    def run(folder: Path) -> list[RunResult]:
        place = given.records or folder
        made = suite.run(_suite(given), registry, place, None, engine_of(given), given.threads, watch)
        if given.records:
            baseline.copy_records(made, place, folder)
        broken = [f"{' '.join(each.spec.names)}: {each.reason}" for each in made if each.status == "failed"]
        if broken:
            raise HarnessError(f"baseline {given.baseline} is left as it was, for a cell failed: {broken[0]}")
        return made

    return baseline.renew(given.baseline, run)


def _suite(given: argparse.Namespace) -> Path:
    from harness.check.suite import builtin_suite

    return given.suite or builtin_suite()


def _write(given: argparse.Namespace, comparison: Comparison, seconds: float) -> None:
    from harness.check.output import junit, markdown
    from harness.system.files import write_text_atomically

    if given.summary:
        write_text_atomically(given.summary, markdown(comparison, str(given.baseline)))
    if given.junit:
        write_text_atomically(given.junit, junit(comparison, str(given.baseline), seconds))


def _seeds(text: str) -> int | tuple[int, ...]:
    """How many, or with commas which."""
    if not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", text) or text == "0":
        raise argparse.ArgumentTypeError(f"seeds {text!r}: write how many, 1 or more, or which, as 10,11")
    named = tuple(map(int, text.split(",")))
    if len(set(named)) < len(named):
        raise argparse.ArgumentTypeError(f"seeds {text!r}: name each once")
    return named[0] if len(named) == 1 else named


def _tolerances(given: Sequence[str], registry: Registry) -> dict[str, float]:
    from harness.scores import comparable

    known = [*comparable(), *registry.section("metrics")]
    found = {}
    for text in given:
        score, _, value = text.partition("=")
        if score not in known:
            raise HarnessError(f"no score called {score!r} is compared{did_you_mean(score, known)}")
        try:
            found[score] = float(value)
        except ValueError:
            found[score] = -1.0
        if not 0 <= found[score] < float("inf"):
            raise HarnessError(f"tolerance {text!r}: a change is a number, 0 or more; use {score}=0.02")
    return found
