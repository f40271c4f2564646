"""The local engine: a process for each worker, one core or one GPU each, which may be lost and are replaced."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Self

from harness.errors import HarnessError
from harness.records import RunResult
from harness.run.scheduler import Job, WorkerLost
from harness.run.worker import serve
from harness.system.device import available_cores, device_type

MEMORY = 3 * 2**30
"""Bytes that a worker is given room for."""


def how_many(device: str, threads: int, pieces: int) -> int:
    """Workers that this machine has room for: as its cores, its memory, its GPUs and the work allow."""
    import torch

    room = torch.cuda.device_count() if device_type(device) == "cuda" else max(1, available_cores() // threads)
    return max(1, min(room, pieces, _free_memory() // MEMORY))


def _free_memory() -> int:
    try:
        told = Path("/proc/meminfo").read_text()
        return next(int(line.split()[1]) * 1024 for line in told.splitlines() if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@dataclass
class _Hand:
    process: ForkServerProcess
    connection: Connection
    task: Job | None = None


@dataclass
class Pool:
    """Workers in processes of this machine.

    files  registry files, for they load the same one
    shelf  the folder where they share releases
    first  modules that all of them need: imported once, before the first fork
    """

    workers: int
    device: str
    files: Sequence[Path]
    shelf: Path
    first: Sequence[str] = ()
    _hands: list[_Hand] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["harness.run.worker", *self.first])
        self._hands = [self._hire() for _ in range(self.workers)]
        return self

    def __exit__(self, *_: object) -> None:
        for hand in self._hands:
            hand.connection.close()
            hand.process.kill()
        for hand in self._hands:
            hand.process.join()

    def _hire(self) -> _Hand:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self.files, self.shelf, dict(os.environ))  # the fork server's own may be of an earlier run
        process = self._context.Process(target=serve, args=arguments, daemon=True)
        try:
            process.start()
        except OSError as error:
            raise HarnessError(f"cannot start a worker: {error.strerror or error}; use --workers 1") from None
        theirs.close()
        return _Hand(process, ours)

    def free(self) -> Iterable[int]:
        return [number for number, hand in enumerate(self._hands) if hand.task is None]

    def give(self, worker: int, task: Job, proof: RunResult | None) -> None:
        hand = self._hands[worker]
        hand.task = task
        device = f"cuda:{worker}" if self.device == "cuda" else self.device
        sent = replace(task, order=replace(task.order, device=device))
        with contextlib.suppress(OSError):  # it is gone: waiting for it will tell
            hand.connection.send((sent, proof))

    def wait(self) -> tuple[Job, RunResult | WorkerLost]:
        busy = {hand.connection: number for number, hand in enumerate(self._hands) if hand.task is not None}
        connection = next(iter(wait(list(busy))))
        number = busy[connection]  # type: ignore[index]
        hand = self._hands[number]
        task = hand.task
        assert task is not None
        hand.task = None
        try:
            return task, hand.connection.recv()
        except (EOFError, OSError):
            hand.connection.close()
            hand.process.join()
            self._hands[number] = self._hire()
            return task, WorkerLost(_ending(hand.process.exitcode))


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by signal {-code}" + ("; out of memory? use fewer --workers" if code == -9 else "")
    return f"exit code {code}"
