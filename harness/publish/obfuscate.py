"""`harness obfuscate`: turn a client's folder into a folder of PNG files to publish, and a secret to keep.

Everything in the folder is private and is released R times. Of a file only its class is published: names are
random numbers, files contain pixels alone and are written in the order of those numbers, all times are the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from harness import __version__
from harness.client.client import check_scheme, scheme_of
from harness.data import splits
from harness.data.decode import LARGEST, SMALLEST, decode_into, map_images
from harness.data.image_folder import FolderImages, image_folder
from harness.data.notes import in_two_classes, said_left_out
from harness.errors import HarnessError
from harness.publish.ledger import Asked, Ledger, identity
from harness.publish.ledger_secrets import name_in_secret
from harness.publish.places import LEDGER, Places, claimed
from harness.publish.release_files import LABELS, file_names, set_equal_times, write_images, write_labels
from harness.publish.secret_file import secret_of
from harness.randomness import derive
from harness.registry import Entry, Registry
from harness.release import Scheme, obfuscate
from harness.system.device import use_threads
from harness.system.files import open_regular
from harness.system.new_folder import new_folder
from harness.system.scratch import temporary_folder
from harness.system.text import counted, first_few

if TYPE_CHECKING:
    from harness.data.decode import LazyImage
    from harness.types import Array, Progress, Secret

log = logging.getLogger("harness")


@dataclass(frozen=True)
class Originals:
    """The client's images, decoded.

    images  (N, 3, H, W) uint8
    labels  (N,) int64, positions in `classes`
    names   (N,) paths relative to the folder
    hashes  (N,) of the pixels in the size of the release
    identities  (N,) by which the ledger knows a picture
    unreadable  (name, reason) of those that cannot be decoded
    """

    images: Array
    labels: Array
    names: list[str]
    classes: list[str]
    hashes: list[str]
    identities: list[str]
    unreadable: list[tuple[str, str]]


@dataclass(frozen=True)
class Published:
    """What a run of `harness obfuscate` made.

    images    in all releases
    before    how often these pictures were released before, by the ledger: of the one released most often
    left_out  (name, reason) of the files of the folder that are not in it
    """

    images: int
    before: int
    ledger: Path
    left_out: list[tuple[str, str]]


def publish(
    defense: Entry,
    registry: Registry,
    folder: Path,
    out: Path,
    secret: Path,
    *,
    releases: int,
    root: bytes,
    size: int | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    ledger: Path | None = None,
    at_most: int | None = None,
    strict: bool = False,
) -> Published:
    """Write `releases` releases of a folder `<class>/*` and, apart from them, the secret.

    out       `out/epoch_000/<class>/<number>.png`; with soft labels `out/epoch_000/<number>.png` and `out/labels.csv`
    secret    an .npz of mode 0600: `epoch` (M,) the number of the release, `file` (M,) relative to `out`, `sources`
              (M, k) original relative paths, `weights` (M, k), `dominant` (M,) the column that gave the label, `root`
              16 bytes, `about` JSON
    root      128 bits from which everything random descends; must come from the operating system
    size      the shorter side in pixels, then a centre crop; None: images as they are, all of one size
    ledger    counts releases over all runs; None: beside the secret
    at_most   releases of the same pictures over all runs of the ledger; None: as an earlier run said
    strict    refuse a folder of which something is left out, or with a picture in two classes or twice in one
    """
    if size is not None and not SMALLEST <= size <= LARGEST:
        raise HarnessError(f"size {size} is outside {SMALLEST} to {LARGEST} pixels; use 64, say")
    secret = Path(secret).absolute()
    scratch_folder = temporary_folder()
    places = Places.of(out, secret, folder, ledger or secret.parent / LEDGER)
    assert places.ledger
    out, secret, book = places.out, places.secret, Ledger(places.ledger)
    pictures = private_pictures(Path(folder))
    scheme = scheme_of(defense, registry)
    arrays: dict[str, Array] = {}
    settings = json.dumps({**defense.params, **(defense.mixing or {})})
    asked = Asked(os.path.realpath(folder), releases, at_most, defense.name, settings, str(out), str(secret))

    def is_out() -> bool:
        return bool(arrays) and (out / arrays["file"][0]).exists()

    with ExitStack() as stack:
        stack.enter_context(claimed(places))
        book.check(secret.parent)
        scratch = stack.enter_context(tempfile.TemporaryFile(dir=scratch_folder))
        _say_left_out(pictures.left_out, strict)
        with new_folder(out) as folder_in_progress:
            originals = _decode(pictures, Path(folder), size, scratch, progress)
            _check_pictures(originals, strict)
            height, width = originals.images.shape[2:]
            check_scheme(scheme, originals.labels, (height, width))
            entry = stack.enter_context(book.entered(asked, originals.identities, secret.parent, is_out))
            write = stack.enter_context(secret_of(secret, is_out))  # ends before the entry: none stands without one
            written = _release_all(scheme, originals, folder_in_progress, releases, root, device, progress)
            entered = {"ledger": name_in_secret(book.path, secret), "book": entry.book, "run": entry.id}
            about = _about(defense, (height, width), device) | entered
            arrays = {**written, "root": np.frombuffer(root, np.uint8), "about": np.array(json.dumps(about))}
            write(arrays)
            entry.confirm()
    return Published(len(arrays["file"]), entry.before, book.path, [*pictures.left_out, *originals.unreadable])


def _say_left_out(left_out: list[tuple[str, str]], strict: bool) -> None:
    if left_out and strict:
        raise HarnessError(f"{said_left_out(left_out)}; --strict releases all or nothing: convert or remove them")
    if left_out:
        log.warning("%s", said_left_out(left_out))


def _check_pictures(originals: Originals, strict: bool) -> None:
    """Say which pictures are unreadable, in two classes or copies before anything is written; `strict` refuses."""
    if originals.unreadable and strict:
        raise HarnessError(
            f"{said_left_out(originals.unreadable)}; --strict releases all or nothing: replace or remove them"
        )
    classes = [originals.classes[label] for label in originals.labels]
    found = [" = ".join(names) for names in in_two_classes(originals.names, classes, originals.hashes)]
    if found:
        said = f"{counted(len(found), 'picture')} in two classes: {first_few(found)}"
        if strict:
            raise HarnessError(f"{said}; --strict releases none with two labels: keep one of each")
        log.warning("%s; each is released with both labels", said)
    copies = _copies(originals.names, classes, originals.hashes)
    found = [" = ".join(names if len(names) < 4 else [*names[:3], "..."]) for names in copies]
    if found:
        said = f"{counted(len(found), 'picture')} several times in a class: {first_few(found)}"
        if strict:
            raise HarnessError(f"{said}; --strict releases none more than once: keep one of each")
        log.warning("%s; every copy is released, and counts in the ledger", said)


def _copies(names: Sequence[str], classes: Sequence[str], hashes: Sequence[str]) -> list[list[str]]:
    """The names of every picture that is in a class several times."""
    same: dict[tuple[str, str], list[str]] = {}
    for name, label, content in zip(names, classes, hashes, strict=True):
        same.setdefault((content, label), []).append(name)
    return [each for each in same.values() if len(each) > 1]


def _release_all(
    scheme: Scheme,
    originals: Originals,
    out: Path,
    releases: int,
    root: bytes,
    device: str,
    progress: Progress | None,
) -> dict[str, Array]:
    """Write every release's files; the arrays of the secret: which file holds what."""
    threads = use_threads()
    lists: dict[str, list[Array]] = {name: [] for name in ("epoch", "file", "sources", "weights", "dominant")}
    soft: list[Array] = []
    for number in range(releases):
        if progress:
            progress("releasing", number, releases)
        key = derive(root, "release", number)
        release, drawn = obfuscate(scheme, originals.images, originals.labels, len(originals.classes), key, device)
        files = file_names(release, originals.classes, number, derive(root, "names", number))
        write_images(out, files, release, threads)
        _append(lists, number, files, drawn, originals.names)
        if release.labels.ndim == 2:
            soft.append(release.labels.cpu().numpy())
    joined = {name: np.concatenate(parts) for name, parts in lists.items()}
    if soft:
        write_labels(out / LABELS, joined["file"], np.concatenate(soft), originals.classes)
    set_equal_times(out)
    if progress:
        progress("releasing", releases, releases)
    return joined


def private_pictures(folder: Path) -> FolderImages:
    """Every image of a folder `<class>/*`. Refuses one with train/ or test/ roles: all of a folder is released."""
    for role in (splits.TRAIN, splits.TEST):
        if (folder / role).is_dir() and any(path.is_dir() for path in (folder / role).iterdir()):
            raise HarnessError(
                f"{folder} holds {role}/ with classes in it, and obfuscate releases all of a folder; "
                f"pass {folder / splits.TRAIN}, and keep test images to yourself"
            )
    return image_folder(folder)


def _decode(
    pictures: Sequence[LazyImage], folder: Path, size: int | None, scratch: IO[bytes], progress: Progress | None
) -> Originals:
    """Decode the images into an unnamed file, so that no copy remains even after a crash."""
    pictures = sorted(pictures, key=lambda picture: picture.name)
    identities: dict[str, str] = {}

    def read(picture: LazyImage) -> Array:
        pixels = picture.read()
        with open_regular(folder / picture.name) as file:
            identities[picture.name] = identity(pixels, hashlib.file_digest(file, "sha256").digest())
        return pixels

    noted = [replace(picture, read=partial(read, picture)) for picture in pictures]
    try:
        facts = decode_into(scratch, noted, size, progress)
        images = map_images(scratch, facts["shape"])
    except OSError as error:
        raise HarnessError(f"no scratch space: {error.strerror}; set TMPDIR to a larger disk") from None
    readable = [pictures[row] for row in facts["rows"]]
    classes = sorted({picture.label for picture in pictures})
    labels = np.array([classes.index(picture.label) for picture in readable], np.int64)
    names = [picture.name for picture in readable]
    unreadable = [(name, reason) for name, reason in facts["unreadable"]]
    return Originals(images, labels, names, classes, facts["hashes"], [identities[name] for name in names], unreadable)


def _append(lists: dict[str, list[Array]], number: int, files: Array, secret: Secret, names: list[str]) -> None:
    lists["epoch"].append(np.full(len(files), number, np.int64))
    lists["file"].append(files)
    lists["sources"].append(np.array(names)[secret.sources])
    lists["weights"].append(secret.shares)
    lists["dominant"].append(secret.dominant.astype(np.int64))


def _about(defense: Entry, size: tuple[int, int], device: str) -> dict[str, Any]:
    """The settings that make the same release from the same files and the root."""
    return {
        "harness": __version__,
        "defense": defense.name,
        "version": defense.version,
        "params": defense.params,
        "mixing": defense.mixing,
        "height": size[0],
        "width": size[1],
        "device": device,
    }
