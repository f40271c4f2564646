"""The local engine: a process for each worker, on one core or one GPU each. One that ends early is replaced.

So is one that has run somebody else's plugins, before it does a piece without them: what they changed in the process
(sys.path, a limit, a function of a library) ends with it. Pieces with the same plugins may share a worker, and what it
has learned from the data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Self

from harness.records import RunResult
from harness.registry import Registry
from harness.run.jobs import Job
from harness.run.scheduler import WorkerLost
from harness.run.worker import serve
from harness.system import fork_server
from harness.system.device import available_cores, device_type, free_memory

MEMORY = 3 * 2**30
"""Bytes of memory that one worker is given, at least."""


def how_many(device: str, threads: int, pieces: int, root: Path = Path("/"), memory: int = MEMORY) -> int:
    """The most workers that this machine's cores, memory and GPUs and the number of pieces allow; at least 1.

    Limits of a container count.

    root    of the file system, for tests
    memory  bytes that a piece takes, where that is more than MEMORY
    """
    room = _gpus() if device_type(device) == "cuda" else max(1, available_cores(root) // threads)
    return max(1, min(room, pieces, free_memory(root) // max(MEMORY, memory)))


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


@dataclass
class _WorkerProcess:
    """A process, the connection to it, and the job that it does.

    number   of that job: a result with another one is of a copy of the process that a plugin has forked
    plugins  somebody else's that have run in it
    """

    process: fork_server.Child
    connection: Connection
    job: Job | None = None
    number: int = 0
    plugins: frozenset[str] = frozenset()
    is_spoiled: bool = False


@dataclass
class Pool:
    """Workers in processes of this machine.

    registry        each worker loads its files
    release_folder  where they share releases
    """

    workers: int
    device: str
    registry: Registry
    release_folder: Path
    _processes: list[_WorkerProcess] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._processes = [self._start_worker() for _ in range(self.workers)]
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._processes:
            _end(each)

    def _start_worker(self) -> _WorkerProcess:
        ours, theirs = Pipe()
        process = fork_server.launch(serve, (theirs, self.registry.files, self.release_folder), "use --workers 1")
        theirs.close()
        return _WorkerProcess(process, ours)

    def idle(self) -> Iterable[int]:
        return [number for number, each in enumerate(self._processes) if each.job is None]

    def submit(self, worker: int, job: Job, proof: RunResult | None) -> None:
        each, plugins = self._processes[worker], job.foreign_plugins(self.registry)
        if each.is_spoiled or (each.plugins and each.plugins != plugins):
            _end(each)
            each = self._processes[worker] = self._start_worker()
        each.job, each.plugins = job, plugins
        each.number += 1
        device = f"cuda:{worker}" if self.device == "cuda" else self.device
        sent = replace(job, options=replace(job.options, device=device))
        with contextlib.suppress(OSError):  # the worker has ended: wait() reports it
            each.connection.send((each.number, sent, proof))

    def wait(self, seconds: float | None = None) -> tuple[Job, RunResult | WorkerLost] | None:
        busy: dict[Any, int] = {}
        for number, each in enumerate(self._processes):
            if each.job is not None:  # the end of a process shows on its connection, unless a child of its has that too
                busy |= {each.connection: number, each.process.sentinel: number}
        ready = wait(list(busy), seconds)
        if not ready:
            return None
        number = busy[next(iter(ready))]
        worker = self._processes[number]
        job = worker.job
        assert job is not None
        with contextlib.suppress(Exception):  # it has ended, or what it sent is no result
            has_ended = worker.process.has_ended
            while worker.connection.poll():
                sent, result = worker.connection.recv()
                if sent == worker.number:
                    worker.job = None
                    worker.is_spoiled = bool(worker.plugins) and result.status == "failed"
                    return job, result
            if not has_ended:
                return None
        code = _end(worker)
        self._processes[number] = self._start_worker()
        return job, WorkerLost(_ending(code))


def _end(worker: _WorkerProcess) -> int | None:
    """End it and all that its plugins have left behind; the exit code."""
    worker.connection.close()
    return worker.process.end()


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by signal {-code}" + ("; out of memory? use fewer --workers" if code == -9 else "")
    return f"exit code {code}"
