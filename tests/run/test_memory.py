"""The memory of a worker stays as it is, and the run that it works for keeps the results and nothing beside them."""

from __future__ import annotations

import ctypes
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.records import RunResult
from harness.run.jobs import Job
from harness.run.options import RunOptions
from harness.run.ray_pool import Cluster
from harness.run.scheduler import run_jobs
from tests.helpers.paths import ROOT
from tests.run.test_jobs import piece

WORKER = """
import ctypes, gc, os, sys
from pathlib import Path
sys.path.append({root!r})
from harness.client.release_cache import ReleaseCache
from harness.registry import load_registry
from harness.run.engine import RunOptions, crossed
from harness.run.worker import Worker

FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()

class Allocated(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]

def in_use():
    gc.collect()
    held = malloc.mallinfo2()
    return held.uordblks + held.hblkhd, sys.getallocatedblocks()

malloc = ctypes.CDLL(None)
malloc.mallinfo2.restype = Allocated
registry = load_registry()
options = RunOptions("mix", "smooth", size=16, limit=40, targets=10, epochs=1, utility=False, threads=1, seeds=5)
cross = crossed(options, registry, [registry.get("defenses", "mix")], [registry.get("attacks", "smooth")])
worker, jobs, proofs = Worker(registry, ReleaseCache(Path.cwd())), list(cross.jobs()), dict()
for _ in range(4):
    for job in jobs:
        result = worker.do(job, proofs.get(job.needs))
        assert result.status == "ok", result.reason
        proofs.setdefault(job.key, result)
    print(*in_use())
"""
BYTES, BLOCKS = 2**18, 2000
"""That two times fifteen pieces may leave: a release that each keeps would be more than ten times so much."""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc counts what is allocated")
def test_a_worker_takes_no_more_memory_for_more_pieces(tmp_path: Path) -> None:
    """Fifteen pieces again and again. What the process keeps of freed memory hides what is lost: so this is counted."""
    program = WORKER.format(root=str(ROOT))
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)

    _, early, _, late = (tuple(map(int, line.split())) for line in done.stdout.splitlines())
    assert late[0] - early[0] <= BYTES and late[1] - early[1] <= BLOCKS, done.stdout


def result_of(job: Job) -> RunResult:
    return RunResult(job.piece.spec, "ok", arrays={"dssim": np.arange(10.0), "units": np.arange(10)})


class Elsewhere:
    """A worker in another process: what it gives back is a copy of what it was sent."""

    def __init__(self) -> None:
        self.job: Job | None = None

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, *_: object) -> None: ...

    def idle(self) -> list[int]:
        return [] if self.job else [0]

    def submit(self, worker: int, job: Job, proof: RunResult | None) -> None:
        self.job = job

    def wait(self, seconds: float | None = None) -> tuple[Job, RunResult]:
        job, self.job = self.job, None
        assert job is not None
        return job, pickle.loads(pickle.dumps(result_of(job)))


def test_what_a_run_has_asked_for_is_in_memory_once() -> None:
    jobs = [Job(RunOptions(), piece("mix", str(number))) for number in range(3)]
    bench: Any = SimpleNamespace(find=lambda piece: None, keep=lambda result: result, records=None)

    results = run_jobs(jobs, {}, lambda job: bench, Elsewhere(), lambda name: None)

    assert [results[job.key].spec is job.piece.spec for job in jobs] == [True] * 3


class PretendRay:
    """Gives results back as Ray does: their arrays lie in the message."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self) -> None:
        self.functions = 0
        self.jobs: list[Job] = []

    def remote(self, **_: Any) -> Any:
        self.functions += 1
        return lambda function: SimpleNamespace(remote=self.begin)

    def begin(self, job: Job, *_: Any) -> int:
        self.jobs.append(job)
        return len(self.jobs) - 1

    def put(self, value: Any) -> Any:
        return None

    def wait(self, references: list[int], **_: Any) -> tuple[list[int], list[int]]:
        return references[:1], references[1:]

    def get(self, reference: int) -> RunResult:
        buffers: list[Any] = []
        message = pickle.dumps(result_of(self.jobs[reference]), protocol=5, buffer_callback=buffers.append)
        result: RunResult = pickle.loads(message, buffers=[bytes(each.raw()) for each in buffers])
        assert not any(array.flags.owndata for array in result.arrays.values())
        return result


def test_results_from_ray_keep_no_messages_and_what_does_them_is_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Job, "foreign_plugins", lambda self, registry: frozenset())
    monkeypatch.setattr("harness.run.ray_pool._plain", lambda splits: None)
    bench: Any = SimpleNamespace(threads=1, device="cpu", registry=None, splits=None)
    cluster = Cluster(lambda job: bench, ())
    cluster._ray = ray = PretendRay()
    jobs = [Job(RunOptions(), piece("mix", str(number))) for number in range(3)]
    for job in jobs:
        cluster.submit(0, job, None)

    results = [finished[1] for finished in [cluster.wait() for _ in jobs] if finished]

    assert ray.functions == 1 and len(results) == 3
    for result in results:
        assert isinstance(result, RunResult)
        assert all(array.flags.owndata and array.flags.writeable for array in result.arrays.values())
        assert np.array_equal(result.arrays["dssim"], np.arange(10.0))
