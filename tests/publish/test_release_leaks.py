"""A release's files say pixels and classes and nothing else: what surrounds the pixels predicts no original.

Names, places in the folder, inodes, times, modes, lengths on the disk and what a PNG file holds beside pixels are
compared with the original of each file: its place among the originals, which is what they could give away.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest, spearmanr
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict

from harness.cli import main

EACH = 150
CHANCE = 1e-4
"""The share of sound releases on which a test of one feature fails."""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """The folder of a release of 300 pictures, and the place of the original of each file."""
    place = tmp_path_factory.mktemp("leaks")
    for number in range(2 * EACH):
        folder = place / "originals" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        low = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(low).resize((16, 16), Image.Resampling.BICUBIC).save(folder / f"{number:04d}.png")
    out, secret = place / "release", place / "secret.npz"
    command = ["obfuscate", "--defense", "pixelize", "-D", "grid=4", "--dataset", str(place / "originals")]
    assert main([*command, "--out", str(out), "--secret", str(secret)]) == 0
    with np.load(secret) as held:
        originals = [int(Path(source).stem) for source in held["sources"][:, 0]]
        return out, dict(zip(held["file"].tolist(), originals, strict=True))


def surroundings(folder: Path) -> dict[str, list[float]]:
    """What is known of each file without its pixels: relative path -> numbers."""
    found: dict[str, list[float]] = {}
    for parent in sorted(path for path in folder.rglob("*") if path.is_dir()):
        for position, entry in enumerate(os.scandir(parent)):
            if not entry.name.endswith(".png"):
                continue
            status, path = entry.stat(), Path(entry.path)
            number = float(path.stem) if path.stem.isdigit() else 0.0
            times = [status.st_mtime_ns, status.st_atime_ns, status.st_ctime_ns]
            features = [number, number % 97, position, status.st_ino, *times, status.st_blocks, status.st_mode]
            found[path.relative_to(folder).as_posix()] = [float(value) for value in features]
    return found


def evidence(features: dict[str, list[float]], originals: dict[str, int]) -> tuple[float, float]:
    """The smallest p-value of one feature against the place of the original, and that of a classifier of its half."""
    files = sorted(features)
    table, places = np.array([features[file] for file in files]), np.array([originals[file] for file in files])
    varying = [column for column in table.T if len(set(column)) > 1]
    ranks = [float(spearmanr(column, places).pvalue) for column in varying]
    half = places < np.median(places)
    forest = RandomForestClassifier(100, random_state=0)
    order = np.random.default_rng(0).permutation(len(files))
    right = int((cross_val_predict(forest, table[order], half[order], cv=5) == half[order]).sum())
    return min(ranks), float(binomtest(right, len(files), 0.5, alternative="greater").pvalue)


def test_what_surrounds_the_pixels_says_nothing_of_the_original(released: tuple[Path, dict[str, int]]) -> None:
    folder, originals = released

    single, classifier = evidence(surroundings(folder), originals)

    assert single > CHANCE / 9  # of nine features
    assert classifier > CHANCE


def test_names_in_the_order_of_the_originals_would_be_found(released: tuple[Path, dict[str, int]]) -> None:
    """The control: the same files with a name that counts them."""
    folder, originals = released
    features = surroundings(folder)
    for file, values in features.items():
        values[0] = float(originals[file] // 20)

    single, classifier = evidence(features, originals)

    assert single < CHANCE / 9
    assert classifier < CHANCE


def test_a_file_is_what_its_pixels_alone_make(released: tuple[Path, dict[str, int]]) -> None:
    """Nothing else fits in: encoding the pixels again gives the same bytes, so length and chunks follow from them."""
    folder, originals = released

    for file in originals:
        content = (folder / file).read_bytes()
        pixels: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert cv2.imencode(".png", pixels)[1].tobytes() == content
        assert [kind for kind, _ in chunks(content) if kind not in (b"IHDR", b"IDAT", b"IEND")] == []


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4])
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def test_times_and_modes_are_equal_and_no_attribute_is_set(released: tuple[Path, dict[str, int]]) -> None:
    folder, _ = released
    paths = [path for path in folder.rglob("*") if path.is_file()]

    assert len({path.stat().st_mtime_ns for path in paths}) == 1
    assert len({stat.S_IMODE(path.stat().st_mode) for path in paths}) == 1
    if hasattr(os, "listxattr"):
        assert not any(name.startswith("user.") for path in paths for name in os.listxattr(path))
