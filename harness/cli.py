"""The command line: which commands there are, and the exit code. Each command is a file in harness/commands.

Exit codes: 0 done, 1 a cell failed, 2 wrong usage or input, 3 something is not as it was recorded, 130 interrupted.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

from harness import __version__
from harness.commands import (
    cache,
    check,
    external,
    measure,
    obfuscate,
    plugins,
    preview,
    rank,
    report,
    rerun,
    run,
    sweep,
    tune,
)
from harness.errors import HarnessError
from harness.system.device import keep_freed_memory
from harness.system.offline import forbid_downloads
from harness.system.private import keep_nothing
from harness.system.text import one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    logging.basicConfig(level=logging.WARNING, format="harness: %(message)s", stream=sys.stderr)
    try:
        given = parser().parse_args(arguments)
        with forbid_downloads(getattr(given, "offline", False)), keep_nothing(getattr(given, "no_cache", False)):
            code: int = given.command(given)
        return code
    except HarnessError as error:
        print(f"harness: {one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"harness: interrupted; the same command {given.again}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def entry_point() -> NoReturn:
    keep_freed_memory()
    sys.exit(main())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise HarnessError(f"{message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    top = _Parser(prog="harness", description="Does an image-obfuscation scheme protect the pictures?")
    top.add_argument("--version", action="version", version=f"harness {__version__}")
    subparsers = top.add_subparsers(title="commands", required=True, parser_class=_Parser)
    for command in (
        run,
        sweep,
        tune,
        obfuscate,
        external,
        preview,
        plugins,
        measure,
        rank,
        rerun,
        report,
        check,
        cache,
    ):
        command.add(subparsers)
    return top


if __name__ == "__main__":
    entry_point()
