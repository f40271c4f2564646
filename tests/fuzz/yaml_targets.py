"""Files in YAML: registries, sweeps, suites of checks, and figures that papers report."""

from __future__ import annotations

import random
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from harness.records import Records, provenance
from harness.registry import load_registry
from tests.fuzz import mutations
from tests.fuzz.inputs import Input
from tests.fuzz.material import Material
from tests.fuzz.mutations import choose, mutated_bytes, mutated_tree, yaml_text

CODE_STAYS = mock.patch.object(provenance, "forget")
"""The code is hashed once for all inputs, not at the start of each."""
MIXING = {"weights": [0.5, 0.5], "pairing": "permutation", "intra_class": False, "label": "dominant"}
TUNE = {"knob": "sigma", "low": 1, "high": 40, "kind": "integer", "direction": "up"}
DEFENSE = {
    "use": "defenses.mix:mix",
    "version": 1,
    "cite": "Doe 2027",
    "params": {"sigma": 20, "kind": "a", "on": [1.5]},
    "mixing": MIXING,
    "traits": ["linear"],
    "tune": TUNE,
}
ATTACK = {
    "use": "attacks.smooth:smooth",
    "version": 1,
    "kind": "reconstruction",
    "granted": ["labels"],
    "params": {"window": 3},
    "traits": ["x"],
    "cite": "Doe",
}
REGISTRY = {
    "defenses": {"zz": DEFENSE},
    "attacks": {"yy": ATTACK},
    "metrics": {"xx": {"use": "evaluators.dssim:dssim", "version": 2, "higher_is": "farther", "cite": "Doe"}},
    "datasets": {"ww": {"use": "harness.data.sources.photos:photos", "version": 1, "cite": "Doe"}},
    "thresholds": {"vv": {"dataset": "tiny", "height": 16, "width": 16, "dssim": 0.6, "dhaar": 0.5, "source": "Doe"}},
}
SWEEP = {
    "dataset": "tiny",
    "size": 16,
    "limit": 20,
    "epochs": [1, 2],
    "releases": [1],
    "seeds": 2,
    "targets": 10,
    "public_share": 0.2,
    "utility": False,
    "device": "cpu",
    "threads": 1,
    "mixing": {"intra_class": [False, True]},
    "defenses": [
        "none",
        {"noise_mix": {"sigma": {"from": 10, "to": 30, "step": 10}}},
        {"mix": {"weights": ["0.5,0.5"]}},
    ],
    "attacks": ["look", {"smooth": {"gaussians": [[1.0], [2.0]]}}],
}
REPORTED = [
    {
        "dataset": "tiny",
        "cite": "Doe 2027, Table 7",
        "about": "256 px",
        "rows": [
            {"defense": "mix", "settings": {"weights": [0.75, 0.25], "intra_class": True}, "epochs": 20, "dssim": 0.14},
            {"defense": "noise_mix", "settings": {"sigma": 20}, "dhaar": 0.5, "utility": 0.93, "worst_dssim": 0.1},
        ],
    }
]


def yaml_input(valid: Any, rng: random.Random) -> bytes:
    """A valid tree, damaged as a tree, as bytes, as both, or a file that expands."""
    return choose(
        rng,
        (6, lambda: yaml_text(mutated_tree(valid, rng), rng)),
        (2, lambda: mutated_bytes(yaml_text(valid, rng), rng)),
        (1, lambda: mutated_bytes(yaml_text(mutated_tree(valid, rng), rng), rng)),
        (0.3, lambda: yaml_text(valid, rng) + b"\n" + mutations.aliases(rng).encode()),
        (0.3, lambda: mutations.aliases(rng).encode()),
        (0.2, lambda: rng.randbytes(rng.choice((0, 1, 100, 5000)))),
        (0.2, lambda: mutations.flow(mutations.hostile(rng)).encode("utf-8", "surrogatepass")),
    )


def registry(rng: random.Random, place: Path, material: Material) -> Input:
    file = place / "registry.yaml"
    file.write_bytes(yaml_input(REGISTRY, rng))
    return Input(partial(_use_registry, file), ["list", "--registry", str(file)])


def _use_registry(file: Path) -> None:
    before = list(sys.path)
    try:
        found = load_registry([file])
        for entry in found.entries[-4:]:
            found.choose(entry.section, entry.name, {})
    finally:
        sys.path[:] = before


def _sweep(rng: random.Random) -> bytes:
    return yaml_input(rng.choice((SWEEP, [SWEEP, SWEEP])), rng)


def sweep(rng: random.Random, place: Path, material: Material) -> Input:
    file = place / "sweep.yaml"
    file.write_bytes(_sweep(rng))

    def call() -> None:
        from harness.run import sweep as sweeps

        with CODE_STAYS:
            for cross in sweeps.crosses(file, material.registry, place / "r", dataset=str(material.pictures)):
                cross.plan()

    options = ["--dataset", str(material.pictures), "--records", str(place / "r"), "--dry-run"]
    return Input(call, ["sweep", str(file), *options])


def suite(rng: random.Random, place: Path, material: Material) -> Input:
    file = place / "suite.yaml"
    file.write_bytes(_sweep(rng))
    some = rng.choice((None, 1, 3))

    def call() -> None:
        from harness.check import suite as suites

        seeds, data = suites.choice(some), str(material.pictures)
        with CODE_STAYS:
            for cross in suites.crosses(file, material.registry, place / "r", seeds, dataset=data):
                cross.plan()

    try:  # of a valid suite the command would do all the work
        call()
    except Exception:
        return Input(call, ["check", str(material.records), "--suite", str(file), "--seeds", "1"])
    return Input(call, None)


def reported(rng: random.Random, place: Path, material: Material) -> Input:
    file = place / "reported.yaml"
    file.write_bytes(yaml_input(REPORTED, rng))

    def call() -> None:
        from harness.leaderboard.board import boards
        from harness.leaderboard.reported import read
        from harness.report import files

        rows = read(file)
        files.texts(boards(Records(material.records).all(), rows, material.code), place)

    arguments = ["rank", "--records", str(material.records), "--out", str(place / "lb"), "--reported", str(file)]
    return Input(call, arguments)
