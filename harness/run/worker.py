"""A worker: does the jobs that it is sent, in a process of this machine or on a node of a cluster."""

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
from harness.records import Records, RunResult
from harness.registry import Registry, load_registry
from harness.registry.guard import failure
from harness.run.bench import OUT_OF_MEMORY, Bench
from harness.run.jobs import Job
from harness.run.options import RunOptions, make_bench
from harness.system import fork_server
from harness.system.device import keep_freed_memory
from harness.system.scratch import stay_in_named_folder
from harness.types import Splits

_SETS = 2
"""Data sets that a worker keeps open."""


@dataclass
class Worker:
    """Does jobs one after the other; keeps data sets and what was learned from them for the next.

    release_cache  where the workers of this machine share releases
    """

    registry: Registry
    release_cache: ReleaseCache
    _benches: dict[RunOptions, dict[tuple[int, int], Bench]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keep_freed_memory()
        stay_in_named_folder()

    def do(self, job: Job, proof: RunResult | None, splits: Splits | None = None) -> RunResult:
        """The piece's result; an error of data, device or memory is a failure of this piece."""
        try:
            return self._bench(job.options, splits).do(job.piece, proof)
        except MemoryError:
            reason = OUT_OF_MEMORY
        except BaseException as error:  # of a data set's plugin, say; the sender handles Ctrl-C
            reason = failure(error)
        return RunResult(job.piece.spec, "failed", reason)

    def _bench(self, options: RunOptions, splits: Splits | None) -> Bench:
        data = options.data_options()
        if data not in self._benches:
            while len(self._benches) >= _SETS:
                self._benches.pop(next(iter(self._benches)))
            bench = make_bench(options, self.registry, Records.nowhere(), None, splits, self.release_cache)
            self._benches[data] = {(options.epochs, options.release_count): bench}
        benches, asked = self._benches[data], (options.epochs, options.release_count)
        if asked not in benches:
            benches[asked] = next(iter(benches.values())).with_epochs(*asked)
        return benches[asked]


def serve(environment: dict[str, str], connection: Connection, files: Sequence[Path], release_folder: Path) -> None:
    """The loop of a worker process: receives a numbered job, sends its result with the number.

    It ends when the connection is closed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sender handles Ctrl-C
    fork_server.begin(environment)
    this = os.getpid()
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox), daemon=True).start()
    worker = Worker(load_registry(files), ReleaseCache(release_folder))
    while True:
        number, job, proof = inbox.get()
        result = worker.do(job, proof)
        if os.getpid() != this:  # a plugin has forked, and this is the copy
            os._exit(0)
        try:
            connection.send((number, result))
        except OSError:  # a plugin has closed it: the sender sees that this process has ended
            os._exit(1)


def _listen(connection: Connection, inbox: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)
