"""A client's own release (`harness obfuscate`), its secret and the originals, as the judge of an attack sees them.

Nothing is taken on trust: the release is made again from the originals and the secret, and has to be the one in the
folder, name by name and pixel by pixel.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.client.client import Client
from harness.data.decode import decode_into, map_images
from harness.errors import HarnessError
from harness.publish.challenge import HASH, Challenge, folder_hash, pixels_of
from harness.publish.obfuscate import private_pictures
from harness.publish.release_files import file_names
from harness.randomness import ROOT_BYTES, derive
from harness.records import Records
from harness.registry import Entry, Registry
from harness.release import obfuscate
from harness.run.bench import Bench
from harness.system.device import choose_device, use_threads
from harness.types import Array, Dataset, Release, Secret, Splits


@dataclass
class _Owner(Client):
    """A client whose randomness descends from a secret root."""

    root: bytes = b""

    def _obfuscate(self, defense: Entry, seed: int, epoch: int) -> tuple[Release, Secret]:
        private, key = self.splits.private, derive(self.root, "release", epoch)
        return obfuscate(self.scheme(defense), private.images, private.labels, len(private.classes), key, self.device)


@dataclass
class _Published(Bench):
    root: bytes = field(default=b"", repr=False)

    @cached_property
    def client(self) -> Client:
        settings = (self.splits, self.registry, self.device, self.epochs, self.targets, self.release_cache)
        return _Owner(*settings, root=self.root)


def of_published(folder: Path, secret: Path, originals: Path, registry: Registry, records: Records) -> Challenge:
    """The release in `folder`: refused where it is not, name by name and pixel by pixel, what the secret makes of these
    originals."""
    ledger, about = _read_secret(secret)
    defense = registry.get("defenses", about["defense"])
    if about["version"] != defense.version:
        raise HarnessError(
            f"secret {secret}: made by version {about['version']} of {defense.name}, and this is {defense.version}; "
            f"score it with harness {about['harness']}"
        )
    defense = defense.with_settings({**about["params"], **(about["mixing"] or {})})
    splits = _splits(originals, about, name=originals.resolve().name)
    root = ledger["root"].tobytes()
    epochs = int(ledger["epoch"].max()) + 1
    device = choose_device(about["device"])
    bench = _Published(
        splits,
        registry,
        records,
        device,
        epochs,
        len(splits.private),
        use_threads(1 if device == "cpu" else None),
        root=root,
    )
    release, kept = bench.client.release(defense, 0, 0)
    files = file_names(release, list(splits.classes), 0, derive(root, "names", 0))
    _check_files(folder, ledger["file"].tolist(), files, release)
    found = folder_hash(folder)
    return Challenge(bench, defense, 0, tuple(files.tolist()), release, kept, found, published=True)


def _read_secret(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    names = ("epoch", "file", "sources", "weights", "dominant", "root", "about")
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as held:
            ledger = {name: held[name] for name in names}
        about = json.loads(str(ledger["about"]))
        if len(ledger["root"].tobytes()) != ROOT_BYTES or not len(ledger["epoch"]):
            raise ValueError("its root or its epochs are missing")
        return ledger, dict(about)
    except Exception as error:  # whatever a damaged or foreign file makes NumPy, zipfile or json raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise HarnessError(f"secret {path}: {reason}; give the .npz that harness obfuscate wrote") from None


def _splits(folder: Path, about: dict[str, Any], name: str) -> Splits:
    """All of a folder as private images, in the order in which they were released."""
    pictures = sorted(private_pictures(folder), key=lambda picture: picture.name)
    size = about["height"] if about["height"] == about["width"] else None
    with tempfile.TemporaryFile() as scratch:
        facts = decode_into(scratch, pictures, size, None)
        images = np.array(map_images(scratch, facts["shape"]))
    read = [pictures[row] for row in facts["rows"]]
    classes = tuple(sorted({picture.label for picture in pictures}))
    labels = np.array([classes.index(picture.label) for picture in read], np.int64)
    hashes = np.array(facts["hashes"], "S32")
    private = Dataset(images, labels, hashes, tuple(picture.name for picture in read), classes)
    nobody = private.take(np.array([], np.int64))
    content = hashlib.sha256(b"published" + hashes.tobytes() + labels.tobytes()).hexdigest()[:HASH]
    return Splits(name, private, nobody, nobody, fingerprint=content)


def _check_files(folder: Path, told: list[str], files: Array, release: Release) -> None:
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    if there != set(told):
        missing, strange = sorted(set(told) - there), sorted(there - set(told))
        first = f"{missing[0]} is missing" if missing else f"{strange[0]} is not in the secret"
        raise HarnessError(
            f"release {folder}: {len(there)} files, and the secret tells of {len(told)} ({first}); "
            "give the folder that belongs to the secret, as it was published"
        )
    for file, image in zip(files.tolist(), release.images.cpu().numpy(), strict=True):
        if file not in there or not np.array_equal(pixels_of(folder / file), image):
            raise HarnessError(
                f"release {folder}: {file} is not what the secret makes of these originals; give the originals and the "
                "files as they were, and the harness that released them"
            )
