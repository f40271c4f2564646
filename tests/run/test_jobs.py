"""Which job comes next: a worker stays with its defense, a proof comes first, and many jobs cost no more each."""

from __future__ import annotations

import time

from harness.records import RunSpec
from harness.run.bench import Piece
from harness.run.jobs import Job, Queue
from harness.run.options import RunOptions


def piece(defense: str, what: str, proof: RunSpec | None = None) -> Piece:
    inputs = {"defense": {"name": defense}, "dataset": {"fingerprint": "f"}, "seed": 0, "attack": {"name": what}}
    return Piece(RunSpec("attack", inputs), None, None, proof)  # type: ignore[arg-type]


def queue(*pieces: Piece) -> Queue:
    return Queue.of([Job(RunOptions(), each) for each in pieces])


def names(job: Job | None):
    return job and tuple(job.piece.spec.names)


def test_a_worker_finishes_its_defense_and_then_takes_the_last_jobs_of_another():
    waiting = queue(*(piece(defense, what) for defense in "ab" for what in "123"))

    assert names(waiting.next_for(0)) == ("a", "1")
    assert names(waiting.next_for(1)) == ("b", "1")
    assert names(waiting.next_for(0)) == ("a", "2")
    assert names(waiting.next_for(0)) == ("a", "3")
    assert names(waiting.next_for(0)) == ("b", "3")
    assert names(waiting.next_for(0)) == ("b", "2")
    assert waiting.next_for(0) is None and not waiting


def test_a_job_that_needs_a_proof_waits_until_it_is_done():
    proof = piece("none", "cnn")
    waiting = queue(proof, piece("mix", "cnn", proof.spec), piece("mix", "smooth"))

    first = waiting.next_for(0)
    assert names(first) == ("none", "cnn")
    assert names(waiting.next_for(1)) == ("mix", "smooth")
    assert waiting.next_for(1) is None
    waiting.done(first)
    assert names(waiting.next_for(1)) == ("mix", "cnn")


def test_taking_all_jobs_takes_ten_times_as_long_with_ten_times_the_groups():
    def seconds(count: int) -> float:
        jobs = queue(*(piece(f"d{number}", what) for number in range(count) for what in "12"))
        before = time.process_time()
        while jobs:
            jobs.done(jobs.next_for(0))
        return time.process_time() - before

    fewer, more = (min(seconds(count) for _ in range(3)) for count in (300, 3000))
    assert more < 30 * fewer
