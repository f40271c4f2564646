"""`harness measure`: the metrics between two images or two folders, or of a client's own release to its originals."""

from __future__ import annotations

import argparse
from typing import Any

from harness.commands.common import (
    add_command,
    path_type,
    print_result,
    registry_from,
)
from harness.commands.published import add_published_options, published_bench, refuse_without_release
from harness.errors import HarnessError
from harness.registry import bind


def add(subparsers: Any) -> None:
    measure = add_command(
        subparsers, "measure", measure_files, "the metrics between two images or folders, or of your own release"
    )
    measure.add_argument("a", type=path_type, help="images, or what harness obfuscate released")
    measure.add_argument("b", type=path_type, nargs="?", help="the originals of the same names")
    measure.add_argument("--metric", action="append", help="only these (all)")
    measure.add_argument("--dataset", type=path_type, metavar="FOLDER", help="the originals of a release")
    add_published_options(measure)


def measure_files(args: argparse.Namespace) -> int:
    if args.secret:
        return _measure_published(args)
    if args.b is None:
        raise HarnessError(f"{args.a} beside what? give two images or folders, or --secret and --dataset of a release")
    refuse_without_release(args, "--secret")
    if args.dataset is not None:
        raise HarnessError("--dataset is of a client's own release; give its --secret as well")
    from harness.leaderboard.format import figure
    from harness.system.device import use_threads
    from harness.tools.measure import measure

    registry = registry_from(args)
    names = args.metric or list(registry.section("metrics"))
    metrics = {name: bind(registry.get("metrics", name)) for name in names}
    use_threads()
    document = measure(args.a, args.b, metrics)
    width = max(map(len, names))
    lines = [
        f"{name:{width}} {figure(score) if score['mean'] is not None else score.get('reason', '-')}"
        for name, score in document["scores"].items()
    ]
    print_result(args, document, "\n".join(lines))
    return 0


def _measure_published(args: argparse.Namespace) -> int:
    from harness.publish.measured import document, lines, measured
    from harness.records import Records

    if args.b is not None or args.metric:
        extra = str(args.b) if args.b is not None else "--metric"
        raise HarnessError(f"{extra} does not go with --secret: every score of the release is measured")
    if args.dataset is None:
        raise HarnessError("--secret needs the originals as well; give their folder with --dataset")
    bench = published_bench(args, args.a, registry_from(args), Records.nowhere())
    record = measured(bench)
    print_result(args, document(bench, record), "\n".join(lines(bench, record)))
    return 0
