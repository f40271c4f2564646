"""A release for outside attackers together with its secret, which scoring needs.

Here a release of a row of a board (a defense, a data set and a seed), written as PNG files by
`harness external release` with a secret beside it; a client's own release is in `harness.publish.published`. A row's
own releases follow from its public seed, so whoever knows the data could compute who was mixed with whom: a challenge
is drawn from a root of the operating system's instead, which the secret keeps. The hash of a release covers the names
and pixels of all R releases; submissions reconstruct the files of release 0.
"""

from __future__ import annotations

import csv
import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from msgspec import structs

from harness import __version__
from harness.client.client import Client
from harness.data.pixels import read_image, reason_of
from harness.errors import HarnessError
from harness.publish.places import Places, claimed
from harness.publish.release_files import png_files, set_equal_times, write_images, write_labels
from harness.publish.secret_file import AboutChallenge, read_challenge_secret, secret_of
from harness.randomness import ROOT_BYTES, derive
from harness.records import RunSpec
from harness.registry import Entry
from harness.release import Calls, obfuscate
from harness.run.bench import Bench
from harness.system.device import device_type
from harness.system.new_folder import new_folder
from harness.system.schema import shown
from harness.system.text import csv_cell, one_line
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
        """The spec of a record on this release."""
        inputs = {**spec.inputs, "challenge": self.hash} if spec.kind == "attack" else dict(spec.inputs)
        return RunSpec(spec.kind, inputs)


def folder_hash(folder: Path) -> str:
    """The hash of every PNG file below a folder, in the order of their paths."""
    files = png_files(folder)
    if not files:
        raise HarnessError(f"release {folder}: there is no PNG file in it; name the folder of a release")
    return hash_of((file, pixels_of(folder / file)) for file in files)


def hash_of(images: Iterable[tuple[str, Array]]) -> str:
    """The hash of names and (3, H, W) uint8 pixels, in the order given."""
    digest = hashlib.sha256()
    for name, pixels in images:
        digest.update(
            f"{name} {pixels.shape}\n".encode(errors="surrogateescape") + np.ascontiguousarray(pixels).tobytes()
        )
    return digest.hexdigest()[:HASH]


@dataclass
class _SecretRootClient(Client):
    """A client whose randomness descends from a secret root; that of `others` from the public seed, as everywhere.

    others  defenses beside the one that is released: the undefended release that attacks are proved on
    """

    root: bytes = b""
    others: Callable[[Entry], bool] = lambda _: False

    def make_release(self, defense: Entry, seed: int, number: int) -> tuple[Release, Secret]:
        if self.others(defense):
            return super().make_release(defense, seed, number)
        private, key = self.splits.private, derive(self.root, "release", number)
        return obfuscate(self.scheme(defense), private.images, private.labels, len(private.classes), key, self.device)

    def calls(self, defense: Entry, seed: int, number: int) -> Calls:
        if self.others(defense):
            return super().calls(defense, seed, number)
        private, key = self.splits.private, derive(self.root, "release", number)
        return Calls(self.scheme(defense), private.images, private.labels, key, self.device)


@dataclass
class SecretRootBench(Bench):
    """A bench whose client releases with the root of the secret."""

    root: bytes = field(default=b"", repr=False)

    @cached_property
    def client(self) -> Client:
        settings = (self.splits, self.registry, self.device, self.release_count, self.targets, self.release_cache)
        return _SecretRootClient(*settings, root=self.root, others=self.is_other)

    def is_other(self, defense: Entry) -> bool:
        """Whether this defense is not the one that is released with the root."""
        return False


# A release of a row


def challenge_of_row(bench: Bench, defense: Entry, seed: int, secret: Path) -> Challenge:
    """The R releases that the secret makes of the row's images; the files are numbered.

    Raises HarnessError where it was made with other options, images or code.
    """
    held = read_challenge_secret(secret)
    for name, asked in json.loads(_written(_about(bench, defense, seed))).items():
        made = getattr(held.about, name)
        if made != asked and name != "harness":
            raise HarnessError(
                f"secret {secret}: the release was made with {name} {shown(made)}, and these options say "
                f"{shown(asked)}; give those that it was made with"
            )
    challenge = _challenge(bench, defense, seed, held.root)
    if challenge.hash != held.hash:
        raise HarnessError(
            f"secret {secret}: this code makes another release of it ({challenge.hash}, not {shown(held.hash)}); score "
            f"it with harness {held.about.harness} as it was"
        )
    return challenge


def write_row(
    bench: Bench, defense: Entry, seed: int, out: Path, secret: Path, originals: Path | None = None
) -> Challenge:
    """Write R releases from a new root as PNG files into a new folder, with their public labels, and the secret.

    originals  their folder, in which nothing is written; None: a named data set
    """
    places = Places.of(out, secret, originals)
    root = secrets.token_bytes(ROOT_BYTES)

    def is_out() -> bool:
        return (places.out / _numbered(0, 1)[0]).exists()

    with claimed(places), secret_of(places.secret, is_out) as write, new_folder(places.out) as folder:
        challenge = _challenge(bench, defense, seed, root)
        for number in range(bench.release_count):
            release, _ = challenge.bench.client.release(defense, seed, number)
            names = np.array(_numbered(number, len(release)))
            write_images(folder, names, release, bench.threads)
            _write_labels(folder / f"labels_{number:03d}.csv", names, release, bench.splits.classes)
        set_equal_times(folder)
        about = _written(_about(bench, defense, seed))
        write({"root": np.frombuffer(root, np.uint8), "hash": np.array(challenge.hash), "about": np.array(about)})
    return challenge


def _challenge(bench: Bench, defense: Entry, seed: int, root: bytes) -> Challenge:
    kept = {each.name: getattr(bench, each.name) for each in fields(Bench) if each.init and each.name not in _OWN}
    drawn = SecretRootBench(**kept, root=root)
    release, secret = drawn.client.release(defense, seed, 0)
    digest = hash_of(_named_pixels(drawn, defense, seed))
    return Challenge(drawn, defense, seed, tuple(_numbered(0, len(release))), release, secret, digest)


_OWN = ("release_cache", "_unfinished")
"""What a bench of another root does not share: releases by name, which say nothing of the root."""


def _about(bench: Bench, defense: Entry, seed: int) -> AboutChallenge:
    return AboutChallenge(
        __version__,
        defense.name,
        defense.version,
        defense.params,
        defense.mixing,
        seed,
        bench.release_count,
        device_type(bench.device),
        one_line(bench.splits.name),
        bench.splits.fingerprint,
    )


def _written(about: AboutChallenge) -> str:
    return json.dumps(structs.asdict(about))


def _write_labels(file: Path, names: Array, release: Release, classes: Sequence[str]) -> None:
    """The public label of every file; where labels are soft, the share of every class."""
    if release.labels.ndim == 2:
        write_labels(file, names, release.labels.cpu().numpy(), classes)
        return
    lines = [(name, csv_cell(classes[label])) for name, label in zip(names, release.labels.tolist(), strict=True)]
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
