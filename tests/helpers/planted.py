"""Planted data and plugins for tests: pictures that a network learns in seconds, attacks whose answer is known."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from harness.errors import Skipped
from harness.records import Records
from harness.registry import Entry, Registry, load_registry
from harness.run.bench import Bench
from harness.types import Dataset, Guess, Splits

SIZE = 16
CLASSES = ("across", "down", "slanted")


def stripes(count, seed=0, size=SIZE):
    """Images of three classes that differ in the direction of their stripes, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    y, x = np.mgrid[0:size, 0:size] / 8
    images = np.empty((count, 3, size, size), np.uint8)
    for row, label in enumerate(labels):
        wave = np.sin(2 * np.pi * ((y, x, x + y)[label] + rng.random()))
        tint = rng.uniform(0.6, 1, (3, 1, 1))
        images[row] = np.clip(127 + 100 * tint * wave + rng.normal(0, 8, (3, size, size)), 0, 255)
    return images, labels.astype(np.int64)


def dataset(images, labels):
    hashes = np.array([hashlib.sha256(image.tobytes()).hexdigest()[:32] for image in images], "S32")
    return Dataset(images, labels, hashes, tuple(f"{row}.png" for row in range(len(labels))), CLASSES)


def splits(private=30, public=60, test=12, size=SIZE, shuffled=False):
    """Stripes in three roles; `shuffled`: the adversary's labels say nothing of its images."""
    roles = [stripes(count, seed, size) for seed, count in enumerate((private, public, test))]
    parts = [dataset(images, labels) for images, labels in roles]
    if shuffled:
        parts[1] = dataset(parts[1].images, np.random.default_rng(7).permutation(parts[1].labels))
    fingerprint = hashlib.sha256(b"".join(part.hashes.tobytes() + part.labels.tobytes() for part in parts))
    return Splits("stripes", *parts, fingerprint=fingerprint.hexdigest()[:32])


def attack(function, kind="reconstruction", granted=(), traits=(), **params):
    """The registry entry of an attack in this file."""
    return Entry(
        function, "attacks", f"tests.helpers.planted:{function}", 1, params, None, traits, granted, kind, cite="planted"
    )


def with_entries(*entries):
    """The built-in registry without the metrics that take long, and these entries."""
    kept = [entry for entry in load_registry().entries if entry.name not in ("fid", "lpips", "dists", "phash", "mse")]
    return Registry((*kept, *entries))


def bench(folder, data=None, *entries, **options):
    options = {"epochs": 1, "threads": 1, **options}
    records = Records(folder / "records") if folder else Records.nowhere()
    return Bench(splits() if data is None else data, with_entries(*entries), records, **options)


def picture_folder(root: Path, each=25, classes=CLASSES, size=SIZE, seed=5) -> Path:
    """The stripes as PNG files, one folder per class."""
    images, labels = stripes(3 * each, seed=seed, size=size)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        if CLASSES[label] in classes:
            file = root / CLASSES[label] / f"{row:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(file)
    return root


def record_contents(folder: Path):
    """The documents and arrays of all records of a folder, without the times."""
    contents = {}
    for path in folder.glob("*.json"):
        document = json.loads(path.read_text())
        del document["seconds"], document["finished"], document["digest"]  # which covers the times
        contents[path.name] = document
        if document["status"] == "ok":
            with np.load(path.with_suffix(".npz")) as file:
                contents[path.stem] = {name: file[name].tobytes() for name in file.files}
    return contents


# Attacks. Each is what a third party might write, good or bad.


def the_release(observation, rng):
    return Guess(candidates=observation.images[observation.targets][:, None])


def the_release_whole(observation, rng):
    return Guess(candidates=observation.images[:, None])


def three_candidates(observation, rng):
    return Guess(candidates=observation.images[:, None].repeat(1, 3, 1, 1, 1))


def first_class(observation, rng):
    scores = torch.zeros(len(observation.images), len(observation.classes))
    scores[:, 0] = 1
    return Guess(scores=scores)


def not_a_number(observation, rng):
    return Guess(scores=torch.full((len(observation.images), len(observation.classes)), float("nan")))


def odd_rows(observation, rng):
    return Guess(scores=torch.zeros(7, len(observation.classes)))


def nothing(observation, rng):
    return Guess()


def burst(observation, rng):
    raise RuntimeError("the attack\nburst")


def wants_a_key(observation, rng):
    raise Skipped("no credentials; set PLANTED_KEY")


def stop(observation, rng):
    raise KeyboardInterrupt


def count_releases(observation, rng):
    scores = torch.zeros(len(observation.images), len(observation.classes))
    return Guess(scores=scores, report={"releases": len(observation.releases), "labels": len(observation.releases[0])})


def learned_nothing(observation, rng):
    """Always answers the first class, and reports that; counts how often it was run."""
    learned_nothing.runs += 1
    report = {"held_out_hits": 10, "held_out_n": 30, "held_out_chance": 1 / 3}
    return Guess(scores=first_class(observation, rng).scores, report=report)


learned_nothing.runs = 0


# Defenses


def turn(sources, weights, rng):
    """Across becomes down: a network that was rehearsed on something else is misled."""
    return sources[:, 0].transpose(-1, -2).contiguous()


def not_finite(sources, weights, rng):
    return sources[:, 0] * float("nan")


def defense(function, weights=(1.0,), **params):
    mixing = {"weights": list(weights), "pairing": "permutation", "intra_class": False, "label": "dominant"}
    return Entry(function, "defenses", f"tests.helpers.planted:{function}", 1, params, mixing, cite="planted")
