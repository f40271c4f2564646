"""Which piece of work comes next: proofs before what they prove, and a worker stays with one defense's release.

Do many pieces of work with some workers, and write every result as it comes: the only place that writes records.

Records are the state: whatever is killed, the same command finds what is done and does the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, Self

from harness.errors import HarnessError
from harness.records import RunResult
from harness.run.bench import Bench, Piece
from harness.run.options import RunOptions


@dataclass(frozen=True)
class Job:
    """A piece with the order that says on which bench it is done."""

    order: RunOptions
    piece: Piece

    @property
    def key(self) -> str:
        return self.piece.spec.key

    @property
    def needs(self) -> str | None:
        """The key of the piece that must be done before."""
        return self.piece.proof.key if self.piece.proof else None

    @property
    def group(self) -> str:
        """What shares a release, and what is learned from it."""
        inputs = self.piece.spec.inputs
        return repr((self.order.stage(), inputs["dataset"]["fingerprint"], inputs["defense"], inputs["seed"]))


@dataclass
class Queue:
    """Tasks that wait. Not in it: a task whose record is there already."""

    groups: dict[str, list[Job]]
    waiting: set[str]
    _owned: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, tasks: Iterable[Job]) -> Queue:
        groups: dict[str, list[Job]] = {}
        for task in tasks:
            groups.setdefault(task.group, []).append(task)
        return cls(groups, {task.key for group in groups.values() for task in group})

    def __bool__(self) -> bool:
        return any(self.groups.values())

    def next_for(self, worker: int) -> Job | None:
        """The worker's own group first, then one that nobody has; last it helps with the longest, from its end.

        None where nothing can be begun before something else is done.
        """
        own, taken = self._owned.get(worker), set(self._owned.values())
        fresh = [group for group in self.groups if group not in taken]
        for group in filter(None, (own, *fresh)):
            ready = self._ready(group)
            if ready:
                self._owned[worker] = group
                return self._take(group, ready[0])
        longest = max(self.groups, key=lambda group: len(self._ready(group)), default=None)
        ready = self._ready(longest) if longest else []
        return self._take(str(longest), ready[-1]) if ready else None

    def again(self, task: Job) -> None:
        """Back in front: its worker was lost."""
        self.groups[task.group].insert(0, task)
        self.waiting.add(task.key)

    def done(self, task: Job) -> None:
        self.waiting.discard(task.key)

    def _ready(self, group: str) -> list[Job]:
        return [task for task in self.groups[group] if task.needs not in self.waiting]

    def _take(self, group: str, task: Job) -> Job:
        self.groups[group].remove(task)
        return task


TRIES = 3
"""How often a piece is given to a worker that does not live to tell: then it is that piece's failure."""


@dataclass(frozen=True)
class WorkerLost:
    """A worker ended before its piece did."""

    why: str


class Workers(AbstractContextManager["Workers"], Protocol):
    """Workers that do pieces, here, in processes or on a cluster."""

    def __enter__(self) -> Self: ...

    def free(self) -> Iterable[int]:
        """The workers that have nothing to do."""

    def give(self, worker: int, task: Job, proof: RunResult | None) -> None: ...

    def wait(self) -> tuple[Job, RunResult | WorkerLost]:
        """Until some piece is done, or its worker lost."""


def run_jobs(
    tasks: Iterable[Job],
    done: Mapping[str, RunResult],
    benches: Callable[[Job], Bench],
    crew: Workers,
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
        if isinstance(result, WorkerLost):
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


def _to_do(queue: Queue, worker: int, benches: Callable[[Job], Bench], results: dict[str, RunResult]) -> Job | None:
    """The next piece for this worker that no other run has done meanwhile."""
    while task := queue.next_for(worker):
        found = benches(task).found(task.piece)
        if found is None:
            return task
        results[task.key] = found
        queue.done(task)
    return None


@dataclass
class InProcess:
    """One worker: this process."""

    benches: Callable[[Job], Bench]
    _given: tuple[Job, RunResult | None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def free(self) -> Iterable[int]:
        return [] if self._given else [0]

    def give(self, worker: int, task: Job, proof: RunResult | None) -> None:
        self._given = task, proof

    def wait(self) -> tuple[Job, RunResult | WorkerLost]:
        assert self._given is not None, "nothing was given"
        (task, proof), self._given = self._given, None
        return task, self.benches(task).do(task.piece, proof)
