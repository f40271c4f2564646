"""`harness measure`: the metrics between two images or two folders."""

from __future__ import annotations

import argparse
from typing import Any

from harness.commands.common import (
    add_command,
    path_type,
    print_result,
    registry_from,
)
from harness.registry import bind


def add(subparsers: Any) -> None:
    measure = add_command(subparsers, "measure", measure_files, "the metrics between two images or two folders")
    measure.add_argument("a", type=path_type)
    measure.add_argument("b", type=path_type)
    measure.add_argument("--metric", action="append", help="only these (all)")


def measure_files(args: argparse.Namespace) -> int:
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
