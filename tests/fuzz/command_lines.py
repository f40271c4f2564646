"""Command lines: valid ones, and valid ones with some changes."""

from __future__ import annotations

import random
from typing import Any

from tests.fuzz.material import Material
from tests.fuzz.mutations import TEXTS

# fmt: off
VALUES = (
    "0", "-1", "1", "2", "08", "1e3", "1e308", "nan", "inf", "-inf", "1_0", "١", "0x10", "1.0", "1,2", "1,1", ",",
    "", " ", "99999999999999999999", "9" * 400, "true", "null", "all", "none", "mix", "look", "cpu", "cuda",
    "cuda:99", "ray", "auto", "dssim=0.5", "dssim=", "=", "0,1", "1,0", "a", "é", "\udcff", "[b]", "x" * 300,
    "x\ny", "-", "--", "-x", "--json", "../x", "./tiny", "missing.yaml", "missing/deep/er", ".", "..", "~", "%",
    "{}", "*",
)
# fmt: on
"""Nothing absolute: what a command writes stays below its current folder."""

# fmt: off
STRUCTURES = (
    "[1, 2]", "{a: 1}", "[[[", "0.5,0.5/0.6,0.4", "beta:0.4", "beta:x", "distortion", "0.5,.inf", "{beta: 0}", "[.nan]",
    "&a [*a]", "[" * 3000, "1/2", "0.5,0.5/", "/", "!!set {a}", "'a",
)
# fmt: on

FLAGS = ("--json", "--registry", "--help", "--version", "--offline", "-D", "-A", "--seed")


def setting(rng: random.Random, entry: Any) -> str:
    """NAME=VALUE for a plugin, seldom fitting."""
    knobs = [*entry.knobs, "weights", "sigma", "nothing"]
    name = rng.choice(knobs) if rng.random() < 0.9 else rng.choice(TEXTS)
    value = rng.choice(VALUES) if rng.random() < 0.5 else rng.choice(TEXTS)
    if rng.random() < 0.2:
        value = rng.choice(STRUCTURES)
    joined = name + rng.choice(("=", "=", "=", "=", "", "==", " = ")) + value
    return joined.replace("\0", "0")


def valid(rng: random.Random, material: Material) -> list[str]:
    """One of some command lines that end within a second, for a folder beside the material."""
    tiny, records, release, secret = (
        f"../{path.relative_to(material.root)}" for path in (material.pictures, material.records, *material.release)
    )
    lines = (
        f"run --defense mix --attack look --dataset {tiny} --epochs 1 --seeds 1 --targets 9 --size 16 --limit 20 "
        "--public-share 0.2 --workers 1 --threads 1 --device cpu --no-utility --records r --dry-run",
        f"run --defense mix,noise_mix --attack look,smooth --dataset {tiny} -D sigma=20 -A medians=3 --epochs 2,4 "
        "--releases 1,2 --engine local --model resnet18 --recipe paper --offline --dry-run",
        "list defenses",
        "list --json",
        "show mix",
        "show attacks/smooth --json",
        f"rank --records {records} --out lb",
        f"rank --records {records} --out lb --verify",
        f"obfuscate --defense mix --dataset {tiny} --epochs 1 --out o --secret s.npz --size 16 --device cpu --seed 1",
        f"external hash {release}",
        f"survey make --dataset {tiny} --size 32 --seed 1 --paper-knobs --out sv --key k.json",
        "survey score k.json a.json b.json --also l.json --out j.json",
        "calibrate j.json g.json --survey s1 --out c",
        "survey ask k.json --attack timm_labels --out j.json",
        f"external release --defense mix --dataset {tiny} --epochs 1 --out e --targets 9",
        f"external score --release {release} --secret {secret} --dataset {tiny} --name X --scores no.csv "
        "--granted labels --cite x --release-hash 00000000000000000000000000000000 --records r",
        f"measure {tiny}/a/000.png {tiny}/a/001.png --metric dssim",
        f"preview --defense mix --dataset {tiny} --out p.png",
        f"report --records {records} --out page.html",
        f"rerun --records {records} zz",
        f"tune --defense noise_mix --target nothing=0.5 --between 1,30 --knob sigma --dataset {tiny}",
        "new attack mine --folder .",
        "check nothing --seeds 1 --suite no.yaml",
        "sweep no.yaml --dry-run",
    )
    return rng.choice(lines).split()


def mutated(rng: random.Random, material: Material) -> list[str]:
    """A valid line with one to three changes. A run stays a dry one."""
    line = valid(rng, material)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(line))
        kind = rng.randrange(8)
        if kind < 3:
            line[at] = rng.choice(VALUES)
        elif kind == 3:
            del line[at]
        elif kind == 4:
            line.insert(at, line[at])
        elif kind == 5:
            line.insert(
                at, rng.choice((*VALUES, "--json", "--registry", "--help", "--version", "--offline", "-D", "-A"))
            )
        elif kind == 6:
            other = valid(rng, material)
            line.insert(at, rng.choice(other))
        else:
            line[at] = line[at][: rng.randrange(len(line[at]) + 1)]
        if not line:
            break
    if line[:1] in (["run"], ["sweep"]) and "--dry-run" not in line:
        line.append("--dry-run")
    if line[:1] == ["tune"]:
        line += ["--target", "nothing=1"]
    return [part.replace("\0", "0") for part in line]
