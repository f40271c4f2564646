"""A cross: which pieces of work defenses and attacks make on a bench, and the cells that their results join into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.cell import Bench, Piece
from harness.crossing import Cell
from harness.errors import HarnessError
from harness.order import Order, at, seeds_of
from harness.records import RunResult
from harness.registry import Entry, why_not_ready
from harness.schedule import Task


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
