"""Do many jobs with some workers: which comes next, and every result written as it comes.

A proof comes before what it proves, and a worker stays with the release of one defense. Results are written here and
nowhere else. The records are the whole state: after a kill, the same command finds what is done and does the rest. Of
two runs in one folder each does what the other has not begun.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import sleep as pause
from typing import Protocol, Self

from harness.errors import HarnessError
from harness.records import RunResult
from harness.registry import Registry
from harness.run.bench import Bench, Piece
from harness.run.claims import Claims
from harness.run.options import RunOptions

TRIES = 3
"""How often a piece is given to a worker that ends before it is done; then the piece has failed."""
LOOK_AGAIN = 0.5
"""Seconds after which a run looks again whether another one has done a piece."""
log = logging.getLogger("harness")


@dataclass(frozen=True)
class Job:
    """A piece, and the options that say on which bench it is done."""

    options: RunOptions
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
        """The same for jobs that share a release, and what is learned from it."""
        inputs = self.piece.spec.inputs
        return repr((self.options.data_options(), inputs["dataset"]["fingerprint"], inputs["defense"], inputs["seed"]))

    @property
    def is_foreign(self) -> bool:
        """Whether its defense or attack is somebody else's."""
        return any(entry is not None and entry.is_foreign for entry in (self.piece.defense, self.piece.attack))

    def foreign_plugins(self, registry: Registry) -> frozenset[str]:
        """Somebody else's plugins whose code it runs."""
        measured = ("metrics", "evaluators") if self.piece.spec.kind == "release" else ("evaluators",)
        asked = [self.piece.defense, self.piece.attack, registry.section("datasets").get(self.options.dataset)]
        asked += [entry for section in measured for entry in registry.section(section).values()]
        return frozenset(repr(entry) for entry in asked if entry is not None and entry.is_foreign)


@dataclass(frozen=True)
class WorkerLost:
    """A worker ended before its job did."""

    why: str


class Workers(AbstractContextManager["Workers"], Protocol):
    """Workers that do jobs: in this process, in processes of this machine, or on a cluster."""

    def __enter__(self) -> Self: ...

    def idle(self) -> Iterable[int]:
        """The workers that have nothing to do."""

    def submit(self, worker: int, job: Job, proof: RunResult | None) -> None: ...

    def wait(self, seconds: float | None = None) -> tuple[Job, RunResult | WorkerLost] | None:
        """Wait until some job is done, or its worker lost; None where that takes longer than so many seconds."""


def run_jobs(
    jobs: Iterable[Job],
    done: Mapping[str, RunResult],
    bench_for: Callable[[Job], Bench],
    workers: Workers,
    report: Callable[[str], None],
) -> dict[str, RunResult]:
    """Results by key, of these jobs and of those that were done before.

    bench_for  where a job's record is looked up, once more when its turn comes, and written
    report     called with the name of each piece that begins
    """
    with Claims() as claims:
        run = _Run(Queue.of(jobs), bench_for, claims, dict(done))
        running, losses = 0, Counter[str]()
        while run.queue or run.elsewhere or running:
            for worker in workers.idle():
                job = run.next_job(worker)
                if job is None:
                    break  # the rest waits for what runs
                report(" ".join([job.piece.spec.kind, *job.piece.spec.names]))
                workers.submit(worker, job, run.results.get(job.needs or ""))
                running += 1
            if not running:
                if run.elsewhere:
                    run.say_what_it_waits_for()
                    pause(LOOK_AGAIN)
                continue
            finished = workers.wait(LOOK_AGAIN) if run.elsewhere else workers.wait()
            if finished is None:
                continue
            job, result = finished
            running -= 1
            if isinstance(result, WorkerLost):
                losses[job.key] += 1
                if losses[job.key] < TRIES:
                    run.queue.requeue(job)
                    continue
                result = RunResult(job.piece.spec, "failed", f"its worker was lost {TRIES} times ({result.why})")
            elif result.spec.key != job.key:
                raise HarnessError("the code or the data changed while this ran; run the same command again")
            run.finish(job, bench_for(job).keep(result))
    return run.results


@dataclass
class _Run:
    """What is to be done, by this run or another one in the same folder, and what came out.

    elsewhere  jobs that another run has claimed
    """

    queue: Queue
    bench_for: Callable[[Job], Bench]
    claims: Claims
    results: dict[str, RunResult]
    elsewhere: list[Job] = field(default_factory=list)
    _said: set[str] = field(default_factory=set)

    def next_job(self, worker: int) -> Job | None:
        """The next job for this worker that no other run has done meanwhile, or is doing."""
        while True:
            while job := self.queue.next_for(worker):
                if self._is_ours(job):
                    return job
            claimed, self.elsewhere = self.elsewhere, []
            for number, job in enumerate(claimed):
                if self._is_ours(job):  # its run has ended before it was done
                    self.elsewhere += claimed[number + 1 :]
                    return job
            if len(self.elsewhere) == len(claimed):
                return None  # else one is done now, and what needs it may begin

    def _is_ours(self, job: Job) -> bool:
        """Claim a job that is neither done nor claimed."""
        bench = self.bench_for(job)
        result = bench.find(job.piece)
        if result is None:
            if not self.claims.take(job.key, bench.records):
                self.elsewhere.append(job)
                return False
            result = bench.find(job.piece)  # done between the look and the claim
            if result is None:
                return True
        self.finish(job, result)
        return False

    def finish(self, job: Job, result: RunResult) -> None:
        self.results[job.key] = result
        self.queue.done(job)
        self.claims.release(job.key)

    def say_what_it_waits_for(self) -> None:
        for job in self.elsewhere:
            if job.key not in self._said:
                self._said.add(job.key)
                name = " ".join([job.piece.spec.kind, *job.piece.spec.names])
                log.warning("another run in %s does %s; waiting for it", self.bench_for(job).records.folder, name)


@dataclass
class Queue:
    """Jobs that wait, in groups that share a release. A job whose record exists is not in it."""

    groups: dict[str, list[Job]]
    waiting: set[str]
    _group_of: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> Queue:
        """Those with somebody else's plugins come last in their group: a worker is replaced after them."""
        groups: dict[str, list[Job]] = {}
        for job in sorted(jobs, key=lambda job: job.is_foreign):
            groups.setdefault(job.group, []).append(job)
        return cls(groups, {job.key for group in groups.values() for job in group})

    def __bool__(self) -> bool:
        return any(self.groups.values())

    def next_for(self, worker: int) -> Job | None:
        """From the worker's own group, else from one that no worker has, else the last job of the longest group.

        None where nothing can begin before something else is done.
        """
        own, taken = self._group_of.get(worker), set(self._group_of.values())
        fresh = [group for group in self.groups if group not in taken]
        for group in filter(None, (own, *fresh)):
            ready = self._ready(group)
            if ready:
                self._group_of[worker] = group
                return self._remove(group, ready[0])
        longest = max(self.groups, key=lambda group: len(self._ready(group)), default=None)
        ready = self._ready(longest) if longest else []
        return self._remove(str(longest), ready[-1]) if ready else None

    def requeue(self, job: Job) -> None:
        """Put it in front again: its worker was lost."""
        self.groups[job.group].insert(0, job)
        self.waiting.add(job.key)

    def done(self, job: Job) -> None:
        self.waiting.discard(job.key)

    def _ready(self, group: str) -> list[Job]:
        return [job for job in self.groups[group] if job.needs not in self.waiting]

    def _remove(self, group: str, job: Job) -> Job:
        self.groups[group].remove(job)
        return job


@dataclass
class InProcess:
    """One worker: this process."""

    bench_for: Callable[[Job], Bench]
    _submitted: tuple[Job, RunResult | None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def idle(self) -> Iterable[int]:
        return [] if self._submitted else [0]

    def submit(self, worker: int, job: Job, proof: RunResult | None) -> None:
        self._submitted = job, proof

    def wait(self, seconds: float | None = None) -> tuple[Job, RunResult | WorkerLost]:
        assert self._submitted is not None, "no job was submitted"
        (job, proof), self._submitted = self._submitted, None
        return job, self.bench_for(job).do(job.piece, proof)
