"""Run crosses: from the names of defenses and attacks to cells, with the workers that an engine says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from harness.client.release_cache import ReleaseCache
from harness.errors import HarnessError
from harness.records import Records, RunResult, provenance
from harness.registry import Entry, Registry
from harness.registry.own_networks import OwnNetwork
from harness.run import memory, probe
from harness.run.bench import UNDEFENDED, Bench
from harness.run.cross import Cell, Cross
from harness.run.jobs import Job
from harness.run.options import RunOptions, load_splits, make_bench
from harness.run.scheduler import InProcess, Workers, run_jobs
from harness.system import fork_server
from harness.system.messages import log
from harness.system.numbers import check_count
from harness.system.scratch import scratch_folder
from harness.system.supervisor import is_supervised
from harness.system.threads import torch_defaults
from harness.types import Splits

LOCAL = "local"
ENGINES = (LOCAL, "ray")


@dataclass(frozen=True)
class Engine:
    """What does the work.

    workers  how many pieces at a time; None: as many as the machine or the cluster has room for. One is this process,
             but for commands: there plugins always run in other processes than the command
    address  of a Ray cluster that runs already
    here     in this process, whatever else is said: benches that no other process can make again
    """

    name: str = LOCAL
    workers: int | None = None
    address: str | None = None
    here: bool = False

    def check(self) -> None:
        if self.name not in ENGINES:
            raise HarnessError(f"engine {self.name!r} is unknown; use {' or '.join(ENGINES)}")
        if self.workers is not None:
            check_count("workers", self.workers)
        if self.address is not None and self.name == LOCAL:
            raise HarnessError(f"address {self.address}: the local engine has none; use --engine ray")


IN_PROCESS = Engine(workers=1)


def run(
    crosses: Sequence[Cross],
    engine: Engine = IN_PROCESS,
    report: Callable[[str], None] | None = None,
    finished: Callable[[RunResult], None] = lambda _: None,
) -> list[list[Cell]]:
    """Do every piece of all crosses that is not recorded yet; the cells of each cross.

    report    called with the name of each piece that begins
    finished  called with the result of every piece, first of those that are recorded
    """
    work = {job.key: (job, cross.bench) for cross in crosses for job in cross.jobs()}
    for cross in crosses:
        cross.bench.records.check_writable()
    results = ((key, bench.find(job.piece)) for key, (job, bench) in work.items())
    done = {key: result for key, result in results if result is not None}
    to_do = [job for key, (job, _) in work.items() if key not in done]
    folders = ", ".join(sorted({str(cross.bench.records.folder) for cross in crosses}))
    log.debug("%d pieces of work: %d recorded in %s, %d to do", len(work), len(done), folders, len(to_do))
    memory.must_fit([job.piece.spec for job in to_do], crosses[0].bench.device)

    for result in done.values():
        finished(result)

    def bench_for(job: Job) -> Bench:
        return work[job.key][1]

    with ExitStack() as stack:
        workers = stack.enter_context(_workers(crosses, engine, to_do, stack, bench_for))
        results_by_key = run_jobs(to_do, done, bench_for, workers, report or crosses[0].bench.report, finished)
    return [list(cross.join(results_by_key)) for cross in crosses]


def _workers(
    crosses: Sequence[Cross], engine: Engine, jobs: Sequence[Job], stack: ExitStack, bench_for: Callable[[Job], Bench]
) -> Workers:
    bench = crosses[0].bench
    if engine.here:
        return InProcess(bench_for)
    if engine.name == "ray" and jobs:
        from harness.run.ray_pool import Cluster

        return Cluster(bench_for, bench.registry.files, engine.workers, engine.address)
    from harness.run.process_pool import Pool, how_many

    each = memory.most(job.piece.spec for job in jobs)
    workers = min(len(jobs), engine.workers or how_many(bench.device, bench.threads, len(jobs), memory=each))
    log.debug("device %s, %d threads each; workers: %d", bench.device, bench.threads, workers)
    if not workers or (workers == 1 and not is_supervised()):
        return InProcess(bench_for)
    fork_server.start(bench.registry.worker_modules)
    release_folder = stack.enter_context(scratch_folder())
    return Pool(workers, bench.device, bench.registry, release_folder)


def prepare(
    options: RunOptions,
    registry: Registry,
    report: Callable[[str], None] = lambda _: None,
    progress: Any = None,
) -> Cross:
    """The cross of these options. Wrong names, knobs, data, devices and folders are refused before anything runs."""
    options.check()
    provenance.forget()
    defenses = registry.choose("defenses", options.defense, options.defense_settings or {})
    attacks = registry.choose("attacks", options.attack, options.attack_settings or {})
    cross = crossed(options, registry, defenses, attacks, report, progress)
    check_plugins([cross])
    return cross


def crossed(
    options: RunOptions,
    registry: Registry,
    defenses: list[Entry],
    attacks: list[Entry],
    report: Callable[[str], None] = lambda _: None,
    progress: Any = None,
    bench: Bench | None = None,
) -> Cross:
    """The cross of these entries; on a bench that is given, its data are not loaded again. See `check_plugins`.

    Somebody else's plugins are imported before the data are loaded: one that cannot be is refused at once.
    """
    _ask([entry for entry in (*defenses, *attacks) if entry.is_foreign], registry)
    if bench is None:
        bench = make_bench(options, registry, Records(options.records), progress, release_cache=ReleaseCache())
    splits, (height, width) = bench.splits, bench.splits.size
    counts = f"{len(splits.private)} private, {len(splits.public)} public, {len(splits.test)} test images"
    log.debug("data set %s (%s): %s of %dx%d", splits.name, splits.fingerprint, counts, height, width)
    bench = replace(bench, epochs=options.epochs, releases=options.releases, report=report)
    bench.check_utility()
    return Cross(bench, defenses, attacks, options.seeds, options.utility, options)


def check_plugins(crosses: Sequence[Cross]) -> None:
    """Ask the plugins that have work to do whether they suit their cross. Raises HarnessError where one is refused.

    A run that is finished asks nobody: it imports neither plugins nor torch.
    """
    for cross in crosses:
        left = [entry for entry in cross.with_work() if repr(entry) not in cross.answers]
        answers = _ask(left, cross.bench.registry, cross.bench.splits)
        cross.answers.update({repr(entry): answer for entry, answer in zip(left, answers, strict=True)})


def _ask(entries: Sequence[Entry | OwnNetwork], registry: Registry, splits: Splits | None = None) -> list[probe.Answer]:
    """Answers about these plugins, on the images that they are for where these are given; refused: HarnessError."""
    if not entries:
        return []
    question = probe.Question(entries, None, (0, 0))
    if splits is not None:
        question = probe.Question(entries, splits.private.labels, splits.size, len(splits.classes))
    if is_supervised():
        fork_server.start(registry.worker_modules)
        answers = probe.ask_apart(question, registry)
    else:
        with torch_defaults():
            answers = probe.ask(question, registry)
    for answer in answers:
        if answer.refused is not None:
            raise HarnessError(answer.refused)
    return answers


__all__ = ["UNDEFENDED", "Engine", "RunOptions", "crossed", "load_splits", "prepare", "run"]
