"""The Ray engine: jobs as tasks of a cluster, on one machine or many (the `ray` extra).

Each task asks for the threads of its cell, or for a GPU. The images travel once to every node, into its object store; a
task whose worker or node is lost is done again elsewhere, by Ray. Results come back here, where records are written.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from harness.client.release_cache import ReleaseCache, node_folder
from harness.errors import HarnessError
from harness.records import RunResult
from harness.registry import load_registry
from harness.run.bench import Bench
from harness.run.jobs import Job
from harness.run.options import RunOptions
from harness.run.scheduler import TRIES, WorkerLost
from harness.run.worker import Worker
from harness.system.device import device_type
from harness.types import Dataset, Splits

_ALL = 10_000
"""Tasks that Ray is given at a time where no limit is set."""


@dataclass
class Cluster:
    """Ray workers.

    workers  tasks at a time; None: as many as the cluster has room for, now and when it grows
    address  of a cluster that runs already; without one, a cluster of this machine alone is started and stopped
    """

    bench_for: Callable[[Job], Bench]
    files: tuple[Path, ...]
    workers: int | None = None
    address: str | None = None
    _images_by_data: dict[RunOptions, Any] = field(default_factory=dict)
    _functions: dict[str, Any] = field(default_factory=dict)
    _running: dict[Any, Job] = field(default_factory=dict)
    _started: bool = False
    _run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def __enter__(self) -> Self:
        try:
            import ray
        except ImportError:
            raise HarnessError('the ray engine needs Ray; pip install "obfuscation-harness[ray]"') from None
        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            try:
                ray.init(self.address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())[:200]
                raise HarnessError(f"no Ray cluster at {self.address or 'this machine'}: {reason}") from None
        return self

    def __exit__(self, *_: object) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        if self._started:
            self._ray.shutdown()

    def idle(self) -> Iterable[int]:
        """Ray places each task itself, so every worker is number 0. Ray queues tasks that have no room yet."""
        return [0] * ((self.workers or _ALL) - len(self._running))

    def submit(self, worker: int, job: Job, proof: RunResult | None) -> None:
        bench = self.bench_for(job)
        request: dict[str, Any] = (
            {"num_cpus": bench.threads} if device_type(bench.device) == "cpu" else {"num_cpus": 1, "num_gpus": 1}
        )
        if job.foreign_plugins(bench.registry):  # what they change in the process ends with it
            request["max_calls"] = 1
        sent = replace(job, options=replace(job.options, device=device_type(bench.device), threads=bench.threads))
        reference = self._remote(request).remote(sent, proof, self.files, self._images(job, bench), self._run)
        self._running[reference] = job

    def _remote(self, request: Mapping[str, Any]) -> Any:
        """`_do` for such requests: sent to the cluster once, and not for every job."""
        name = repr(request)
        if name not in self._functions:
            self._functions[name] = self._ray.remote(max_retries=TRIES, **request)(_do)
        return self._functions[name]

    def _images(self, job: Job, bench: Bench) -> Any:
        data_options = job.options.data_options()
        if data_options not in self._images_by_data:
            self._images_by_data[data_options] = self._ray.put(_plain(bench.splits))
        return self._images_by_data[data_options]

    def wait(self, seconds: float | None = None) -> tuple[Job, RunResult | WorkerLost] | None:
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        if not ready:
            return None
        (reference,) = ready
        job = self._running.pop(reference)
        try:
            result: RunResult = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return job, WorkerLost(" ".join(str(error).split())[:200])
        # Ray's arrays lie in the message, which they would keep
        return job, replace(result, arrays={name: array.copy() for name, array in result.arrays.items()})


_workers: dict[str, Worker] = {}


def _do(job: Job, proof: RunResult | None, files: tuple[Path, ...], splits: Splits, run: str) -> RunResult:
    """Do a job on a node; the process keeps its worker for the next job of the run."""
    if run not in _workers:
        _workers.clear()
        _workers[run] = Worker(load_registry(files), ReleaseCache(node_folder(run)))
    return _workers[run].do(job, proof, splits)


def _plain(splits: Splits) -> Splits:
    """Without memory maps: arrays that Ray hands to every task of a node without a copy."""

    def plain(role: Dataset) -> Dataset:
        return replace(role, images=np.ascontiguousarray(role.images).view(np.ndarray))

    return replace(splits, private=plain(splits.private), public=plain(splits.public), test=plain(splits.test))
