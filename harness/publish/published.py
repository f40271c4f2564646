"""A client's own release (`harness obfuscate`), judged from its folder, its secret and the originals.

The releases are made again from the originals and the secret, and must equal those in the folder in every name and
pixel. So the harness's own attacks and outside submissions meet what was published.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.decode import LazyImage, decode_into, map_images
from harness.data.image_folder import image_folder
from harness.errors import HarnessError
from harness.publish.challenge import HASH, Challenge, SecretRootBench, folder_hash, hash_of, pixels_of
from harness.publish.obfuscate import private_pictures
from harness.publish.release_files import LABELS, file_names, more_than_pixels, png_files, write_labels
from harness.publish.secret_file import AboutRelease, read_release_secret
from harness.randomness import derive
from harness.records import Records
from harness.registry import Entry, Registry
from harness.system.device import choose_device, use_threads
from harness.system.scratch import temporary_folder
from harness.types import Array, Dataset, Splits

log = logging.getLogger("harness")


@dataclass
class PublishedBench(SecretRootBench):
    """A bench on a client's own release; the undefended release beside it is made of the public seed.

    Its row is that of the release, named by its hash, whatever the code.

    published  the defense, with the settings of the release
    hash       of the files of all releases
    """

    published: Entry = field(default_factory=lambda: Entry("", "defenses", ""), repr=False)
    hash: str = ""

    def is_other(self, defense: Entry) -> bool:
        return defense != self.published

    def _inputs(self, kind: str, defense: Entry, seed: int, entries: list[Entry]) -> dict[str, Any]:
        inputs = super()._inputs(kind, defense, seed, entries)
        if self.is_other(defense):
            return inputs
        return {**inputs, "defense": {**inputs["defense"], "published": self.hash}, "release": self.hash}


@dataclass(frozen=True)
class OthersImages:
    """Folders `<class>/*` of images that were not released.

    public  what an adversary has; without it attacks that need public images are inapplicable
    test    clean images that a model trained on the release is tested on, and that originals are looked up among
    """

    public: Path | None = None
    test: Path | None = None


def bench_of_published(
    folder: Path,
    secret: Path,
    originals: Path,
    registry: Registry,
    records: Records,
    beside: OthersImages = OthersImages(),
    device: str | None = None,
) -> PublishedBench:
    """A bench on the R releases in `folder`: their records judge what the files hold.

    Every release is made again from the originals and the secret and compared with the files, so that a score is of
    these pixels. Raises HarnessError where a name or a pixel is another.

    device  that the release was made on; None: as the secret says
    """
    held = read_release_secret(secret)
    about = held.about
    defense = registry.get("defenses", about.defense)
    if about.version != defense.version:
        raise HarnessError(
            f"secret {secret}: made by version {about.version} of {defense.name}, and this is {defense.version}; "
            f"score it with harness {about.harness}"
        )
    defense = defense.with_settings({**about.params, **(about.mixing or {})})
    splits = _splits(originals, about, Path(os.path.realpath(originals)).name, beside)
    device = choose_device(device or about.device)
    bench = PublishedBench(
        splits,
        registry,
        records,
        device,
        held.releases,
        len(splits.private),
        use_threads(1 if device == "cpu" else None),
        root=held.root,
        published=defense,
        hash=folder_hash(folder),
    )
    bench.client.check(defense)
    soft = bench.client.release(defense, 0, 0)[0].labels.ndim == 2
    _check_files(folder, held.files, [LABELS] if soft else [])
    if hash_of(_made_again(bench)) != bench.hash:
        _refuse_other_files(folder, bench)
    if soft:
        _check_labels(folder / LABELS, bench)
    return bench


def challenge_of_published(
    folder: Path, secret: Path, originals: Path, registry: Registry, records: Records
) -> Challenge:
    """Release 0 in `folder`, for a submission. Raises HarnessError, see `bench_of_published`."""
    bench = bench_of_published(folder, secret, originals, registry, records)
    release, epoch_secret = bench.client.release(bench.published, 0, 0)
    files = tuple(_names(bench, 0).tolist())
    return Challenge(bench, bench.published, 0, files, release, epoch_secret, bench.hash, published=True)


def _names(bench: PublishedBench, number: int) -> Array:
    release, _ = bench.client.release(bench.published, 0, number)
    return file_names(release, list(bench.splits.classes), number, derive(bench.root, "names", number))


def _made_again(bench: PublishedBench) -> Iterator[tuple[str, Array]]:
    """Name and pixels of every image of all releases, in the order of their paths."""
    for number in sorted(range(bench.release_count), key=lambda number: f"epoch_{number:03d}/"):
        images = bench.client.release(bench.published, 0, number)[0].images.cpu().numpy()
        files = _names(bench, number)
        yield from ((files[row], images[row]) for row in np.argsort(files))


def _splits(folder: Path, about: AboutRelease, name: str, beside: OthersImages = OthersImages()) -> Splits:
    """All images of a folder in the private role, in the order in which they were released, and others beside them."""
    pictures = sorted(private_pictures(folder), key=lambda picture: picture.name)
    classes = tuple(sorted({picture.label for picture in pictures}))
    private = _decoded(pictures, about, classes)
    _, first, counts = np.unique(private.hashes, return_index=True, return_counts=True)
    if (counts > 1).any():
        name = private.names[int(first[counts > 1][0])]
        raise HarnessError(
            f"originals {folder}: {name} is in it several times, and who is re-identified among copies cannot be said; "
            "release the folder without the copies"
        )
    roles = {"public": beside.public, "test": beside.test}
    taken = set(private.hashes.tolist())
    others: dict[str, Dataset] = {}
    for role, place in roles.items():
        others[role] = _others(place, role, about, classes, taken) if place else private.take(np.array([], np.int64))
        taken |= set(others[role].hashes.tolist())
    content = hashlib.sha256(b"published" + private.hashes.tobytes() + private.labels.tobytes())
    for role, found in others.items():
        if len(found):
            content.update(role.encode() + found.hashes.tobytes() + found.labels.tobytes())
    return Splits(name, private, others["public"], others["test"], fingerprint=content.hexdigest()[:HASH])


def _others(folder: Path, role: str, about: AboutRelease, classes: tuple[str, ...], taken: set[bytes]) -> Dataset:
    """Images of the released classes that are none of those taken; in the order of their content."""
    pictures = sorted(image_folder(folder), key=lambda picture: picture.name)
    if unknown := sorted({picture.label for picture in pictures} - set(classes)):
        raise HarnessError(
            f"{role} images {folder}: class {unknown[0]!r} is none of the release ({', '.join(classes)}); remove it"
        )
    found = _decoded(pictures, about, classes)
    if found.images.shape[2:] != (about.height, about.width):
        got = f"{found.images.shape[3]}x{found.images.shape[2]}"
        raise HarnessError(f"{role} images {folder}: {got} px, and the release is {about.width}x{about.height} px")
    _, first = np.unique(found.hashes, return_index=True)
    kept = np.array([row for row in first if found.hashes[row] not in taken], np.int64)
    if len(kept) < len(found):
        log.warning("%s images %s: %d are left out, as copies or images in another role", role, folder,
                    len(found) - len(kept))  # fmt: skip
    if not len(kept):
        raise HarnessError(f"{role} images {folder}: none is left that was not released; name a folder of others")
    return found.take(kept)


def _decoded(pictures: Sequence[LazyImage], about: AboutRelease, classes: tuple[str, ...]) -> Dataset:
    size = about.height if about.height == about.width else None
    with tempfile.TemporaryFile(dir=temporary_folder()) as scratch:
        facts = decode_into(scratch, pictures, size, None)
        images = np.array(map_images(scratch, facts["shape"]))
    read = [pictures[row] for row in facts["rows"]]
    labels = np.array([classes.index(picture.label) for picture in read], np.int64)
    hashes = np.array(facts["hashes"], "S32")
    return Dataset(images, labels, hashes, tuple(picture.name for picture in read), classes)


def _check_files(folder: Path, listed: list[str], beside: list[str]) -> None:
    """HarnessError unless the folder holds these PNG files, which hold pixels alone, those beside them, and no more."""
    present = set(png_files(folder))
    if present != set(listed):
        missing, unknown = sorted(set(listed) - present), sorted(present - set(listed))
        first = f"{missing[0]} is missing" if missing else f"{unknown[0]} is not in the secret"
        raise HarnessError(
            f"release {folder}: {len(present)} files, and the secret lists {len(listed)} ({first}); "
            "give the folder that belongs to the secret, as it was published"
        )
    wanted = {*listed, *beside}
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(Path(place, name))]
        for name in (*names, *links):
            path = Path(place, name)
            if path.is_symlink() or path.relative_to(folder).as_posix() not in wanted:
                what = "a link" if path.is_symlink() else "no file of the release"
                raise HarnessError(
                    f"release {folder}: {path.relative_to(folder).as_posix()} is {what}, and what else lies there may "
                    "show the originals; remove it, and ask whether it was published"
                )
    for file in listed:
        if extra := more_than_pixels(folder / file):
            raise HarnessError(
                f"release {folder}: {file} holds {extra} beside its pixels, which may show the original; give the "
                "files as they were published"
            )


def _check_labels(file: Path, bench: PublishedBench) -> None:
    """HarnessError unless the table of soft labels is what the secret makes of these originals."""
    names = [_names(bench, number) for number in range(bench.release_count)]
    shares = [bench.client.release(bench.published, 0, number)[0].labels for number in range(bench.release_count)]
    with tempfile.TemporaryDirectory(dir=temporary_folder()) as scratch:
        made = Path(scratch) / LABELS
        labels = np.concatenate([each.cpu().numpy() for each in shares])
        write_labels(made, np.concatenate(names), labels, list(bench.splits.classes))
        same = file.is_file() and file.read_bytes() == made.read_bytes()
    if not same:
        raise HarnessError(
            f"release {file.parent}: {LABELS} is not what the secret makes of these originals; give the files as they "
            "were published"
        )


def _refuse_other_files(folder: Path, bench: PublishedBench) -> None:
    """HarnessError that names the first file with other pixels, or another name."""
    for file, image in _made_again(bench):
        if not (folder / file).exists() or not np.array_equal(pixels_of(folder / file), image):
            raise HarnessError(
                f"release {folder}: {file} is not what the secret makes of these originals; give the originals and the "
                "files as they were, and the harness that released them"
            )
