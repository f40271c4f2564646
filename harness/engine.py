"""Crosses: what is run, with which workers, and how the records of a cross are joined into its cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import provenance
from harness.cell import UNDEFENDED, Bench, Piece
from harness.crossing import Cell
from harness.drive import Crew, Here, drive
from harness.errors import HarnessError
from harness.order import Order, bench_of, load_splits, seeds_of
from harness.records import Records, RunResult
from harness.registry import Entry, Registry, bind, load_registry, why_not_ready
from harness.schedule import Task
from harness.shelf import Shelf, shared_shelf
from harness.worker import at

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


@dataclass(frozen=True)
class Cross:
    """A bench with the entries that are crossed on it."""

    bench: Bench
    defenses: list[Entry]
    attacks: list[Entry]
    seeds: int | Sequence[int]
    utility: bool
    order: Order = field(default_factory=Order)

    def at(self, epochs: int) -> Cross:
        """The same cross at another T. The data and the releases are shared."""
        return replace(self, bench=at(self.bench, epochs), order=replace(self.order, epochs=epochs))

    def refuse_what_cannot_run(self) -> None:
        """Where every attack has work to do and lacks something for it (credentials, weights): say what."""
        to_do = {item["attack"] for item in self.plan() if not item["done"]}
        lacking = [why_not_ready(attack) for attack in self.attacks if attack.name in to_do]
        if len(lacking) == len(self.attacks) and all(lacking):
            raise HarnessError("; ".join(dict.fromkeys(map(str, lacking))))

    def cells(self) -> list[Cell]:
        """Run what is not recorded yet, here."""
        return run([self])[0]

    def pieces(self) -> list[Piece]:
        """Every piece of work, proofs first."""
        bench = self.bench
        found = []
        for seed in seeds_of(self.seeds):
            for defense in (bench.undefended, *self.defenses):
                asked = defense in self.defenses
                found.append(bench.release_piece(defense, seed))
                shown = [attack for attack in self.attacks if asked or "learned" in attack.traits]
                found += [bench.attack_piece(defense, attack, seed) for attack in shown]
                if self.utility:
                    found.append(bench.utility_piece(defense, seed))
        return list({piece.spec.key: piece for piece in found}.values())

    def tasks(self) -> list[Task]:
        return [Task(self.order, piece) for piece in self.pieces()]

    def join(self, results: dict[str, RunResult]) -> Iterator[Cell]:
        """The cells, from the results of all pieces."""
        bench = self.bench
        for seed in seeds_of(self.seeds):
            undefended = self._once_per_defense(bench.undefended, seed, results)
            for defense in self.defenses:
                release, *utility = self._once_per_defense(defense, seed, results)
                for attack in self.attacks:
                    learned = "learned" in attack.traits
                    proof = [results[bench.attack_spec(bench.undefended, attack, seed).key]] if learned else []
                    attacked = results[bench.attack_spec(defense, attack, seed).key]
                    trained = utility[0] if utility else None
                    beside = (*undefended, *proof)
                    yield Cell(defense, attack, seed, bench.epochs, release, attacked, trained, beside)

    def _once_per_defense(self, defense: Entry, seed: int, results: dict[str, RunResult]) -> list[RunResult]:
        specs = [self.bench.release_spec(defense, seed)]
        specs += [self.bench.utility_spec(defense, seed)] if self.utility else []
        return [results[spec.key] for spec in specs]

    def plan(self) -> list[dict[str, Any]]:
        """Every piece of work, with whether it is done: what `--dry-run` prints."""
        return [
            {
                "key": piece.spec.key,
                "kind": piece.spec.kind,
                "dataset": piece.spec.inputs["dataset"]["name"],
                "defense": piece.defense.name,
                "attack": piece.attack.name if piece.attack else None,
                "seed": piece.seed,
                "done": self.bench.records.find(piece.spec) is not None,
            }
            for piece in self.pieces()
        ]


def run(
    crosses: Sequence[Cross],
    engine: Engine = HERE,
    report: Callable[[str], None] | None = None,
) -> list[list[Cell]]:
    """Do what is not recorded yet of all crosses together; the cells of each."""
    benches = {task.key: cross.bench for cross in crosses for task in cross.tasks()}
    tasks = [task for cross in crosses for task in cross.tasks()]
    for cross in crosses:
        cross.bench.records.check_writable()
    with ExitStack() as stack:
        left = sum(benches[task.key].found(task.piece) is None for task in tasks)
        crew = stack.enter_context(_crew(crosses, engine, left, stack, lambda task: benches[task.key]))
        results = drive(tasks, lambda task: benches[task.key], crew, report or crosses[0].bench.report)
    return [list(cross.join(results)) for cross in crosses]


def _crew(
    crosses: Sequence[Cross], engine: Engine, left: int, stack: ExitStack, benches: Callable[[Task], Bench]
) -> Crew:
    bench = crosses[0].bench
    if engine.name == "ray" and left:
        from harness.cluster import Cluster

        return Cluster(benches, bench.registry.files, engine.workers, engine.address)
    from harness.pool import Pool, how_many

    workers = min(left, engine.workers or how_many(bench.device, bench.threads, left))
    if workers < 2:
        return Here(benches)
    needed = ("defenses", "metrics", "evaluators")
    first = {entry.module for entry in bench.registry.entries if entry.section in needed and entry.origin == "built-in"}
    return Pool(workers, bench.device, bench.registry.files, stack.enter_context(shared_shelf()), sorted(first))


def prepare(
    order: Order,
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
    order: Order,
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
        bench = bench_of(order, registry, Records(order.records), progress, shelf=Shelf())
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
    order = replace(Order(defense, attack, str(dataset)), **options)
    order = replace(order, records=Path(order.records))
    registry = [registry] if isinstance(registry, str | Path) else registry
    cross = prepare(order, load_registry([Path(file) for file in registry]))
    engine = Engine(workers=workers)
    engine.check()
    return {"cells": [cell.document() for cell in run([cross], engine)[0]]}


__all__ = ["UNDEFENDED", "Cell", "Cross", "Engine", "Order", "crossed", "evaluate", "load_splits", "prepare", "run"]
