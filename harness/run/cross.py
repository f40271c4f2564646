"""One crossing of a defense and an attack, joined from its records.

A cross: which pieces of work defenses and attacks make on a bench, and the cells that their results join into.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.errors import HarnessError
from harness.records import RunResult
from harness.registry import Entry, why_not_ready
from harness.run.bench import Bench, Piece
from harness.run.options import RunOptions, at, seeds_of
from harness.run.scheduler import Job
from harness.statistics import paired


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
    seeds: int | Sequence[int]
    utility: bool
    order: RunOptions = field(default_factory=RunOptions)

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

    def tasks(self) -> list[Job]:
        return [Job(self.order, piece) for piece in self.pieces()]

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
