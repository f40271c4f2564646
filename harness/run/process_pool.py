"""The local engine: a process for each worker, on one core or one GPU each. One that ends early is replaced."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

from harness.errors import HarnessError
from harness.records import RunResult
from harness.run.scheduler import Job, WorkerLost
from harness.run.worker import serve
from harness.system import fork_server
from harness.system.device import available_cores, device_type, free_memory

MEMORY = 3 * 2**30
"""Bytes of memory that one worker needs."""


def how_many(device: str, threads: int, pieces: int, root: Path = Path("/")) -> int:
    """The most workers that this machine's cores, memory and GPUs and the number of pieces allow; at least 1.

    Limits of a container count. root: of the file system, for tests
    """
    room = _gpus() if device_type(device) == "cuda" else max(1, available_cores(root) // threads)
    return max(1, min(room, pieces, free_memory(root) // MEMORY))


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


@dataclass
class _WorkerProcess:
    """A process, the connection to it, and the job that it does."""

    process: BaseProcess
    connection: Connection
    job: Job | None = None


@dataclass
class Pool:
    """Workers in processes of this machine.

    files           registry files, which each worker loads
    release_folder  where they share releases
    """

    workers: int
    device: str
    files: Sequence[Path]
    release_folder: Path
    _processes: list[_WorkerProcess] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._context: Any = fork_server.context()
        self._processes = [self._start_worker() for _ in range(self.workers)]
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._processes:
            each.connection.close()
            each.process.kill()
        for each in self._processes:
            each.process.join()

    def _start_worker(self) -> _WorkerProcess:
        ours, theirs = self._context.Pipe()
        environment = dict(os.environ)  # the fork server's own may be of an earlier run
        arguments = (theirs, self.files, self.release_folder, environment)
        process = self._context.Process(target=serve, args=arguments, daemon=True)
        try:
            process.start()
        except OSError as error:
            raise HarnessError(f"cannot start a worker: {error.strerror or error}; use --workers 1") from None
        theirs.close()
        return _WorkerProcess(process, ours)

    def idle(self) -> Iterable[int]:
        return [number for number, each in enumerate(self._processes) if each.job is None]

    def submit(self, worker: int, job: Job, proof: RunResult | None) -> None:
        self._processes[worker].job = job
        device = f"cuda:{worker}" if self.device == "cuda" else self.device
        sent = replace(job, options=replace(job.options, device=device))
        with contextlib.suppress(OSError):  # the worker has ended: wait() reports it
            self._processes[worker].connection.send((sent, proof))

    def wait(self, seconds: float | None = None) -> tuple[Job, RunResult | WorkerLost] | None:
        busy: dict[Any, int] = {}
        for number, each in enumerate(self._processes):
            if each.job is not None:  # the end of a process shows on its connection, unless it has children of its own
                busy |= {each.connection: number, each.process.sentinel: number}
        ready = wait(list(busy), seconds)
        if not ready:
            return None
        number = busy[next(iter(ready))]
        worker = self._processes[number]
        job = worker.job
        assert job is not None
        worker.job = None
        try:
            if not worker.connection.poll():
                raise EOFError
            return job, worker.connection.recv()
        except Exception:  # it has ended, or what it sent is no result
            worker.process.kill()
            worker.connection.close()
            worker.process.join()
            self._processes[number] = self._start_worker()
            return job, WorkerLost(_ending(worker.process.exitcode))


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by signal {-code}" + ("; out of memory? use fewer --workers" if code == -9 else "")
    return f"exit code {code}"
