"""Run cells of the cross, here and one after the other; what fails is recorded and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import networks, provenance
from harness.cell import UNDEFENDED, Bench
from harness.datasets import load
from harness.device import choose_device, use_threads
from harness.errors import HarnessError
from harness.records import Records, RunResult
from harness.registry import ALL, Entry, Registry, bind, load_registry, why_not_ready
from harness.statistics import paired
from harness.types import Splits


@dataclass(frozen=True)
class Order:
    """What is asked for: the arguments of `harness run` (see there)."""

    defense: str | Sequence[str] = ALL
    attack: str | Sequence[str] = ALL
    dataset: str = "photos"
    defense_settings: Mapping[str, Any] | None = None
    attack_settings: Mapping[str, Any] | None = None
    epochs: int = 10
    seeds: int = 1
    limit: int | None = None
    targets: int = 1000
    size: int | None = None
    public_share: float | None = None
    utility: bool = True
    model: str | None = None
    recipe: str | None = None
    device: str = "auto"
    threads: int | None = None
    records: Path = Path("results")


@dataclass(frozen=True)
class Cell:
    """One crossing, joined from its records.

    epochs  T, the releases that utility and multi-release attacks had
    beside  the undefended rows that it is read against: their release, their utility, the same attack on them
    """

    defense: Entry
    attack: Entry
    seed: int
    epochs: int
    release: RunResult
    attacked: RunResult
    utility: RunResult | None = None
    beside: tuple[RunResult, ...] = ()

    @property
    def parts(self) -> list[RunResult]:
        return [part for part in (self.release, self.attacked, self.utility) if part is not None]

    @property
    def status(self) -> str:
        """The attack's, unless a part that it is read with has failed."""
        read_with = [*self.parts, *(part for part in self.beside if part.spec.kind == "utility")]
        return "failed" if any(part.status == "failed" for part in read_with) else self.attacked.status

    @property
    def reason(self) -> str | None:
        reasons = {str(part.reason): part.spec.kind for part in self.parts if part.status != "ok"}
        said = [f"{kind}: {reason}" for reason, kind in reasons.items()]
        said += [f"undefended {p.spec.kind}: {p.reason}" for p in self.beside if p.status == "failed" and self.utility]
        return "; ".join(said) or None

    @property
    def scores(self) -> dict[str, Any]:
        """Everything that was measured, utility with what it lost against the undefended model on the same images."""
        joined = {name: score for part in self.parts for name, score in part.scores.items()}
        reference = next((part for part in self.beside if part.spec.kind == "utility" and part.arrays), None)
        if self.utility and self.utility.arrays and reference:
            gap = paired(reference.arrays["utility"], self.utility.arrays["utility"])
            joined["utility_gap"] = {**gap, "p5": None, "min": None}
        return joined

    def document(self) -> dict[str, Any]:
        """The cell as `--json` prints it."""
        return {
            "dataset": self.release.inputs["dataset"]["name"],
            "defense": self.defense.name,
            "attack": self.attack.name,
            "seed": self.seed,
            "epochs": self.epochs,
            "status": self.status,
            "reason": self.reason,
            "params": {**self.defense.params, **(self.defense.mixing or {}), "attack": dict(self.attack.params)},
            "granted": list(self.attack.granted),
            "scores": self.scores,
            "seconds": round(sum(part.seconds for part in self.parts), 3),
            "records": [part.spec.key for part in self.parts],
        }


@dataclass(frozen=True)
class Cross:
    """A bench with the entries that are crossed on it."""

    bench: Bench
    defenses: list[Entry]
    attacks: list[Entry]
    seeds: int
    utility: bool

    def at(self, epochs: int) -> Cross:
        """The same cross at another T. The data are shared; what does not depend on T is found in its records."""
        return replace(self, bench=replace(self.bench, epochs=epochs))

    def refuse_what_cannot_run(self) -> None:
        """Where every attack has work to do and lacks something for it (credentials, weights): say what."""
        to_do = {item["attack"] for item in self.plan() if not item["done"]}
        lacking = [why_not_ready(attack) for attack in self.attacks if attack.name in to_do]
        if len(lacking) == len(self.attacks) and all(lacking):
            raise HarnessError("; ".join(dict.fromkeys(map(str, lacking))))

    def cells(self) -> Iterator[Cell]:
        """Run what is not recorded yet; a cell is yielded when all its parts are."""
        self.bench.records.check_writable()
        for seed in range(self.seeds):
            for defense in self.defenses:
                yield from self._row(defense, seed)

    def _row(self, defense: Entry, seed: int) -> Iterator[Cell]:
        bench = self.bench
        undefended = self._once_per_defense(bench.undefended, seed)
        release, *utility = self._once_per_defense(defense, seed)
        for attack in self.attacks:
            proof = (bench.attack(bench.undefended, attack, seed),) if "learned" in attack.traits else ()
            attacked = bench.attack(defense, attack, seed)
            beside = (*undefended, *proof)
            trained = utility[0] if utility else None
            yield Cell(defense, attack, seed, bench.epochs, release, attacked, trained, beside)

    def _once_per_defense(self, defense: Entry, seed: int) -> list[RunResult]:
        release = self.bench.release(defense, seed)
        return [release, self.bench.usefulness(defense, seed)] if self.utility else [release]

    def plan(self) -> list[dict[str, Any]]:
        """Every piece of work, with whether it is done: what `--dry-run` prints."""
        bench, specs = self.bench, []
        for seed in range(self.seeds):
            for defense in (bench.undefended, *self.defenses):
                specs.append(bench.release_spec(defense, seed))
                if self.utility:
                    specs.append(bench.utility_spec(defense, seed))
                for attack in self.attacks:
                    if defense in self.defenses or "learned" in attack.traits:
                        specs.append(bench.attack_spec(defense, attack, seed))
        unique = {spec.key: spec for spec in specs}.values()
        return [
            {
                "key": spec.key,
                "kind": spec.kind,
                "dataset": spec.inputs["dataset"]["name"],
                "defense": spec.inputs["defense"]["name"],
                "attack": spec.inputs.get("attack", {}).get("name"),
                "seed": spec.inputs["seed"],
                "done": self.bench.records.find(spec) is not None,
            }
            for spec in unique
        ]


def prepare(
    order: Order,
    registry: Registry,
    report: Callable[[str], None] = lambda _: None,
    progress: Any = None,
) -> Cross:
    """Refuse everything that can be refused before anything runs: names, knobs, data, device, folders."""
    _check(order)
    provenance.forget()
    defenses = registry.choose("defenses", order.defense, order.defense_settings or {})
    attacks = registry.choose("attacks", order.attack, order.attack_settings or {})
    for entry in (*defenses, *attacks):
        bind(entry)
    device = choose_device(order.device)
    threads = use_threads(order.threads)
    splits = load_splits(order, registry, progress)
    chosen = {"model": order.model, "recipe": order.recipe}
    bench = Bench(
        splits,
        registry,
        Records(order.records),
        device,
        order.epochs,
        order.targets,
        threads,
        {name: value for name, value in chosen.items() if value is not None},
        report,
    )
    if order.utility:
        bench.check_utility()
    for defense in defenses:
        bench.client.check(defense)
    return Cross(bench, defenses, attacks, order.seeds, order.utility)


def load_splits(order: Order, registry: Registry, progress: Any = None) -> Splits:
    entries = {name: bind(entry) for name, entry in registry.section("datasets").items()}
    return load(
        order.dataset,
        size=order.size,
        limit=order.limit,
        public_share=order.public_share,
        entries=entries,
        progress=progress,
    )


def evaluate(
    defense: str | Sequence[str] = ALL,
    attack: str | Sequence[str] = ALL,
    dataset: str = "photos",
    *,
    registry: str | Path | Sequence[str | Path] = (),
    **options: Any,
) -> dict[str, Any]:
    """`harness run` from Python: the cells that `--json` prints. Options are the fields of `Order`.

    harness.evaluate(defense="shuffle_mix", attack="cnn", dataset="photos")
    """
    order = replace(Order(defense, attack, str(dataset)), **options)
    order = replace(order, records=Path(order.records))
    registry = [registry] if isinstance(registry, str | Path) else registry
    return {
        "cells": [cell.document() for cell in prepare(order, load_registry([Path(file) for file in registry])).cells()]
    }


def _check(order: Order) -> None:
    for name, least in (("epochs", 1), ("seeds", 1), ("targets", 1)):
        if getattr(order, name) < least:
            raise HarnessError(f"{name} {getattr(order, name)} is too few; use {least} or more")
    settings = order.attack_settings or {}
    if "train_epochs" in settings and settings["train_epochs"] < 1:
        raise HarnessError(f"train_epochs {settings['train_epochs']} is too few; use 1 or more")
    if "arch" in settings:
        networks.check_name(str(settings["arch"]))
    if order.threads is not None and order.threads < 1:
        raise HarnessError(f"threads {order.threads} is too few; use 1 or more")


__all__ = ["UNDEFENDED", "Cell", "Cross", "Order", "evaluate", "load_splits", "prepare"]
