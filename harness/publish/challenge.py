"""A release for outside attackers together with its secret, which scoring needs.

Here the release that a row of a board was measured on (a defense, a data set and a seed), written as PNG files by
`harness external release`; a client's own release is in `harness.publish.published`. The hash of a release covers the
names and pixels of all R releases; submissions reconstruct the files of release 0.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.data.pixels import read_image, reason_of
from harness.errors import HarnessError
from harness.publish.release_files import write_images, write_labels
from harness.records import RunSpec
from harness.registry import Entry
from harness.run.bench import Bench
from harness.system.files import new_folder
from harness.types import Array, Release, Secret

HASH = 32  # hexadecimal digits


@dataclass(frozen=True)
class Challenge:
    """A release, its secret, and the bench that scores it.

    files      (N,) path of each image of release 0, relative to the release's folder
    hash       of all its files
    published  a client's own release, not a row of a run
    """

    bench: Bench
    defense: Entry
    seed: int
    files: tuple[str, ...]
    release: Release
    secret: Secret
    hash: str
    published: bool = False

    def spec(self, spec: RunSpec) -> RunSpec:
        """The spec of a record on this release. A published release has a row by its hash, whatever the code."""
        inputs = {**spec.inputs, "challenge": self.hash} if spec.kind == "attack" else dict(spec.inputs)
        if self.published:
            inputs |= {"defense": {**inputs["defense"], "published": self.hash}, "release": self.hash}
        return RunSpec(spec.kind, inputs)


def folder_hash(folder: Path) -> str:
    """The hash of every PNG file below a folder, in the order of their paths."""
    paths = sorted(folder.rglob("*.png"), key=lambda path: path.relative_to(folder).as_posix())
    if not paths:
        raise HarnessError(f"release {folder}: there is no PNG file in it; name the folder of a release")
    return hash_of((path.relative_to(folder).as_posix(), pixels_of(path)) for path in paths)


def hash_of(images: Iterable[tuple[str, Array]]) -> str:
    """The hash of names and (3, H, W) uint8 pixels, in the order given."""
    digest = hashlib.sha256()
    for name, pixels in images:
        digest.update(
            f"{name} {pixels.shape}\n".encode(errors="surrogateescape") + np.ascontiguousarray(pixels).tobytes()
        )
    return digest.hexdigest()[:HASH]


# The release of a row


def challenge_of_row(bench: Bench, defense: Entry, seed: int) -> Challenge:
    """The R releases behind a row of a board; the files are numbered."""
    release, secret = bench.client.release(defense, seed, 0)
    digest = hash_of(_named_pixels(bench, defense, seed))
    return Challenge(bench, defense, seed, tuple(_numbered(0, len(release))), release, secret, digest)


def write_row(bench: Bench, defense: Entry, seed: int, out: Path) -> Challenge:
    """Write those releases as PNG files into a new folder, with their public labels."""
    challenge = challenge_of_row(bench, defense, seed)
    with new_folder(out.resolve()) as folder:
        for number in range(bench.release_count):
            release, _ = bench.client.release(defense, seed, number)
            names = np.array(_numbered(number, len(release)))
            write_images(folder, names, release, bench.threads)
            _write_labels(folder / f"labels_{number:03d}.csv", names, release, bench.splits.classes)
    return challenge


def _write_labels(file: Path, names: Array, release: Release, classes: Sequence[str]) -> None:
    """The public label of every file; where labels are soft, the share of every class."""
    if release.labels.ndim == 2:
        write_labels(file, names, release.labels.cpu().numpy(), list(classes))
        return
    lines = [(name, classes[label]) for name, label in zip(names, release.labels.tolist(), strict=True)]
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("file", "label"), *lines])


def _named_pixels(bench: Bench, defense: Entry, seed: int) -> Iterator[tuple[str, Array]]:
    for number in range(bench.release_count):
        release, _ = bench.client.release(defense, seed, number)
        images = release.images.cpu().numpy()
        yield from zip(_numbered(number, len(release)), images, strict=True)


def _numbered(number: int, count: int) -> list[str]:
    return [f"epoch_{number:03d}/{row:06d}.png" for row in range(count)]


def pixels_of(path: Path) -> Array:
    """(3, H, W) uint8 RGB."""
    try:
        return np.ascontiguousarray(read_image(path).transpose(2, 0, 1))
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise HarnessError(f"{path} cannot be read as an image: {reason_of(error)}; restore it") from None
