"""Running crosses: with which workers, from names to cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.client.release_cache import ReleaseCache, shared_release_cache
from harness.errors import HarnessError
from harness.records import Records, provenance
from harness.registry import Entry, Registry, bind, load_registry
from harness.run.bench import UNDEFENDED, Bench
from harness.run.cross import Cell, Cross
from harness.run.options import RunOptions, bench_of, load_splits
from harness.run.scheduler import InProcess, Job, Workers, run_jobs

LOCAL = "local"
ENGINES = (LOCAL, "ray")


@dataclass(frozen=True)
class Engine:
    """Who does the work.

    workers  how many pieces at a time; None: as many as the machine or the cluster has room for; 1: in this process
    address  of a Ray cluster that is there already
    """

    name: str = LOCAL
    workers: int | None = None
    address: str | None = None

    def check(self) -> None:
        if self.name not in ENGINES:
            raise HarnessError(f"engine {self.name!r} is unknown; use {' or '.join(ENGINES)}")
        if self.workers is not None and self.workers < 1:
            raise HarnessError(f"workers {self.workers} is too few; use 1 or more")
        if self.address is not None and self.name == LOCAL:
            raise HarnessError(f"address {self.address}: the local engine has none; use --engine ray")


HERE = Engine(workers=1)


def run(
    crosses: Sequence[Cross],
    engine: Engine = HERE,
    report: Callable[[str], None] | None = None,
) -> list[list[Cell]]:
    """Do what is not recorded yet of all crosses together; the cells of each."""
    work = {task.key: (task, cross.bench) for cross in crosses for task in cross.jobs()}
    for cross in crosses:
        cross.bench.records.check_writable()
    looked = ((key, bench.found(task.piece)) for key, (task, bench) in work.items())
    done = {key: result for key, result in looked if result is not None}
    left = [task for key, (task, _) in work.items() if key not in done]

    def bench_for(task: Job) -> Bench:
        return work[task.key][1]

    with ExitStack() as stack:
        crew = stack.enter_context(_crew(crosses, engine, len(left), stack, bench_for))
        results = run_jobs(left, done, bench_for, crew, report or crosses[0].bench.report)
    return [list(cross.join(results)) for cross in crosses]


def _crew(
    crosses: Sequence[Cross], engine: Engine, left: int, stack: ExitStack, benches: Callable[[Job], Bench]
) -> Workers:
    bench = crosses[0].bench
    if engine.name == "ray" and left:
        from harness.run.ray_pool import Cluster

        return Cluster(benches, bench.registry.files, engine.workers, engine.address)
    from harness.run.process_pool import Pool, how_many

    workers = min(left, engine.workers or how_many(bench.device, bench.threads, left))
    if workers < 2:
        return InProcess(benches)
    needed = ("defenses", "metrics", "evaluators")
    first = {entry.module for entry in bench.registry.entries if entry.section in needed and entry.origin == "built-in"}
    return Pool(workers, bench.device, bench.registry.files, stack.enter_context(shared_release_cache()), sorted(first))


def prepare(
    order: RunOptions,
    registry: Registry,
    report: Callable[[str], None] = lambda _: None,
    progress: Any = None,
) -> Cross:
    """Refuse everything that can be refused before anything runs: names, knobs, data, device, folders."""
    order.check()
    provenance.forget()
    defenses = registry.choose("defenses", order.defense, order.defense_settings or {})
    attacks = registry.choose("attacks", order.attack, order.attack_settings or {})
    return crossed(order, registry, defenses, attacks, report, progress)


def crossed(
    order: RunOptions,
    registry: Registry,
    defenses: list[Entry],
    attacks: list[Entry],
    report: Callable[[str], None] = lambda _: None,
    progress: Any = None,
    bench: Bench | None = None,
) -> Cross:
    """These entries on the data of an order, checked; on a bench that is at hand, its data are not loaded again."""
    for entry in (*defenses, *attacks):
        bind(entry)
    if bench is None:
        bench = bench_of(order, registry, Records(order.records), progress, shelf=ReleaseCache())
    bench = replace(bench, epochs=order.epochs, report=report)
    if order.utility:
        bench.check_utility()
    for defense in defenses:
        bench.client.check(defense)
    return Cross(bench, defenses, attacks, order.seeds, order.utility, order)


def evaluate(
    defense: str | Sequence[str] = "all",
    attack: str | Sequence[str] = "all",
    dataset: str = "photos",
    *,
    registry: str | Path | Sequence[str | Path] = (),
    workers: int = 1,
    **options: Any,
) -> dict[str, Any]:
    """`harness run` from Python: the cells that `--json` prints. Options are the fields of `Order`.

    harness.evaluate(defense="shuffle_mix", attack="cnn", dataset="photos")

    workers  processes; with more than one, the calling script needs `if __name__ == "__main__":` around the call
    """
    order = replace(RunOptions(defense, attack, str(dataset)), **options)
    order = replace(order, records=Path(order.records))
    registry = [registry] if isinstance(registry, str | Path) else registry
    cross = prepare(order, load_registry([Path(file) for file in registry]))
    engine = Engine(workers=workers)
    engine.check()
    return {"cells": [cell.document() for cell in run([cross], engine)[0]]}


__all__ = ["UNDEFENDED", "Engine", "RunOptions", "crossed", "evaluate", "load_splits", "prepare", "run"]
