"""The straight line: load -> obfuscate -> attack -> measure -> record -> rank.

A `Bench` is one data set on one device. It does three kinds of piece, each once: what the release shows by itself, what
a model trained on it is worth, and what an attack makes of it. Every piece is a record; cells of the cross join them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from harness.client.client import Client
from harness.client.release_cache import ReleaseCache
from harness.errors import HarnessError, Inapplicable, NotConverged, Skipped
from harness.records import FINISHED, Records, RunResult, RunSpec, provenance
from harness.registry import Entry, Registry, bind
from harness.run.work import Outcome, measure_release, run_attack, train_utility
from harness.scores import SCORES, judged
from harness.system.device import device_type, low_precision
from harness.train import networks, recipe_named
from harness.types import Splits

UNDEFENDED = "none"
OUT_OF_MEMORY = "out of memory; use fewer --workers, or a smaller --size or --limit"


@dataclass(frozen=True)
class Piece:
    """One piece of work. A learned attack's has a `proof` to wait for: the same attack on undefended images."""

    spec: RunSpec
    defense: Entry
    attack: Entry | None = None
    proof: RunSpec | None = None

    @property
    def seed(self) -> int:
        return int(self.spec.inputs["seed"])


@dataclass
class Bench:
    """One data set on one device, and where its records go.

    epochs   T: releases that utility trains on, one training epoch each, and that multi-release attacks see
    targets  originals that are scored, drawn by content hash
    utility  settings of the evaluator of that name: model, recipe
    asked    how the images were asked for; records keep it beside their inputs
    shelf    where releases are kept for whoever needs them next
    report   told the name of each piece of work that begins
    """

    splits: Splits
    registry: Registry
    records: Records
    device: str = "cpu"
    epochs: int = 10
    targets: int = 1000
    threads: int = 1
    utility: Mapping[str, Any] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)
    shelf: ReleaseCache = field(default_factory=ReleaseCache, repr=False)
    report: Callable[[str], None] = lambda _: None
    _tried: dict[str, RunResult] = field(default_factory=dict, repr=False)

    @cached_property
    def client(self) -> Client:
        return Client(self.splits, self.registry, self.device, self.epochs, self.targets, self.shelf)

    @cached_property
    def undefended(self) -> Entry:
        return self.registry.get("defenses", UNDEFENDED)

    def _is_undefended(self, defense: Entry) -> bool:
        """By its settings: `none` with other weights is a mixture."""
        return provenance.resolved(defense) == provenance.resolved(self.undefended)

    def check_utility(self) -> None:
        """Refuse an unknown model or recipe before anything runs; the registry's own are taken on trust."""
        if "recipe" in self.utility:
            recipe_named(self.utility["recipe"])
        if "model" in self.utility:
            networks.check_name(self.utility["model"])

    # The three records

    def release(self, defense: Entry, seed: int) -> RunResult:
        """Privacy of the release of epoch 0 by itself. Measured again once a metric that was missing can be had."""
        return self._once(self.release_piece(defense, seed))

    def attack(self, defense: Entry, attack: Entry, seed: int) -> RunResult:
        """What the attack makes of the release. A learned attack has first to prove itself on undefended images."""
        piece = self.attack_piece(defense, attack, seed)
        found = self.found(piece)
        if found is not None or piece.proof is None:
            return found or self._once(piece)
        return self._once(piece, self.attack(self.undefended, attack, seed))

    def _once(self, piece: Piece, proof: RunResult | None = None) -> RunResult:
        """The record of this piece: found, or made now and written."""
        found = self.found(piece)
        if found is not None:
            return found
        self.report(" ".join([piece.spec.kind, *piece.spec.names]))
        return self.keep(self.do(piece, proof))

    def found(self, piece: Piece) -> RunResult | None:
        """A finished record, or this run's own failure: that is tried again by the next run, not for every defense."""
        found = self._tried.get(piece.spec.key) or self.records.find(piece.spec)
        missing = [name for name, score in (found.scores if found else {}).items() if "reason" in score]
        if piece.spec.kind == "release" and any(map(self._can_be_had, missing)):
            return None
        return found

    def keep(self, result: RunResult) -> RunResult:
        """Write a record; what is not finished is remembered for this run."""
        result = self.records.write(replace(result, asked=self.asked))
        if result.status not in FINISHED:
            self._tried[result.spec.key] = result
        return result

    def _can_be_had(self, metric: str) -> bool:
        grey = torch.full((1, 3, *self.splits.size), 0.5, device=self.device)
        try:
            bind(self.registry.get("metrics", metric))(grey, grey)
        except Skipped:
            return False
        return True

    def do(self, piece: Piece, proof: RunResult | None = None) -> RunResult:
        """The work itself, recorded nowhere; a failure is its result."""
        start = time.perf_counter()
        try:
            result = RunResult(piece.spec, "ok", None, *self._work(piece, proof))
            json.dumps([result.scores, result.facts], allow_nan=False)  # a NaN, or what no record can hold
        except Inapplicable as reason:
            result = RunResult(piece.spec, "inapplicable", str(reason))
        except Skipped as reason:
            result = RunResult(piece.spec, "skipped", str(reason))
        except MemoryError:
            result = RunResult(piece.spec, "failed", OUT_OF_MEMORY)
        except Exception as error:  # a plugin's failure is this cell's, and the cross goes on
            said = str(error) if isinstance(error, HarnessError | NotConverged) else f"{type(error).__name__}: {error}"
            result = RunResult(piece.spec, "failed", " ".join(said.split()))
        return replace(result, seconds=time.perf_counter() - start)

    def _work(self, piece: Piece, proof: RunResult | None) -> Outcome:
        if proof is not None and proof.status == "inapplicable":
            raise Inapplicable(str(proof.reason))
        if proof is not None and proof.status != "ok":
            raise NotConverged(f"the same recipe fails on undefended images: {proof.reason}")
        if piece.attack is not None:
            first = "learned" in piece.attack.traits and self._is_undefended(piece.defense)
            return run_attack(self.client, piece.defense, piece.attack, piece.seed, must_learn=first)
        if piece.spec.kind == "release":
            return measure_release(self.client, piece.defense, piece.seed)
        return train_utility(self.client, self._utility_entry, piece.defense, piece.seed)

    def release_piece(self, defense: Entry, seed: int) -> Piece:
        return Piece(self.release_spec(defense, seed), defense)

    def utility_piece(self, defense: Entry, seed: int) -> Piece:
        return Piece(self.utility_spec(defense, seed), defense)

    def attack_piece(self, defense: Entry, attack: Entry, seed: int, proof: RunSpec | None = None) -> Piece:
        """proof: the spec of the same attack on undefended images, where it is at hand."""
        spec = self.attack_spec(defense, attack, seed)
        if "learned" not in attack.traits or self._is_undefended(defense):
            return Piece(spec, defense, attack)
        return Piece(spec, defense, attack, proof or self.attack_spec(self.undefended, attack, seed))

    # The specifications: everything that can change an outcome

    def release_spec(self, defense: Entry, seed: int) -> RunSpec:
        metrics = list(self.registry.section("metrics").values())
        eye = identifiers(self.registry)
        measured = {
            "metrics": [provenance.resolved(metric) for metric in metrics],
            "judges": [provenance.resolved(entry) for entry in eye],
            "targets": self.targets,
        }
        return RunSpec("release", self._inputs("release", defense, seed, [*metrics, *eye]) | measured)

    def utility_spec(self, defense: Entry, seed: int) -> RunSpec:
        entry = self._utility_entry
        trained = {"epochs": self.epochs, "utility": provenance.resolved(entry)}
        return RunSpec("utility", self._inputs("utility", defense, seed, [entry]) | self._arithmetic() | trained)

    def attack_spec(self, defense: Entry, attack: Entry, seed: int) -> RunSpec:
        panel = judges(self.registry, attack)
        inputs = self._inputs("attack", defense, seed, [attack, *panel]) | self._arithmetic()
        inputs |= {
            "attack": provenance.resolved(attack),
            "judges": [provenance.resolved(entry) for entry in panel],
            "targets": self.targets,
        }
        several = {"releases", "plans"} & set(attack.granted)
        return RunSpec("attack", inputs | ({"epochs": self.epochs} if several else {}))

    def _inputs(self, kind: str, defense: Entry, seed: int, entries: list[Entry]) -> dict[str, Any]:
        distortion = (defense.mixing or {}).get("weights") == "distortion"
        measured = [self.registry.get("metrics", "dssim")] if distortion else []
        return {
            "dataset": provenance.described(self.splits),
            "defense": provenance.resolved(defense),
            "seed": seed,
            "device": device_type(self.device),
            "distortion": [provenance.resolved(metric) for metric in measured],
            "release": provenance.code("obfuscation", [defense, *measured]),
            "code": provenance.code(kind, [defense, *measured, *entries]),
            "versions": provenance.versions(),
        }

    def _arithmetic(self) -> dict[str, Any]:
        """What else moves a trained figure."""
        return {"threads": self.threads, "precision": str(low_precision(self.device))}

    @cached_property
    def _utility_entry(self) -> Entry:
        return self.registry.get("evaluators", "utility").with_settings(self.utility)


def judges(registry: Registry, attack: Entry) -> list[Entry]:
    """The entries that score this kind of attack; none without an evaluator of that name."""
    evaluators = registry.section("evaluators")
    if str(attack.kind) not in evaluators:
        return []
    if attack.kind != "reconstruction":
        return [evaluators[str(attack.kind)]]
    return [evaluators["reconstruction"], *identifiers(registry), *(registry.get("metrics", name) for name in judged())]


def identifiers(registry: Registry) -> list[Entry]:
    return [registry.get("evaluators", name) for name in SCORES["reid_rank1"].evaluators]
