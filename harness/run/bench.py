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

import numpy as np
import torch

from harness.client.client import Client
from harness.client.release_cache import ReleaseCache
from harness.errors import HarnessError, Inapplicable, NotConverged, Skipped
from harness.images import to_images
from harness.randomness import derive, root_of, torch_generator
from harness.records import FINISHED, Records, RunResult, RunSpec, provenance
from harness.registry import Entry, Registry, bind
from harness.release import as_tensor
from harness.run.scoring import identified, identifiers, judges, must_beat_chance, score
from harness.scores import judged
from harness.statistics import summarise
from harness.system.device import device_type, low_precision
from harness.train import TrainingTask, networks, recipe_named
from harness.types import Array, Bytes, Guess, Splits

UNDEFENDED = "none"
OUT_OF_MEMORY = "out of memory; use fewer --workers, or a smaller --size or --limit"
_CHUNK = 64

Outcome = tuple[dict[str, Any], dict[str, Array], dict[str, Any]]


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

    def usefulness(self, defense: Entry, seed: int) -> RunResult:
        """Accuracy on the clean test images of a model trained on T releases."""
        return self._once(self.utility_piece(defense, seed))

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
            return self._attack(piece.defense, piece.attack, piece.seed)
        return (self._measure if piece.spec.kind == "release" else self._train)(piece.defense, piece.seed)

    def release_piece(self, defense: Entry, seed: int) -> Piece:
        return Piece(self.release_spec(defense, seed), defense)

    def utility_piece(self, defense: Entry, seed: int) -> Piece:
        return Piece(self.utility_spec(defense, seed), defense)

    def attack_piece(self, defense: Entry, attack: Entry, seed: int) -> Piece:
        learned = "learned" in attack.traits and not self._is_undefended(defense)
        proof = self.attack_spec(self.undefended, attack, seed) if learned else None
        return Piece(self.attack_spec(defense, attack, seed), defense, attack, proof)

    # The work behind them

    def _measure(self, defense: Entry, seed: int) -> Outcome:
        release, secret = self.client.release(defense, seed, 0)
        rows, units = self.client.scored(secret)
        arrays: dict[str, Array] = {}
        missing: dict[str, Any] = {}
        for name, entry in self.registry.section("metrics").items():
            columns = secret.sources[rows] if name in judged() else secret.dominant_rows[rows][:, None]
            try:
                grid = self._distances(bind(entry), release.images, rows, columns)
            except Skipped as reason:
                missing[name] = {**summarise([]), "reason": str(reason)}
                continue
            if name in judged():
                arrays[f"any_{name}"], arrays[f"every_{name}"] = grid.min(1), grid.mean(1)
                grid = grid[np.arange(len(rows)), secret.dominant[rows]][:, None]
            arrays[name] = grid[:, 0]
        scores = {name: summarise(values, units=units, proportion=False) for name, values in arrays.items()}
        known, hits = identified(self.client, release.images[torch.from_numpy(rows)][:, None], units)
        facts = {"released": len(release), **self.splits.notes}
        return {**scores, **known, **missing}, {"units": units, **arrays, **hits}, facts

    def _distances(self, metric: Callable[..., torch.Tensor], images: Bytes, rows: Array, columns: Array) -> Array:
        """(n, k) distances of each release to the originals of its columns."""
        parts = []
        for start in range(0, len(rows), _CHUNK):
            some = slice(start, start + _CHUNK)
            released = to_images(images[torch.from_numpy(rows[some])].to(self.device))
            originals = to_images(self.client.originals(columns[some]).to(self.device))
            found = [metric(released, original) for original in originals.unbind(1)]
            parts.append(torch.stack(found, 1).double().cpu().numpy())
        return np.concatenate(parts)

    def _train(self, defense: Entry, seed: int) -> Outcome:
        task = TrainingTask(
            release=lambda epoch: self.client.release(defense, seed, epoch)[0],
            test_images=as_tensor(self.splits.test.images),
            test_labels=self.splits.test.labels,
            classes=len(self.splits.classes),
            epochs=self.epochs,
            key=derive(root_of(seed), "training"),
            device=self.device,
        )
        correct, facts = bind(self._utility_entry)(task)
        accuracy, chance = summarise(correct), float(np.bincount(task.test_labels).max() / len(correct))
        return {"utility": {**accuracy, "chance": chance}}, {"utility": correct}, facts

    def _attack(self, defense: Entry, attack: Entry, seed: int) -> Outcome:
        observation = self.client.observe(defense, attack, seed)
        rng = torch_generator(derive(root_of(seed), "attack", attack.name), self.device)
        guess: Guess = bind(attack)(observation, rng)
        scores, arrays = score(self.client, attack, guess, *self.client.release(defense, seed, 0))
        if "learned" in attack.traits and self._is_undefended(defense):
            must_beat_chance(attack, guess.report, scores)
        return scores, arrays, dict(guess.report)

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
            "release": provenance.code("release", [defense, *measured]),
            "code": provenance.code(kind, [defense, *measured, *entries]),
            "versions": provenance.versions(),
        }

    def _arithmetic(self) -> dict[str, Any]:
        """What else moves a trained figure."""
        return {"threads": self.threads, "precision": str(low_precision(self.device))}

    @cached_property
    def _utility_entry(self) -> Entry:
        return self.registry.get("evaluators", "utility").with_settings(self.utility)
