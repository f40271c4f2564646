"""Progress of long work: a rich bar on a terminal, plain lines elsewhere; always on stderr. rich honours NO_COLOR."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Watch:
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

    def __enter__(self) -> Watch:
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
