"""load -> obfuscate -> attack -> measure -> record -> rank: the pieces of work on one data set, and their records.

Three kinds of piece, each done once: the distances of a release, the accuracy of a model trained on it, and the scores
of an attack on it. Each gives a record, and the cells of a cross join them. Figures are made in `harness.run.work`,
which is imported with torch when the first piece is done: a finished run is printed without.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.client.release_cache import ReleaseCache
from harness.errors import Inapplicable, NotConverged, Skipped
from harness.records import FINISHED, Records, RunResult, RunSpec, provenance
from harness.registry import Entry, Registry, bind, why_not_ready
from harness.registry.guard import failure
from harness.registry.own_networks import OwnNetwork, find_network, is_own
from harness.scores import embeddings, judged, worst_metric
from harness.system.device import device_type, multiplies_bfloat16, use_threads
from harness.system.threads import torch_defaults
from harness.types import Splits

if TYPE_CHECKING:
    from harness.client.client import Client
    from harness.run.work import Outcome

UNDEFENDED = "none"
OUT_OF_MEMORY = "out of memory; use fewer --workers, or a smaller --size or --limit"


@dataclass(frozen=True)
class Piece:
    """Work that gives one record. A learned attack's waits for its `proof`: the same attack on undefended images.

    network  of one's own, that utility trains
    """

    spec: RunSpec
    defense: Entry
    attack: Entry | None = None
    proof: RunSpec | None = None
    network: OwnNetwork | None = None

    @property
    def seed(self) -> int:
        return int(self.spec.inputs["seed"])


@dataclass
class _Entries:
    """Entries of the registry that many specifications name."""

    entries: list[Entry]

    @cached_property
    def resolved(self) -> list[dict[str, Any]]:
        return [provenance.resolved(entry) for entry in self.entries]


@dataclass
class Bench:
    """One data set on one device, with its records.

    epochs   T: training epochs of utility
    releases R: distinct releases; epoch e trains on release e mod R, and multi-release attacks see all R. None: T
    targets  originals that are scored, drawn by a hash of all images
    utility  settings of the evaluator of that name: model, recipe
    checkpoint     file of the weights that the utility model begins with; None: from scratch
    data_request   how the images were asked for; records keep it beside their inputs
    release_cache  where releases are kept for the pieces that need them next
    report   called with the name of each piece of work that begins
    """

    splits: Splits
    registry: Registry
    records: Records
    device: str = "cpu"
    epochs: int = 10
    targets: int = 1000
    threads: int = 1
    utility: Mapping[str, Any] = field(default_factory=dict)
    data_request: Mapping[str, Any] = field(default_factory=dict)
    release_cache: ReleaseCache = field(default_factory=ReleaseCache, repr=False)
    report: Callable[[str], None] = lambda _: None
    releases: int | None = None
    checkpoint: Path | None = None
    _unfinished: dict[str, RunResult] = field(default_factory=dict, repr=False)
    _judges: dict[str | None, _Entries] = field(default_factory=dict, init=False, repr=False)  # by kind of attack

    @cached_property
    def client(self) -> Client:
        from harness.client.client import Client

        return Client(self.splits, self.registry, self.device, self.release_count, self.targets, self.release_cache)

    @property
    def release_count(self) -> int:
        """R."""
        return self.epochs if self.releases is None else self.releases

    @cached_property
    def undefended(self) -> Entry:
        return self.registry.get("defenses", UNDEFENDED)

    def _is_undefended(self, defense: Entry) -> bool:
        """By its settings: `none` with other weights is a mixture."""
        return provenance.resolved(defense) == provenance.resolved(self.undefended)

    def with_epochs(self, epochs: int, releases: int | None = None) -> Bench:
        """The same bench at another T and R: data and releases are shared."""
        same = (self.epochs, self.release_count) == (epochs, releases or epochs)
        return self if same else replace(self, epochs=epochs, releases=releases)

    def check_utility(self) -> None:
        """Refuse an unknown model, recipe or checkpoint before anything runs; those of the registry are not checked."""
        recipe, model = (self.utility.get(name) for name in ("recipe", "model"))
        if recipe is not None:
            from harness.train import recipe_named

            recipe_named(recipe)
        if model is not None and not is_own(model):
            from harness.train import networks

            networks.check_name(model)
        _ = self.own_network  # its function and its checkpoint are looked for

    def release(self, defense: Entry, seed: int) -> RunResult:
        """The record of the releases. Measured again once a metric that was missing is available."""
        return self._record_of(self.release_piece(defense, seed))

    def attack(self, defense: Entry, attack: Entry, seed: int) -> RunResult:
        """The record of the attack on the release; of a learned attack, after its proof on undefended images."""
        piece = self.attack_piece(defense, attack, seed)
        result = self.find(piece)
        if result is not None or piece.proof is None:
            return result or self._record_of(piece)
        return self._record_of(piece, self.attack(self.undefended, attack, seed))

    def _record_of(self, piece: Piece, proof: RunResult | None = None) -> RunResult:
        """The record of this piece: found, or made now and written."""
        result = self.find(piece)
        if result is not None:
            return result
        self.report(" ".join([piece.spec.kind, *piece.spec.names]))
        return self.keep(self.do(piece, proof))

    def find(self, piece: Piece) -> RunResult | None:
        """A finished record, or this run's own failure: that is tried again by the next run, not for every defense."""
        result = self._unfinished.get(piece.spec.key) or self.records.find(piece.spec)
        missing = [name for name, score in (result.scores if result else {}).items() if "reason" in score]
        if piece.spec.kind == "release" and any(map(self._is_available, missing)):
            return None
        return result

    def keep(self, result: RunResult) -> RunResult:
        """Write a record; one that is not finished is remembered for this run."""
        result = self.records.write(replace(result, asked=self.data_request))
        if result.status not in FINISHED:
            self._unfinished[result.spec.key] = result
        return result

    def _is_available(self, metric: str) -> bool:
        try:
            entry = self.registry.get("metrics", metric)
            if entry.ready and why_not_ready(entry):
                return False
            import torch

            grey = torch.full((1, 3, *self.splits.size), 0.5, device=self.device)
            bind(entry)(grey, grey)
        except Exception:  # Skipped, or a plugin's own
            return False
        return True

    def do(self, piece: Piece, proof: RunResult | None = None) -> RunResult:
        """Do the work without recording it; a failure is a result too."""
        start = time.perf_counter()
        use_threads(self.threads)
        try:
            with torch_defaults():
                result = RunResult(piece.spec, "ok", None, *self._work(piece, proof))
            json.dumps([result.scores, result.facts], allow_nan=False)  # refuses NaN and what JSON cannot hold
        except Inapplicable as reason:
            result = RunResult(piece.spec, "inapplicable", str(reason))
        except Skipped as reason:
            result = RunResult(piece.spec, "skipped", str(reason))
        except MemoryError:
            result = RunResult(piece.spec, "failed", OUT_OF_MEMORY)
        except (Exception, SystemExit) as error:  # a failing plugin fails its own cell alone
            result = RunResult(piece.spec, "failed", failure(error, of=piece.attack))
        return replace(result, seconds=time.perf_counter() - start)

    def _work(self, piece: Piece, proof: RunResult | None) -> Outcome:
        if proof is not None and proof.status == "inapplicable":
            raise Inapplicable(str(proof.reason))
        if proof is not None and proof.status != "ok":
            raise NotConverged(f"the same recipe fails on undefended images: {proof.reason}")
        from harness.run.work import measure_release, run_attack, train_utility

        if piece.attack is not None:
            is_proof = "learned" in piece.attack.traits and self._is_undefended(piece.defense)
            return run_attack(self.client, piece.defense, piece.attack, piece.seed, must_learn=is_proof)
        if piece.spec.kind == "release":
            return measure_release(self.client, piece.defense, piece.seed)
        entry = self._utility_entry
        return train_utility(self.client, entry, piece.defense, piece.seed, self.epochs, piece.network)

    def release_piece(self, defense: Entry, seed: int) -> Piece:
        return Piece(self.release_spec(defense, seed), defense)

    def utility_piece(self, defense: Entry, seed: int) -> Piece:
        return Piece(self.utility_spec(defense, seed), defense, network=self.own_network)

    def attack_piece(self, defense: Entry, attack: Entry, seed: int, proof: RunSpec | None = None) -> Piece:
        """proof: the spec of the same attack on undefended images, where it is at hand."""
        spec = self.attack_spec(defense, attack, seed)
        if "learned" not in attack.traits or self._is_undefended(defense):
            return Piece(spec, defense, attack)
        return Piece(spec, defense, attack, proof or self.attack_spec(self.undefended, attack, seed))

    # The specifications: everything that can change an outcome

    def release_spec(self, defense: Entry, seed: int) -> RunSpec:
        metrics, identity = self._metrics, self._identifiers
        measured = {
            "metrics": metrics.resolved,
            "judges": identity.resolved,
            "targets": self.targets,
            "releases": self.release_count,
        }
        entries = [*metrics.entries, *identity.entries]
        return RunSpec("release", self._inputs("release", defense, seed, entries) | measured)

    def utility_spec(self, defense: Entry, seed: int) -> RunSpec:
        entry, network = self._utility_entry, self.own_network
        trained = {"epochs": self.epochs, "releases": self.release_count, "utility": provenance.resolved(entry)}
        if network is not None and network.digest is not None:
            trained["checkpoint"] = network.digest
        entries = [entry] if network is None or network.entry is None else [entry, network.entry]
        return RunSpec("utility", self._inputs("utility", defense, seed, entries) | self._arithmetic | trained)

    def attack_spec(self, defense: Entry, attack: Entry, seed: int) -> RunSpec:
        if attack.kind not in self._judges:
            self._judges[attack.kind] = _Entries(judges(self.registry, attack))
        evaluators = self._judges[attack.kind]
        inputs = self._inputs("attack", defense, seed, [attack, *evaluators.entries]) | self._arithmetic
        inputs |= {
            "attack": provenance.resolved(attack),
            "judges": evaluators.resolved,
            "targets": self.targets,
        }
        return RunSpec("attack", inputs | ({"releases": self.release_count} if attack.sees_all_releases else {}))

    def _inputs(self, kind: str, defense: Entry, seed: int, entries: list[Entry]) -> dict[str, Any]:
        distortion = (defense.mixing or {}).get("weights") == "distortion"
        measured = [self.registry.get("metrics", "dssim")] if distortion else []
        return {
            "dataset": self._described,
            "defense": provenance.resolved(defense),
            "seed": seed,
            "device": device_type(self.device),
            "distortion": [provenance.resolved(metric) for metric in measured],
            "release": provenance.code("obfuscation", [defense, *measured]),
            "code": provenance.code(kind, [defense, *measured, *entries]),
            "versions": provenance.versions(),
        }

    # What many specifications share is made once: a sweep plans ten thousand of them

    @cached_property
    def _arithmetic(self) -> dict[str, Any]:
        """The inputs that change a trained figure alone."""
        precision = "torch.bfloat16" if multiplies_bfloat16(self.device) else "None"
        return {"threads": self.threads, "precision": precision}

    @cached_property
    def _described(self) -> dict[str, Any]:
        return provenance.described(self.splits)

    @cached_property
    def _metrics(self) -> _Entries:
        return _Entries(list(self.registry.section("metrics").values()))

    @cached_property
    def _identifiers(self) -> _Entries:
        return _Entries(identifiers(self.registry))

    @cached_property
    def _utility_entry(self) -> Entry:
        return self.registry.get("evaluators", "utility").with_settings(self.utility)

    @cached_property
    def own_network(self) -> OwnNetwork | None:
        """The network of one's own that utility trains; None: a known one from scratch."""
        model = self._utility_entry.params.get("model")
        return find_network(str(model), self.checkpoint, self.registry.files) if model else None


def judges(registry: Registry, attack: Entry) -> list[Entry]:
    """The entries that score this kind of attack; none without an evaluator of that name."""
    evaluators = registry.section("evaluators")
    if str(attack.kind) not in evaluators:
        return []
    if attack.kind != "reconstruction":
        return [evaluators[str(attack.kind)]]
    return [evaluators["reconstruction"], *identifiers(registry), *_distances(registry)]


def identifiers(registry: Registry) -> list[Entry]:
    """The evaluators that say whose image a reconstruction is: the embeddings, and the rank that they give."""
    return [registry.get("evaluators", name) for name in (*embeddings(), "reidentification")]


def _distances(registry: Registry) -> list[Entry]:
    """The judged distances, and the metrics that their worst case is made of."""
    names = dict.fromkeys((*judged(), *map(worst_metric, judged())))
    return [registry.get("metrics", name) for name in names]
