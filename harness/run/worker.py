"""What a worker does, in a process of its own here or on a node of a cluster: the pieces that it is sent."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.client.release_cache import ReleaseCache
from harness.errors import HarnessError
from harness.records import Records, RunResult
from harness.registry import Registry, load_registry
from harness.run.bench import OUT_OF_MEMORY, Bench
from harness.run.options import RunOptions, at, bench_of
from harness.run.scheduler import Job
from harness.system.device import keep_freed_memory
from harness.types import Splits

_SETS = 2
"""Data sets that a worker keeps open."""


@dataclass
class Worker:
    """Does pieces, one after the other; keeps the data and what it learned for the next.

    shelf  where workers of this machine share releases
    """

    registry: Registry
    shelf: ReleaseCache
    _benches: dict[RunOptions, dict[int, Bench]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keep_freed_memory()

    def do(self, task: Job, proof: RunResult | None, splits: Splits | None = None) -> RunResult:
        """The piece's result; what is wrong with data, device or memory is a failure of this piece too."""
        try:
            return self._bench(task.order, splits).do(task.piece, proof)
        except MemoryError:
            reason = OUT_OF_MEMORY
        except HarnessError as error:
            reason = str(error)
        return RunResult(task.piece.spec, "failed", reason)

    def _bench(self, order: RunOptions, splits: Splits | None) -> Bench:
        stage = order.stage()
        if stage not in self._benches:
            while len(self._benches) >= _SETS:
                self._benches.pop(next(iter(self._benches)))
            bench = bench_of(order, self.registry, Records.nowhere(), splits=splits, shelf=self.shelf)
            self._benches[stage] = {order.epochs: bench}
        found = self._benches[stage]
        if order.epochs not in found:
            found[order.epochs] = at(next(iter(found.values())), order.epochs)
        return found[order.epochs]


def serve(connection: Connection, files: Sequence[Path], shelf: Path, environment: dict[str, str]) -> None:
    """A process's life: a task comes in, its result goes out. It ends with whoever sends them, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the sender's to answer
    os.environ.clear()
    os.environ.update(environment)
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox), daemon=True).start()
    worker = Worker(load_registry(files), ReleaseCache(shelf))
    while True:
        connection.send(worker.do(*inbox.get()))


def _listen(connection: Connection, inbox: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)
