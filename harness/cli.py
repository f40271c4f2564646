"""The command line: which commands there are, and the exit code. Each command is a file in harness/commands.

Exit codes: 0 done, 1 a cell or a plugin failed, 2 wrong usage or input, 3 something is not as it was recorded; 130
interrupted, 143 ended by SIGTERM, 129 by SIGHUP.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from harness import __version__
from harness.commands import (
    cache,
    calibrate,
    check,
    completion,
    external,
    measure,
    obfuscate,
    plugins,
    preview,
    rank,
    report,
    rerun,
    run,
    site,
    survey,
    sweep,
    tune,
)
from harness.errors import HarnessError
from harness.registry.guard import failure
from harness.system.device import keep_freed_memory
from harness.system.messages import log, shown
from harness.system.offline import forbid_downloads
from harness.system.output import finish_results, open_standard_streams
from harness.system.private import keep_nothing
from harness.system.scratch import temporary_folder
from harness.system.start_folder import hide_modules, why_gone
from harness.system.supervisor import Interrupted, supervised
from harness.system.text import one_line, shortened

TRACEBACK = "HARNESS_TRACEBACK"
"""Set to anything but nothing: an error that nobody expected shows its traceback."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command in this process; the exit code."""
    return _run(arguments, lambda command, _: command())


def entry_point() -> NoReturn:
    """Run one command in a process of its own (`harness.system.supervisor`)."""
    hide_modules()
    open_standard_streams()
    keep_freed_memory()
    try:
        sys.exit(_run(None, supervised))
    except KeyboardInterrupt:  # before the command began
        sys.exit(130)


def _run(arguments: Sequence[str] | None, do: Callable[[Callable[[], int], str], int]) -> int:
    with shown():
        try:
            given = parser().parse_args(arguments)
        except HarnessError as error:
            return _refused(str(error))
        if given.command is None:
            given.parser.print_help(sys.stderr)
            return 2
        log.setLevel(given.level)
        if gone := why_gone():
            return _refused(gone)
        return do(lambda: _run_command(given), given.again)


def _run_command(given: argparse.Namespace) -> int:
    """Run a command; whatever goes wrong is one line on stderr and an exit code."""
    try:
        with forbid_downloads(getattr(given, "offline", False)), keep_nothing(getattr(given, "no_cache", False)):
            if given.needs_scratch:
                temporary_folder()
            code: int = given.command(given)
        finish_results()
        return code
    except HarnessError as error:
        return _refused(str(error))
    except KeyboardInterrupt as error:
        name, code = (error.name, error.code) if isinstance(error, Interrupted) else ("SIGINT", 130)
        ended = "interrupted" if name == "SIGINT" else f"ended by {name}"
        log.error("%s; the same command %s", ended, given.again)
        return code
    except BrokenPipeError:  # whoever read the result has enough of it
        return 0
    except MemoryError:
        return _refused("out of memory; use fewer --workers, or a smaller --size or --limit", 1)
    except OSError as error:
        return _refused(_described(error))
    except (Exception, SystemExit) as error:
        if os.environ.get(TRACEBACK):
            raise
        log.debug("unexpected error", exc_info=True)
        return _refused(f"{failure(error)} (set {TRACEBACK}=1 to see where)", 1)


def _refused(reason: str, code: int = 2) -> int:
    log.error("%s", shortened(one_line(reason)))
    return code


def _described(error: OSError) -> str:
    """The file, what is wrong with it, and what to do."""
    if gone := why_gone():
        return gone
    place = f"{error.filename}: " if error.filename else ""
    fix = "make room, or name another place" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name another place"
    return f"{place}{error.strerror or error}; {fix}"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise HarnessError(f"{message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    top = _Parser(
        prog="harness",
        description="Does an image-obfuscation scheme protect the pictures?",
        epilog="Options of a command: harness COMMAND --help.",
    )
    top.add_argument("--version", action="version", version=f"harness {__version__}")
    top.set_defaults(command=None, parser=top)
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND [OPTION]", parser_class=_Parser)
    for command in (
        run,
        sweep,
        tune,
        obfuscate,
        external,
        preview,
        survey,
        calibrate,
        plugins,
        measure,
        rank,
        rerun,
        report,
        site,
        check,
        cache,
    ):
        command.add(subparsers)
    completion.add(subparsers, top)
    return top


if __name__ == "__main__":
    entry_point()
