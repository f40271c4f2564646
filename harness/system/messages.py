"""What is said beside the result: messages of the logger `harness`, which a command writes to stderr.

Warnings and errors are always written, what was done and progress unless `--quiet`, details with `--verbose`. A
program that imports the harness gets the same messages from `logging`, and nothing is written until it asks for it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from harness.system.text import printable

QUIET, NORMAL, VERBOSE = logging.WARNING, logging.INFO, logging.DEBUG
log = logging.getLogger("harness")


@contextmanager
def shown(level: int | None = NORMAL) -> Iterator[None]:
    """Inside the block messages of the harness from this level on, and warnings of libraries, are written to stderr.

    level  None: as the caller's program has set up logging; where it has not, from NORMAL on
    """
    root, before = logging.getLogger(), log.level
    handler = _ToStderr()
    if level is not None or not root.hasHandlers():
        root.addHandler(handler)
    log.setLevel(level or before or NORMAL)
    try:
        yield
    finally:
        log.setLevel(before)
        root.removeHandler(handler)


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to what is stderr at that time: while a progress bar is drawn, rich puts lines above it."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(_Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class _Formatter(logging.Formatter):
    """`harness: ` before warnings and errors, the time before all with --verbose; names in them control no terminal."""

    def format(self, record: logging.LogRecord) -> str:
        said = printable(super().format(record))
        said = f"harness: {said}" if record.levelno >= logging.WARNING else said
        return f"{self.formatTime(record, '%H:%M:%S')} {said}" if log.level == VERBOSE else said
