"""A cross of defenses, attacks and seeds on one bench: the pieces that it is made of, and the cells they join into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from harness.errors import HarnessError
from harness.records import RunResult
from harness.registry import Entry
from harness.registry.own_networks import OwnNetwork
from harness.run.bench import Bench, Piece
from harness.run.jobs import Job
from harness.run.options import RunOptions, seeds_of
from harness.run.probe import Answer
from harness.statistics import accuracy_drop

MOST_PIECES = 100_000
"""Of one cross: more take hours to plan alone."""


@dataclass(frozen=True)
class Cell:
    """One defense, attack and seed, joined from its records.

    epochs    T, training epochs of utility
    releases  R, distinct releases that it trained on and that multi-release attacks saw
    beside  the undefended records that it is compared with: their release, their utility, the proof of the attack
    """

    defense: Entry
    attack: Entry
    seed: int
    epochs: int
    releases: int
    release: RunResult
    attacked: RunResult
    utility: RunResult | None = None
    beside: tuple[RunResult, ...] = ()

    @property
    def parts(self) -> list[RunResult]:
        return [part for part in (self.release, self.attacked, self.utility) if part is not None]

    @property
    def status(self) -> str:
        """The attack's status, or failed where its release, its utility or the undefended utility has failed."""
        parts = [*self.parts, *(part for part in self.beside if part.spec.kind == "utility")]
        return "failed" if any(part.status == "failed" for part in parts) else self.attacked.status

    @property
    def reason(self) -> str | None:
        reasons: dict[str, str] = {}
        for part in self.parts:
            if part.status != "ok":
                reasons.setdefault(str(part.reason), part.spec.kind)
        lines = [f"{kind}: {reason}" for reason, kind in reasons.items()]
        lines += [f"undefended {p.spec.kind}: {p.reason}" for p in self.beside if p.status == "failed" and self.utility]
        return "; ".join(lines) or None

    @property
    def scores(self) -> dict[str, Any]:
        """All scores, with the accuracy drop (`utility_gap`) against the undefended model on the same images."""
        joined = {name: score for part in self.parts for name, score in part.scores.items()}
        reference = next((part for part in self.beside if part.spec.kind == "utility" and part.arrays), None)
        if self.utility and self.utility.arrays and reference:
            drop = accuracy_drop([reference.arrays["utility"]], [self.utility.arrays["utility"]])
            joined["utility_gap"] = {**drop, "p5": None, "min": None}
        return joined

    def document(self) -> dict[str, Any]:
        """The cell as `--json` prints it."""
        return {
            "dataset": self.release.inputs["dataset"]["name"],
            "defense": self.defense.name,
            "attack": self.attack.name,
            "seed": self.seed,
            "epochs": self.epochs,
            "releases": self.releases,
            "status": self.status,
            "reason": self.reason,
            "params": {**self.defense.params, **(self.defense.mixing or {}), "attack": dict(self.attack.params)},
            "granted": list(self.attack.granted),
            "scores": self.scores,
            "seconds": round(sum(part.seconds for part in self.parts), 3),
            "records": [part.spec.key for part in self.parts],
        }


@dataclass(frozen=True)
class _DefensePieces:
    """The pieces of one defense and seed; `attacks` stands parallel to the attacks of the cross.

    None: an attack that is not run on the undefended release, or a cross without utility.
    """

    release: Piece
    attacks: tuple[Piece | None, ...]
    utility: Piece | None

    def __iter__(self) -> Iterator[Piece]:
        return (piece for piece in (self.release, *self.attacks, self.utility) if piece is not None)

    def utility_first(self) -> list[Piece]:
        return sorted(self, key=lambda piece: piece is not self.utility)


@dataclass(frozen=True)
class Cross:
    """A bench with the entries that are crossed on it. Its pieces are planned once, when they are first needed.

    answers  of plugins that were asked whether they suit the run, by their entry's text (harness.run.engine)
    """

    bench: Bench
    defenses: list[Entry]
    attacks: list[Entry]
    seeds: int | Sequence[int]
    utility: bool
    options: RunOptions = field(default_factory=RunOptions)
    answers: dict[str, Answer] = field(default_factory=dict)

    def with_epochs(self, epochs: int, releases: int | None = None) -> Cross:
        """The same cross at another T and R. The data and the releases are shared."""
        options = replace(self.options, epochs=epochs, releases=releases)
        return replace(self, bench=self.bench.with_epochs(epochs, releases), options=options)

    @cached_property
    def _planned(self) -> list[list[_DefensePieces]]:
        """For every seed the undefended pieces, then those of every defense in turn."""
        count = len(seeds_of(self.seeds)) * (len(self.defenses) + 1) * (len(self.attacks) + 2)
        if count > MOST_PIECES:
            raise HarnessError(f"{count:,} pieces of work; {MOST_PIECES:,} at most are planned, run fewer at a time")
        planned = []
        for seed in seeds_of(self.seeds):
            undefended = self._pieces_of(self.bench.undefended, seed)
            planned.append([undefended, *(self._pieces_of(each, seed, undefended) for each in self.defenses)])
        return planned

    def _pieces_of(self, defense: Entry, seed: int, undefended: _DefensePieces | None = None) -> _DefensePieces:
        bench = self.bench
        if undefended is None:  # the proofs; every attack where this defense is one of the cross itself
            wanted = [defense in self.defenses or "learned" in attack.traits for attack in self.attacks]
            proofs: list[Piece | None] = [None] * len(self.attacks)
        elif defense == bench.undefended:
            return undefended
        else:
            wanted, proofs = [True] * len(self.attacks), list(undefended.attacks)
        return _DefensePieces(
            bench.release_piece(defense, seed),
            tuple(
                bench.attack_piece(defense, attack, seed, proof.spec if proof else None) if run else None
                for attack, run, proof in zip(self.attacks, wanted, proofs, strict=True)
            ),
            bench.utility_piece(defense, seed) if self.utility else None,
        )

    @cached_property
    def pieces(self) -> list[Piece]:
        """Every piece of work once, proofs first; of a defense its utility, which waits for no proof.

        So of two workers one trains while the other compiles kernels for the first release that is measured.
        """
        found: list[Piece] = []
        for undefended, *others in self._planned:
            found += undefended
            for pieces in others:
                found += pieces if pieces is undefended else pieces.utility_first()
        return list({piece.spec.key: piece for piece in found}.values())

    def jobs(self) -> list[Job]:
        return [Job(self.options, piece) for piece in self.pieces]

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
                "epochs": self.bench.epochs,
                "releases": self.bench.release_count,
                "params": {**piece.defense.params, **(piece.defense.mixing or {})},
                "attack_params": dict(piece.attack.params) if piece.attack else None,
                "done": self.bench.records.find(piece.spec) is not None,
            }
            for piece in self.pieces
        ]

    def with_work(self) -> list[Entry | OwnNetwork]:
        """The defenses, attacks and network of one's own that still have work to do."""
        left = (piece for piece in self.pieces if self.bench.find(piece) is None)
        needed = {repr(each) for piece in left for each in (piece.defense, piece.attack, piece.network)}
        network = self.bench.own_network
        asked: list[Entry | OwnNetwork] = [*self.defenses, *self.attacks, *([network] if network else [])]
        return [each for each in asked if repr(each) in needed]

    def refuse_what_cannot_run(self) -> None:
        """HarnessError where every attack still has work to do and lacks something for it (credentials, weights)."""
        answers = [self.answers.get(repr(attack)) for attack in self.attacks]
        reasons = [answer.not_ready for answer in answers if answer is not None and answer.not_ready]
        if reasons and len(reasons) == len(self.attacks):
            raise HarnessError("; ".join(dict.fromkeys(reasons)))

    def join(self, results: Mapping[str, RunResult]) -> Iterator[Cell]:
        """The cells, from the results of all pieces by their key."""

        def result(piece: Piece) -> RunResult:
            return results[piece.spec.key]

        for seed, (undefended, *defenses) in zip(seeds_of(self.seeds), self._planned, strict=True):
            beside = [result(piece) for piece in (undefended.release, undefended.utility) if piece is not None]
            for defense, pieces in zip(self.defenses, defenses, strict=True):
                utility = result(pieces.utility) if pieces.utility else None
                for attack, attacked, proof in zip(self.attacks, pieces.attacks, undefended.attacks, strict=True):
                    assert attacked is not None, "every attack runs on every defense of the cross"
                    yield Cell(
                        defense,
                        attack,
                        seed,
                        self.bench.epochs,
                        self.bench.release_count,
                        result(pieces.release),
                        result(attacked),
                        utility,
                        (*beside, *([result(proof)] if proof and "learned" in attack.traits else [])),
                    )
