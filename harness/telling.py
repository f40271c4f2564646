"""How far long work is that a data set does before it has pictures: fetching, unpacking. Always on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.types import Progress

_progress: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def reporting(progress: Progress | None) -> Iterator[None]:
    """Work done inside tells `progress` how far it is."""
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


class Teller:
    """Tells how far a piece of work is: to the bar where there is one, in plain lines where there is no terminal."""

    def __init__(self, what: str) -> None:
        self._what, self._said = what, -1

    def tell(self, done: int, total: int | None) -> None:
        """total  None while it is unknown"""
        progress = _progress.get()
        if progress:
            progress(self._what, done, total or 0)
        tenth = done * 10 // total if total else done // 100
        if tenth > self._said and not sys.stderr.isatty():
            print(f"{self._what}: {done:,}{f' of {total:,}' if total else ''}", file=sys.stderr)
            self._said = tenth
