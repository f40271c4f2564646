"""How far long work is that a data set does before it has pictures: fetching, unpacking. Always on stderr.

Progress of long work: a rich bar on a terminal, plain lines elsewhere; always on stderr. rich honours NO_COLOR.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from harness.types import Progress as Reporter

_progress: ContextVar[Reporter | None] = ContextVar("progress", default=None)


@contextmanager
def reporting(progress: Reporter | None) -> Iterator[None]:
    """Work done inside tells `progress` how far it is."""
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


class ProgressReporter:
    """Tells how far a piece of work is: to the bar where there is one, in plain lines where there is no terminal."""

    def __init__(self, what: str) -> None:
        self._what, self._said = what, -1

    def update(self, done: int, total: int | None) -> None:
        """total  None while it is unknown"""
        progress = _progress.get()
        if progress:
            progress(self._what, done, total or 0)
        tenth = done * 10 // total if total else done // 100
        if tenth > self._said and not sys.stderr.isatty():
            print(f"{self._what}: {done:,}{f' of {total:,}' if total else ''}", file=sys.stderr)
            self._said = tenth


class ProgressDisplay:
    """Tells what is being done: `step(what)` when a piece of work begins, `progress(what, done, total)` inside one."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars: Progress | None = None
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bars = Progress(*columns, console=self._console, transient=True)
        self._whole: TaskID | None = None
        self._parts: dict[str, TaskID] = {}
        self._total, self._begun, self._start = 0, 0, time.monotonic()

    def __enter__(self) -> ProgressDisplay:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def expect(self, pieces: int) -> None:
        """How many pieces of work are to come."""
        self._total = pieces
        if self._bars and pieces:
            self._whole = self._bars.add_task("starting", total=pieces)

    def step(self, what: str) -> None:
        self._begun += 1
        if self._bars and self._whole is not None:
            self._bars.update(self._whole, description=what, completed=self._begun - 1)
        elif not self._bars:
            elapsed = time.monotonic() - self._start
            self._console.print(f"[{self._begun}/{self._total}] {elapsed:6.1f}s {what}", highlight=False, markup=False)

    def progress(self, what: str, done: int, total: int) -> None:
        if not self._bars:
            return
        if what not in self._parts:
            self._parts[what] = self._bars.add_task(what, total=total or None)
        self._bars.update(self._parts[what], completed=done, total=total or None)
        if total and done >= total:
            self._bars.remove_task(self._parts.pop(what))
