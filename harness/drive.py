"""Do many pieces of work with some workers, and write every result as it comes: the only place that writes records.

Records are the state: whatever is killed, the same command finds what is done and does the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, Self

from harness.cell import Bench
from harness.errors import HarnessError
from harness.records import RunResult
from harness.schedule import Queue, Task

TRIES = 3
"""How often a piece is given to a worker that does not live to tell: then it is that piece's failure."""


@dataclass(frozen=True)
class Lost:
    """A worker ended before its piece did."""

    why: str


class Crew(AbstractContextManager["Crew"], Protocol):
    """Workers that do pieces, here, in processes or on a cluster."""

    def __enter__(self) -> Self: ...

    def free(self) -> Iterable[int]:
        """The workers that have nothing to do."""

    def give(self, worker: int, task: Task, proof: RunResult | None) -> None: ...

    def wait(self) -> tuple[Task, RunResult | Lost]:
        """Until some piece is done, or its worker lost."""


def drive(
    tasks: Iterable[Task],
    done: Mapping[str, RunResult],
    benches: Callable[[Task], Bench],
    crew: Crew,
    report: Callable[[str], None],
) -> dict[str, RunResult]:
    """Results by key, of these tasks and of those that were done before.

    benches  where a task's record is looked for, once more when its turn comes, and kept
    report   told the name of each piece that begins
    """
    results = dict(done)
    queue, running, lost = Queue.of(tasks), 0, Counter[str]()
    while queue or running:
        for worker in crew.free():
            ready = _to_do(queue, worker, benches, results)
            if ready is None:
                break  # what is left waits for what runs
            report(" ".join([ready.piece.spec.kind, *ready.piece.spec.names]))
            crew.give(worker, ready, results.get(ready.needs or ""))
            running += 1
        if not running:
            continue
        task, result = crew.wait()
        running -= 1
        if isinstance(result, Lost):
            lost[task.key] += 1
            if lost[task.key] < TRIES:
                queue.again(task)
                continue
            result = RunResult(task.piece.spec, "failed", f"its worker was lost {TRIES} times ({result.why})")
        elif result.spec.key != task.key:
            raise HarnessError("the code or the data changed while this ran; run the same command again")
        results[task.key] = benches(task).keep(result)
        queue.done(task)
    return results


def _to_do(queue: Queue, worker: int, benches: Callable[[Task], Bench], results: dict[str, RunResult]) -> Task | None:
    """The next piece for this worker that no other run has done meanwhile."""
    while task := queue.next_for(worker):
        found = benches(task).found(task.piece)
        if found is None:
            return task
        results[task.key] = found
        queue.done(task)
    return None


@dataclass
class Here:
    """One worker: this process."""

    benches: Callable[[Task], Bench]
    _given: tuple[Task, RunResult | None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def free(self) -> Iterable[int]:
        return [] if self._given else [0]

    def give(self, worker: int, task: Task, proof: RunResult | None) -> None:
        self._given = task, proof

    def wait(self) -> tuple[Task, RunResult | Lost]:
        assert self._given is not None, "nothing was given"
        (task, proof), self._given = self._given, None
        return task, self.benches(task).do(task.piece, proof)
