"""Where a command starts: `harness`, or `python -m harness`."""

import sys
from typing import NoReturn

from harness.system.start_folder import hide_modules


def entry_point() -> NoReturn:
    """Run one command. Ctrl-C is an exit code from the first import on."""
    try:
        hide_modules()  # before the imports that files in the current folder could hide

        from harness import cli

        cli.entry_point()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    entry_point()
