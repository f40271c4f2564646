"""A client's own release (`harness obfuscate`) as a challenge, from its folder, its secret and the originals.

The release is made again from the originals and the secret, and must equal the one in the folder in every name and
pixel.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct

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
from harness.system.arrays import Expected, read_npz
from harness.system.device import choose_device, use_threads
from harness.system.documents import parse_json
from harness.system.numbers import MOST
from harness.system.schema import decode
from harness.types import Array, Dataset, Release, Secret, Splits


@dataclass
class _SecretRootClient(Client):
    """A client whose randomness descends from a secret root."""

    root: bytes = b""

    def make_release(self, defense: Entry, seed: int, number: int) -> tuple[Release, Secret]:
        private, key = self.splits.private, derive(self.root, "release", number)
        return obfuscate(self.scheme(defense), private.images, private.labels, len(private.classes), key, self.device)


@dataclass
class _PublishedBench(Bench):
    """A bench whose client releases with the root of the secret."""

    root: bytes = field(default=b"", repr=False)

    @cached_property
    def client(self) -> Client:
        settings = (self.splits, self.registry, self.device, self.release_count, self.targets, self.release_cache)
        return _SecretRootClient(*settings, root=self.root)


def challenge_of_published(
    folder: Path, secret: Path, originals: Path, registry: Registry, records: Records
) -> Challenge:
    """The release in `folder`.

    Raises HarnessError where it is not, in every name and pixel, what the secret makes of these originals.
    """
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
    releases = int(ledger["epoch"].max()) + 1
    device = choose_device(about["device"])
    bench = _PublishedBench(
        splits,
        registry,
        records,
        device,
        releases,
        len(splits.private),
        use_threads(1 if device == "cpu" else None),
        root=root,
    )
    release, epoch_secret = bench.client.release(defense, 0, 0)
    files = file_names(release, list(splits.classes), 0, derive(root, "names", 0))
    _check_files(folder, ledger["file"].tolist(), files, release)
    digest = folder_hash(folder)
    return Challenge(bench, defense, 0, tuple(files.tolist()), release, epoch_secret, digest, published=True)


class _About(Struct):
    """What the secret says about the release."""

    harness: str
    defense: str
    version: int
    params: dict[str, Any]
    mixing: dict[str, Any] | None
    height: Annotated[int, Meta(ge=1, le=2**16)]
    width: Annotated[int, Meta(ge=1, le=2**16)]
    device: str


_SECRET = {
    "epoch": Expected("whole number", 1),
    "file": Expected("text", 1),
    "sources": Expected("text", 2),
    "weights": Expected("number", 2),
    "dominant": Expected("whole number", 1),
    "root": Expected("byte", 1),
    "about": Expected("text", 0),
}


def _read_secret(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    fix = "give the .npz that harness obfuscate wrote"
    ledger = read_npz(path, _SECRET, what="secret ", fix=fix)
    about = parse_json(str(ledger["about"]), f"secret {path}: about")
    decode(about, _About, f"secret {path}: about", fix=fix)
    epochs = ledger["epoch"]
    if len(ledger["root"].tobytes()) != ROOT_BYTES or not 0 < len(epochs) == len(ledger["file"]):
        raise HarnessError(f"secret {path}: its root or its epochs are missing; {fix}")
    if not 0 <= int(epochs.min()) <= int(epochs.max()) < MOST["releases"]:
        raise HarnessError(f"secret {path}: epochs from {epochs.min()} to {epochs.max()}; {fix}")
    return ledger, about


def _splits(folder: Path, about: dict[str, Any], name: str) -> Splits:
    """All images of a folder in the private role, in the order in which they were released."""
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
    empty = private.take(np.array([], np.int64))
    content = hashlib.sha256(b"published" + hashes.tobytes() + labels.tobytes()).hexdigest()[:HASH]
    return Splits(name, private, empty, empty, fingerprint=content)


def _check_files(folder: Path, listed: list[str], files: Array, release: Release) -> None:
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    if present != set(listed):
        missing, unknown = sorted(set(listed) - present), sorted(present - set(listed))
        first = f"{missing[0]} is missing" if missing else f"{unknown[0]} is not in the secret"
        raise HarnessError(
            f"release {folder}: {len(present)} files, and the secret lists {len(listed)} ({first}); "
            "give the folder that belongs to the secret, as it was published"
        )
    for file, image in zip(files.tolist(), release.images.cpu().numpy(), strict=True):
        if file not in present or not np.array_equal(pixels_of(folder / file), image):
            raise HarnessError(
                f"release {folder}: {file} is not what the secret makes of these originals; give the originals and the "
                "files as they were, and the harness that released them"
            )
