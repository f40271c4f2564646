"""`harness check`: run a small suite again and compare it with a committed baseline."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.common import (
    add_cache_options,
    add_command,
    add_engine_options,
    engine_from,
    path_type,
    print_result,
    print_written,
    registry_from,
    start_workers_early,
)
from harness.errors import HarnessError
from harness.registry import Registry
from harness.registry.settings import did_you_mean
from harness.system.messages import log
from harness.system.numbers import check_count, finite
from harness.system.schema import shown

if TYPE_CHECKING:
    from harness.check.changes import Comparison
    from harness.records import RunResult
    from harness.system.progress import ProgressDisplay


def add(subparsers: Any) -> None:
    check = add_command(
        subparsers, "check", run_check, "run a small suite again, and fail where its baseline was better"
    )
    check.set_defaults(again="starts it again")
    check.add_argument("baseline", type=path_type, metavar="BASELINE", help="folder of the records to compare with")
    check.add_argument(
        "--suite", type=path_type, metavar="FILE", help="what is run, as for sweep (experiments/ci.yaml)"
    )
    check.add_argument(
        "--seeds",
        type=_seeds,
        metavar="N",
        help="how many seeds of each of the suite's tables (a third, 2 at least), or which: 10,11",
    )
    check.add_argument("--update", action="store_true", help="run all seeds, show what moved, and rewrite the baseline")
    check.add_argument(
        "--tolerance", action="append", default=[], metavar="SCORE=CHANGE", help="a change of a score that may pass"
    )
    add_cache_options(check)
    add_engine_options(check)
    check.add_argument(
        "--records", type=path_type, metavar="DIR", help="keep the new run's records, and continue from them"
    )
    check.add_argument("--summary", type=path_type, metavar="FILE", help="write what moved as Markdown")
    check.add_argument("--junit", type=path_type, metavar="FILE", help="write it as JUnit XML")


def run_check(args: argparse.Namespace) -> int:
    from harness.check.suite import own_registry

    args.registry = [*args.registry, *own_registry(_suite(args))]
    registry = registry_from(args)
    tolerances = _tolerances(args.tolerance, registry)
    if args.update and args.seeds is not None:
        raise HarnessError("--seeds: a baseline holds all seeds of its suite; remove --seeds, or change the suite's")
    start_workers_early(registry)
    from harness.check import baseline, output
    from harness.check.compare import compare
    from harness.system.files import check_writable
    from harness.system.progress import ProgressDisplay

    check_writable(args.summary, args.junit)
    engine_from(args)
    if args.update:
        baseline.check_renewable(args.baseline)
    before = baseline.sound(args.baseline) if args.update else baseline.read(args.baseline)
    start = time.perf_counter()
    with ProgressDisplay() as watch:
        after = _update_baseline(args, registry, watch) if args.update else _run_suite(args, registry, watch)
    comparison = compare(before, after, tolerances)
    _write(args, comparison, time.perf_counter() - start)
    name = str(args.baseline)
    document, text = (
        output.document(comparison, name),
        "\n".join([output.headline(comparison, name), *output.lines(comparison)]),
    )
    if args.update:
        print_written(args, document, text, [args.baseline])
    else:
        print_result(args, document, text)
    failures = [f"{' '.join(each.spec.names)}: {each.reason}" for each in after if each.status == "failed"]
    for line in dict.fromkeys(failures):
        log.error("failed: %s", line)
    if args.update:
        return 0
    return 3 if comparison.failed else 1 if failures else 0


def _run_suite(args: argparse.Namespace, registry: Registry, watch: ProgressDisplay) -> list[RunResult]:
    """Run the first seeds of the suite's tables, reusing the records in --records."""
    from harness.check import suite
    from harness.system.scratch import scratch_folder

    with ExitStack() as stack:
        folder = args.records or stack.enter_context(scratch_folder())
        seeds = suite.choice(args.seeds)
        return suite.run(_suite(args), registry, folder, seeds, engine_from(args), args.threads, watch)


def _update_baseline(args: argparse.Namespace, registry: Registry, watch: ProgressDisplay) -> list[RunResult]:
    """Run all of the suite's seeds and replace the baseline; refused where a cell failed."""
    from harness.check import baseline, suite

    def run(folder: Path) -> list[RunResult]:
        written_to = args.records or folder
        engine = engine_from(args)
        results = suite.run(
            *(_suite(args), registry, written_to, suite.all_seeds, engine, args.threads, watch),
            planned=lambda specs: baseline.check_renewable(args.baseline, specs),
        )
        if args.records:
            baseline.copy_records(results, written_to, folder)
        failures = [f"{' '.join(each.spec.names)}: {each.reason}" for each in results if each.status == "failed"]
        if failures:
            raise HarnessError(f"baseline {args.baseline} was not changed, because a cell failed: {failures[0]}")
        return results

    return baseline.renew(args.baseline, run)


def _suite(args: argparse.Namespace) -> Path:
    from harness.check.suite import builtin_suite

    return args.suite or builtin_suite()


def _write(args: argparse.Namespace, comparison: Comparison, seconds: float) -> None:
    from harness.check.output import junit, markdown
    from harness.system.files import write_text_atomically

    if args.summary:
        write_text_atomically(args.summary, markdown(comparison, str(args.baseline)))
    if args.junit:
        write_text_atomically(args.junit, junit(comparison, str(args.baseline), seconds))


def _seeds(text: str) -> int | tuple[int, ...]:
    """How many; with commas, which."""
    if not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", text) or text == "0":
        raise argparse.ArgumentTypeError(f"seeds {shown(text)}: write how many, 1 or more, or which, as 10,11")
    named = tuple(map(int, text.split(",")))
    if len(set(named)) < len(named):
        raise argparse.ArgumentTypeError(f"seeds {shown(text)}: name each once")
    try:
        check_count("seeds", named[0] if len(named) == 1 else len(named))
    except HarnessError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return named[0] if len(named) == 1 else named


def _tolerances(args: Sequence[str], registry: Registry) -> dict[str, float]:
    from harness.scores import comparable

    known = [*comparable(), *registry.section("metrics")]
    tolerances = {}
    for text in args:
        score, _, value = text.partition("=")
        if score not in known:
            raise HarnessError(f"no score called {score!r} is compared{did_you_mean(score, known)}")
        change = finite(value)
        if change is None or change < 0:
            raise HarnessError(f"tolerance {shown(text)}: a change is a number, 0 or more; use {score}=0.02")
        tolerances[score] = change
    return tolerances
