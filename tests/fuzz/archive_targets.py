"""Records, and the secret of a client's release: JSON and arrays that somebody else may have written."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.records import store
from tests.fuzz import mutations
from tests.fuzz.inputs import Input
from tests.fuzz.material import Material
from tests.fuzz.mutations import mutated_arrays, mutated_bytes, mutated_tree, npz

JSON_FILES = (b"", b"null", b"[]", b"[" * 10**5, b"{}", b'{"a": 1' * 99, b"\xff\xfe", b"1" * 9999)


def record(rng: random.Random, place: Path, material: Material) -> Input:
    """One record of a folder is not what it should be; the others are read."""
    folder = place / "records"
    shutil.copytree(material.records, folder)
    file = rng.choice(sorted(folder.glob("*.json")))
    document = json.loads(file.read_text())
    with np.load(file.with_suffix(".npz")) as held:
        arrays = {name: held[name] for name in held.files}
    kind = rng.random()
    if kind < 0.2:
        path = rng.choice((file, file.with_suffix(".npz")))
        path.write_bytes(mutated_bytes(path.read_bytes(), rng))
    elif kind < 0.25:
        file.write_bytes(rng.choice(JSON_FILES))
    else:
        if rng.random() < 0.7:
            document = mutated_tree(document, rng)
        if rng.random() < 0.6:
            arrays = mutated_arrays(arrays, rng)
        _write_record(folder, file, document, arrays, rng)

    def call() -> None:
        from harness.leaderboard.board import boards
        from harness.report import files

        found = boards(store.Records(folder).all(), [], material.code)
        files.texts(found, place)
        if not found:
            raise AssertionError("one damaged record, and none of the others was read")

    run = ["run", "--defense", "none,mix", "--attack", "look", "--dataset", str(material.pictures), "--epochs", "1"]
    commands = (
        ["rank", "--out", str(place / "lb")],
        ["rank", "--out", str(place / "lb"), "--verify"],
        ["report", "--out", str(place / "page.html")],
        ["site", "--out", str(place / "site")],
        [*run, "--no-utility", "--dry-run"],
    )
    return Input(call, [*rng.choice(commands), "--records", str(folder)])


def _write_record(folder: Path, file: Path, document: Any, arrays: Mapping[str, Any], rng: random.Random) -> None:
    """Mostly under the name that its inputs hash to, with the digest of its arrays, as a hostile author would."""
    numbers = npz(arrays, rng)
    if rng.random() < 0.85 and isinstance(document, dict):
        try:
            key = store.RunSpec(document["kind"], document["inputs"]).key
            document["key"] = key
        except (KeyError, TypeError, ValueError, RecursionError):
            key = file.stem
        if "digest" in document:
            document["digest"] = digest_of(arrays)
        file.unlink()
        file.with_suffix(".npz").unlink()
        file = folder / f"{key}.json"
    try:
        text = json.dumps(document, default=str)
    except (RecursionError, TypeError, ValueError):
        text = mutations.flow(document)
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    if rng.random() < 0.97:
        file.with_suffix(".npz").write_bytes(numbers)


def digest_of(arrays: Mapping[str, Any]) -> str:
    """The digest that a record's JSON holds of these arrays; of arrays that cannot have one, a wrong one."""
    try:
        return str(store.digest(arrays))  # type: ignore[attr-defined]
    except Exception:
        return "0" * 24


def secret(rng: random.Random, place: Path, material: Material) -> Input:
    release, _ = material.release
    file, arrays = place / "secret.npz", dict(material.secret)
    kind = rng.random()
    if kind < 0.5:
        about = mutated_tree(json.loads(str(arrays["about"])), rng)
        arrays["about"] = np.array(mutations.flow(about).replace("\ud800", "?"))
    if kind > 0.4:
        arrays = mutated_arrays(arrays, rng)
    content = npz(arrays, rng)
    if rng.random() < 0.15:
        content = mutated_bytes(content, rng)
    file.write_bytes(content)

    def call() -> None:
        from harness.publish.published import challenge_of_published

        challenge_of_published(release, file, material.pictures, material.registry, store.Records(place / "r"))

    scores = place / "scores.csv"
    scores.write_text("file,a\nx,1\n")
    arguments = ["external", "score", "--release", str(release), "--secret", str(file), "--scores", str(scores)]
    arguments += ["--dataset", str(material.pictures), "--name", "X", "--records", str(place / "r")]
    return Input(call, arguments)
