"""What commands share: options of more than one of them, the registry that was asked for, and where the answer goes."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.registry import Registry, load_registry

if TYPE_CHECKING:
    from rich.console import Console

    from harness.run.engine import Engine


def command(
    subparsers: Any, name: str, function: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """A command with the options that every one of them has."""
    made: argparse.ArgumentParser = subparsers.add_parser(name, help=text, description=text)
    made.set_defaults(command=function, again="continues where it stopped")
    made.add_argument("--json", action="store_true", help="one JSON document on stdout, everything else on stderr")
    made.add_argument("--registry", type=Path, action="append", default=[], metavar="FILE", help="layer this file over")
    return made


def data_options(to: argparse.ArgumentParser, limit: int | None = None) -> None:
    """Which images: --dataset and what belongs to it."""
    to.add_argument("--dataset", default="photos", help="a name (harness list datasets) or a folder (photos)")
    fewest = f" ({limit})" if limit else ""
    to.add_argument(
        "--limit",
        type=int,
        default=limit,
        metavar="N",
        help=f"private images at most, other roles in proportion{fewest}",
    )
    to.add_argument("--size", type=int, metavar="PIXELS", help="shorter side, then a centre crop")
    to.add_argument("--public-share", type=float, metavar="SHARE", help="the adversary's share of train; 0: none")
    to.add_argument("--offline", action="store_true", help="download nothing; what is missing is named")


def defense_settings(to: argparse.ArgumentParser) -> None:
    to.add_argument("-D", dest="defense_settings", action="append", default=[], metavar="KNOB=VALUE")


def device_option(to: argparse.ArgumentParser) -> None:
    to.add_argument("--device", default="auto", help="auto, cpu or cuda")


def engine_options(to: argparse.ArgumentParser) -> None:
    """Who does the work."""
    to.add_argument(
        "--threads", type=int, metavar="N", help="threads of every cell, an input of its record (1; on a GPU the cores)"
    )
    to.add_argument("--workers", type=int, metavar="N", help="cells at a time (as cores and memory allow)")
    to.add_argument("--engine", default="local", metavar="NAME", help="local: processes; ray: a cluster (local)")
    to.add_argument("--address", metavar="HOST:PORT", help="of a Ray cluster that is there already, or auto")


def engine_of(given: argparse.Namespace) -> Engine:
    """The engine that was asked for; HARNESS_WORKERS says how many workers where nobody else does."""
    from harness.run.engine import Engine

    told = os.environ.get("HARNESS_WORKERS", "")
    if told and not re.fullmatch(r"[1-9][0-9]{0,3}", told):
        raise HarnessError(f"HARNESS_WORKERS {told!r} is no count; use a whole number, 1 or more")
    engine = Engine(given.engine, given.workers if given.workers is not None or not told else int(told), given.address)
    engine.check()
    return engine


def records_option(to: argparse.ArgumentParser, what: str) -> None:
    to.add_argument("--records", type=Path, default=Path("results"), metavar="DIR", help=f"{what} (results/)")


def count(text: str) -> int:
    """A whole number, 1 or more."""
    if not re.fullmatch(r"-?[0-9]{1,9}", text.strip()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count; use a whole number, 1 or more")
    return int(text)


def registry_of(given: argparse.Namespace) -> Registry:
    """The registry with the files that were layered over it; what is wrong with a plugin is said and goes on."""
    registry = load_registry(given.registry)
    for problem in registry.problems:
        print(f"harness: {problem}", file=sys.stderr)
    return registry


def emit(given: argparse.Namespace, document: Any, text: str | None) -> None:
    """The answer on stdout: the document with --json, else the text."""
    if given.json:
        print(json.dumps(document, indent=1, allow_nan=False))
    elif text is not None:
        print(text)


def console() -> Console:
    from rich.console import Console

    return Console()
