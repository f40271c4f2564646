"""Do many jobs with some workers: which comes next, and every result written as it comes.

A proof comes before what it proves, and a worker stays with the release of one defense. Results are written here and
nowhere else. The records are the whole state: after a kill, the same command finds what is done and does the rest. Of
two runs in one folder each does what the other has not begun.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from time import sleep as pause
from typing import Protocol, Self

from harness.errors import HarnessError
from harness.records import RunResult
from harness.run.bench import Bench
from harness.run.claims import Claims
from harness.run.jobs import Job, Queue
from harness.system.messages import log

TRIES = 3
"""How often a piece is given to a worker that ends before it is done; then the piece has failed."""
LOOK_AGAIN = 0.5
"""Seconds after which a run looks again whether another one has done a piece."""


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
    finished: Callable[[RunResult], None] = lambda _: None,
) -> dict[str, RunResult]:
    """Results by key, of these jobs and of those that were done before.

    bench_for  where a job's record is looked up, once more when its turn comes, and written
    report     called with the name of each piece that begins
    finished   called with the result of each piece that was not done before
    """
    with Claims() as claims:
        run = _Run(Queue.of(jobs), bench_for, claims, dict(done), finished)
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
            answer = workers.wait(LOOK_AGAIN) if run.elsewhere else workers.wait()
            if answer is None:
                continue
            job, result = answer
            running -= 1
            if isinstance(result, WorkerLost):
                losses[job.key] += 1
                if losses[job.key] < TRIES:
                    run.queue.requeue(job)
                    continue
                result = RunResult(job.piece.spec, "failed", f"its worker was lost {TRIES} times ({result.why})")
            elif result.spec.key != job.key:
                raise HarnessError("the code or the data changed while this ran; run the same command again")
            # its spec, a copy that was sent here, takes as much memory as the rest of it
            run.finish(job, bench_for(job).keep(replace(result, spec=job.piece.spec)))
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
    finished: Callable[[RunResult], None]
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
        spec, name = result.spec, " ".join([result.spec.kind, *result.spec.names])
        log.debug("%s, seed %s: %s in %.1f s, record %s", name, job.piece.seed, result.status, result.seconds, spec.key)
        self.results[job.key] = result
        self.queue.done(job)
        self.claims.release(job.key)
        self.finished(result)

    def say_what_it_waits_for(self) -> None:
        for job in self.elsewhere:
            if job.key not in self._said:
                self._said.add(job.key)
                name = " ".join([job.piece.spec.kind, *job.piece.spec.names])
                log.warning("another run in %s does %s; waiting for it", self.bench_for(job).records.folder, name)


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
