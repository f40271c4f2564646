"""Progress of long work on stderr: rich bars on a terminal, plain lines elsewhere. rich honours NO_COLOR.

A command opens a `ProgressDisplay` and hands its `progress` on. Code below it that takes no such argument, such as a
download inside a data set's function, makes a `ProgressReporter`, which finds it through `reporting`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from harness.system.output import console

if TYPE_CHECKING:
    from harness.types import Progress as ProgressFunction

_progress: ContextVar[ProgressFunction | None] = ContextVar("progress", default=None)


class ProgressDisplay:
    """A bar for all jobs and one for each part of the job at hand; without a terminal a line for each job.

    with ProgressDisplay() as display:
        display.expect(2)
        display.step("mix")
        display.progress("obfuscating", 10, 100)
    """

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._bars: Progress | None = None
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            self._bars = Progress(*columns, console=self._console, transient=True)
        self._overall: TaskID | None = None
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

    def expect(self, jobs: int) -> None:
        """Set how many jobs there are."""
        self._total = jobs
        if self._bars and jobs:
            self._overall = self._bars.add_task("starting", total=jobs)

    def step(self, name: str) -> None:
        """Announce that the next job begins."""
        self._begun += 1
        if self._bars and self._overall is not None:
            self._bars.update(self._overall, description=name, completed=self._begun - 1)
        elif not self._bars:
            elapsed = time.monotonic() - self._start
            self._console.print(f"[{self._begun}/{self._total}] {elapsed:6.1f}s {name}", highlight=False, markup=False)

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far a part of the job is; total 0 while it is unknown."""
        if not self._bars:
            return
        if what not in self._parts:
            self._parts[what] = self._bars.add_task(what, total=total or None)
        self._bars.update(self._parts[what], completed=done, total=total or None)
        if total and done >= total:
            self._bars.remove_task(self._parts.pop(what))


@contextmanager
def reporting(progress: ProgressFunction | None) -> Iterator[None]:
    """Every `ProgressReporter` used inside the block calls `progress(what, done, total)`."""
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


class ProgressReporter:
    """Reports one piece of work to the function set by `reporting`, and in plain lines where stderr is no terminal."""

    def __init__(self, what: str) -> None:
        self._what, self._printed = what, -1

    def update(self, done: int, total: int | None) -> None:
        """total  None while it is unknown"""
        progress = _progress.get()
        if progress:
            progress(self._what, done, total or 0)
        tenth = done * 10 // total if total else done // 100
        if tenth > self._printed and not sys.stderr.isatty():
            print(f"{self._what}: {done:,}{f' of {total:,}' if total else ''}", file=sys.stderr)
            self._printed = tenth
