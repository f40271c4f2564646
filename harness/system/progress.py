"""Progress of long work on stderr: rich bars on a terminal, plain lines elsewhere. rich honours NO_COLOR.

A command opens a `ProgressDisplay` and hands its `progress` on. Code below it that takes no such argument, such as a
download inside a data set's function, makes a `ProgressReporter`, which finds it through `reporting`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from harness.system.messages import NORMAL, log
from harness.system.output import console
from harness.system.text import duration

if TYPE_CHECKING:
    from harness.types import Progress as ProgressFunction

_progress: ContextVar[ProgressFunction | None] = ContextVar("progress", default=None)


class ProgressDisplay:
    """A bar for all jobs and one for each part of the job at hand; without a terminal a line for each job.

    with ProgressDisplay() as display:
        display.expect([("mix", 3.0), ("blur", None)])
        display.step("mix")
        display.progress("obfuscating", 10, 100)
    """

    def __init__(self) -> None:
        to = console(stderr=True)
        self._bars: Progress | None = None
        if to.is_terminal and log.isEnabledFor(NORMAL):
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}", markup=False),
            )
            self._bars = Progress(*columns, console=to, transient=True)
        self._overall: TaskID | None = None
        self._parts: dict[str, TaskID] = {}
        self._total, self._begun, self._start = 0, 0, time.monotonic()
        self._weights: dict[str, float] = {}
        self._weight_begun = self._weight_left = 0.0
        self._first = self._start

    def __enter__(self) -> ProgressDisplay:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def expect(self, jobs: Sequence[tuple[str, float | None]]) -> None:
        """Set which jobs there are: the name of each, and what it usually takes, in seconds, where that is known."""
        self._total = len(jobs)
        known = [seconds for _, seconds in jobs if seconds is not None]
        usual = sum(known) / len(known) if known else 1.0
        self._weights = {name: usual if seconds is None else seconds for name, seconds in jobs}
        self._weight_left = sum(self._weights[name] for name, _ in jobs)
        if self._bars and jobs:
            self._overall = self._bars.add_task("starting", total=len(jobs), left="")

    def step(self, name: str) -> None:
        """Announce that the next job begins."""
        left = self._time_left(name)
        self._begun += 1
        if self._bars and self._overall is not None:
            self._bars.update(self._overall, description=name, completed=self._begun - 1, left=left)
        elif not self._bars:
            elapsed = time.monotonic() - self._start
            left = f", {left}" if left else ""
            log.info("[%d/%d] %6.1fs %s%s", self._begun, self._total, elapsed, name, left)

    def _time_left(self, name: str) -> str:
        """How long it takes from the beginning of this job to the end of all, at the pace of those before; "": unknown.

        It counts what jobs usually take, not their number: dear ones may come last.
        """
        now = time.monotonic()
        self._first = now if self._begun == 0 else self._first
        pace = (now - self._first) / self._weight_begun if self._weight_begun else 0.0
        left = pace * self._weight_left
        weight = self._weights.get(name, 0.0)
        self._weight_begun, self._weight_left = self._weight_begun + weight, max(0.0, self._weight_left - weight)
        return f"about {duration(left)} left" if left else ""

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far a part of the job is; total 0 while it is unknown."""
        if not self._bars:
            return
        if what not in self._parts:
            self._parts[what] = self._bars.add_task(what, total=total or None, left="")
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
            log.info("%s: %s", self._what, f"{done:,} of {total:,}" if total else f"{done:,}")
            self._printed = tenth
