"""Shared by the commands: options of several of them, the registry and engine they ask for, and how results print."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.registry import Registry, load_registry
from harness.system import fork_server, messages
from harness.system.messages import log
from harness.system.numbers import count, decimal, whole
from harness.system.output import finish_results, results
from harness.system.schema import shown
from harness.system.supervisor import is_supervised
from harness.system.text import one_line, printable

if TYPE_CHECKING:
    from harness.run.engine import Engine


DATASET = "photos"
"""What is attacked where no data set is named."""


def add_command(
    subparsers: Any, name: str, function: Callable[[argparse.Namespace], int], text: str, *, needs_scratch: bool = True
) -> argparse.ArgumentParser:
    """Add a command with the options that all of them have.

    function       runs the command and returns its exit code
    needs_scratch  whether it may write images to TMPDIR, which is looked at before anything is made
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=text, description=text)
    parser.set_defaults(command=function, again="continues where it stopped", needs_scratch=needs_scratch)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, everything else on stderr")
    said = parser.add_mutually_exclusive_group()
    said.add_argument(
        "-q", "--quiet", dest="level", action="store_const", const=messages.QUIET, default=messages.NORMAL,
        help="of what stands on stderr, warnings and errors alone",
    )  # fmt: skip
    said.add_argument(
        "-v", "--verbose", dest="level", action="store_const", const=messages.VERBOSE,
        help="more of it: files, records, workers, each finished piece, and the time",
    )  # fmt: skip
    parser.add_argument(
        "--registry", type=path_type, action="append", default=[], metavar="FILE", help="layer this file over"
    )
    return parser


def add_legend_option(to: argparse.ArgumentParser) -> None:
    to.add_argument("--legend", action="store_true", help="also print how to read the columns of the board")


def add_log_option(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--log", action="append", default=[], choices=("tensorboard", "mlflow", "wandb"),
        help="send the scores of each finished piece, and the settings, to this tracker too; several times for several",
    )  # fmt: skip


def add_checkpoint_option(to: argparse.ArgumentParser, what: str) -> None:
    to.add_argument(
        "--checkpoint", type=path_type, metavar="FILE", help=f"{what}: a state dict, by torch.save or as .safetensors"
    )


def add_data_options(to: argparse.ArgumentParser, limit: int | None = None) -> None:
    """--dataset and the options of its images."""
    to.add_argument(
        "--dataset",
        type=dataset_type,
        default=DATASET,
        help=f"a name (harness list datasets), a folder, .parquet or .tar files, or hf:NAME ({DATASET})",
    )
    fewest = f" ({limit})" if limit else ""
    to.add_argument(
        "--limit",
        type=count("limit"),
        default=limit,
        metavar="N",
        help=f"private images at most, public ones in proportion{fewest}",
    )
    to.add_argument("--size", type=count("size"), metavar="PIXELS", help="shorter side, then a centre crop")
    to.add_argument("--public-share", type=decimal, metavar="SHARE", help="the adversary's share of train; 0: none")
    add_cache_options(to)


def add_cache_options(to: argparse.ArgumentParser) -> None:
    """What is fetched, and what is kept."""
    to.add_argument("--offline", action="store_true", help="download nothing; what is missing is named")
    to.add_argument(
        "--no-cache",
        action="store_true",
        help="keep no decoded images, which else stay in the user's cache folder, for the user alone to read "
        "(harness cache lists and removes them); published archives are kept",
    )


def add_epochs_options(to: argparse.ArgumentParser, epochs: int = 10) -> None:
    """--epochs and --releases, one of each; R is checked by `RunOptions.check`."""
    to.add_argument("--epochs", type=count("epochs"), default=epochs, metavar="T", help=f"training epochs ({epochs})")
    to.add_argument("--releases", type=count("releases"), metavar="R", help="distinct releases (as many as epochs)")


def add_defense_settings(to: argparse.ArgumentParser) -> None:
    to.add_argument("-D", dest="defense_settings", action="append", default=[], metavar="KNOB=VALUE")


def add_device_option(to: argparse.ArgumentParser) -> None:
    to.add_argument("--device", default="auto", help="auto, cpu or cuda")


def add_engine_options(to: argparse.ArgumentParser) -> None:
    """Threads, workers and the engine that runs them."""
    to.add_argument(
        "--threads",
        type=count("threads"),
        metavar="N",
        help="threads of every cell, an input of its record (1; on a GPU the cores)",
    )
    to.add_argument("--workers", type=count("workers"), metavar="N", help="cells at a time (as cores and memory allow)")
    to.add_argument("--engine", default="local", metavar="NAME", help="local: processes; ray: a cluster (local)")
    to.add_argument("--address", metavar="HOST:PORT", help="of a Ray cluster that is there already, or auto")


def engine_from(args: argparse.Namespace) -> Engine:
    """The engine of these options; without --workers, HARNESS_WORKERS gives the number of workers."""
    from harness.run.engine import Engine

    workers = os.environ.get("HARNESS_WORKERS", "")
    if workers and whole(workers) is None:
        raise HarnessError(f"HARNESS_WORKERS {shown(workers)} is no count; use a whole number, 1 or more")
    number = args.workers if args.workers is not None or not workers else whole(workers)
    engine = Engine(args.engine, number, args.address)
    engine.check()
    return engine


def add_records_option(to: argparse.ArgumentParser, what: str) -> None:
    to.add_argument("--records", type=path_type, default=Path("results"), metavar="DIR", help=f"{what} (results/)")


def path_type(text: str) -> Path:
    """A path. An empty one, which Python takes for the current folder, is refused, and one that no system opens."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty (an unset variable?); name one, or . for this folder")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} holds a zero byte; name another path")
    try:
        os.stat(text)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise argparse.ArgumentTypeError(f"{shown(text)}: {error.strerror}; name another path") from None
    return Path(text)


def dataset_type(text: str) -> str:
    """The name of a data set or a record, or a path, checked as `path_type` checks it."""
    path_type(text)
    return text


def registry_from(args: argparse.Namespace) -> Registry:
    """The registry with the files of --registry; problems of plugins are printed and stop nothing."""
    registry = load_registry(args.registry)
    for problem in registry.problems:
        log.warning("%s", problem)
    files = ", ".join(map(str, registry.files)) or "none"
    log.debug("%d plugins are registered; files beside the built-in one: %s", len(registry.entries), files)
    return registry


def start_workers_early(registry: Registry) -> None:
    """In a command that needs processes for plugins, before it imports torch: both import at the same time."""
    if is_supervised():
        fork_server.start(registry.worker_modules)


def print_written(args: argparse.Namespace, document: Any, text: str, written: Sequence[Path]) -> None:
    """`print_result` of what stands already. Where it cannot be printed, the HarnessError says that it stands."""
    places = " and ".join(one_line(str(place)) for place in written)
    verb = "is" if len(written) == 1 else "are"
    args.again = f"is not needed: {places} {verb} there, complete"
    try:
        print_result(args, document, text)
        finish_results()
    except BrokenPipeError:
        raise
    except OSError as error:
        with contextlib.suppress(OSError):
            finish_results()
        raise HarnessError(f"stdout: {error.strerror or error}; but {places} {verb} there, complete") from None


def print_result(args: argparse.Namespace, document: Any, text: str | None) -> None:
    """Print the result on stdout: the document with --json, else the text."""
    if args.json:
        print(json.dumps(document, indent=1, allow_nan=False), file=results())
    elif text is not None:
        encoding = results().encoding or "utf-8"  # a file name may hold what it cannot write
        print(printable(text).encode(encoding, "backslashreplace").decode(encoding), file=results())
