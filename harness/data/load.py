"""Load a data set by name or from a folder as private, public and test images.

A folder holds `train/<class>/*` and `test/<class>/*`, or `<class>/*`. A named data set is a function
`photos(downloads) -> list[LazyImage]`; `downloads` is a folder for its archives, and before it downloads it asks
`harness.system.offline`.
Each role has its own file, sorted by content hash, so that no role's file or order gives away another's. The files are
kept in the user's cache, once for each size, limit and public share, and are the user's alone to read; with --no-cache
they have no name and end with the process.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np

from harness.data import splits
from harness.data.cache import Facts, cached, unwritable
from harness.data.cache_entries import note_place
from harness.data.decode import LARGEST, SMALLEST, LazyImage, decode_into, hashes_match, listing_key, map_images
from harness.data.image_folder import image_folder
from harness.data.notes import NAMED, of_left_out, of_two_classes, say
from harness.data.packed import packed_files, packed_images, packed_name
from harness.errors import HarnessError
from harness.registry import Entry, bind, builtin_file, read_registry
from harness.system.files import user_cache_folder
from harness.system.private import keeps_nothing, passing_folder, private_folder, tighten
from harness.system.progress import reporting
from harness.system.schema import shown
from harness.system.scratch import temporary_folder
from harness.system.text import is_text, one_line
from harness.types import Dataset, Splits

if TYPE_CHECKING:
    from harness.types import Array, Progress

LONGEST_NAME = 200
HUB = "hf:"
"""How a data set of the Hugging Face hub is named: hf:NAME."""
Opened: TypeAlias = Callable[[str], AbstractContextManager[IO[bytes]]]
Files: TypeAlias = dict[str, Path | IO[bytes]]
Entries: TypeAlias = Mapping[str, Callable[[Path], Sequence[LazyImage]]]


class SizedImages(list[LazyImage]):
    """Images of many sizes, and the size in pixels that they are loaded with by default."""

    def __init__(self, images: Iterable[LazyImage], size: int) -> None:
        super().__init__(images)
        self.size = size


def load(
    dataset: str | Path,
    *,
    size: int | None = None,
    limit: int | None = None,
    public_share: float | None = None,
    cache: Path | None = None,
    entries: Entries | None = None,
    progress: Progress | None = None,
    name: str | None = None,
) -> Splits:
    """A data set, split into its three disjoint roles. Raises HarnessError.

    dataset       a name or a folder; `./photos` is a folder, `photos` a name
    size          pixels of the shorter side, the centre is cropped; None: the data set's default size, or else
                  unchanged images, which must all have one size
    limit         private images at most, public ones in proportion; test images are never cut
    public_share  share of private and public together that becomes public, in [0, 1); None: the data set's own
    cache         folder for decoded and downloaded images
    entries       data sets by name: their functions; None: the built-in ones
    name          how boards call it; None: its name, or that of its folder or file
    """
    _check_knobs(size, limit, public_share)
    if name is not None:
        check_name(name)
    cache = _cache_folder() if cache is None else cache
    with reporting(progress):
        own_name, listed = find_images(str(dataset), cache / "downloads", entries)
    if name is None:
        check_name(own_name)
        name = own_name
    if size is None and isinstance(listed, SizedImages):
        size = listed.size
    unread = sorted(listed, key=lambda image: (image.name, image.label, image.role or ""))
    _check_classes(name, {image.label for image in unread})
    _check_attributes(name, unread)
    about = {"name": name, "path": getattr(listed, "root", None), "size": size, "limit": limit, "share": public_share}

    def write(opened: Opened, scratch_folder: Path) -> Facts:
        with tempfile.TemporaryFile(dir=scratch_folder) as scratch:
            decoded = decode_into(scratch, unread, size, progress)
            images = map_images(scratch, decoded["shape"])
            return {**_split(unread, decoded, images, limit, public_share, opened), "about": about}

    if keeps_nothing():
        place = temporary_folder()
        facts, files = _unnamed(lambda opened: write(opened, place), place)
    else:
        try:
            private_folder(cache)
        except OSError as error:
            raise unwritable(cache, error) from None
        tighten(cache / "vision")  # answers are written by the umask
        key = f"{listing_key(unread, size)} {public_share} {limit} {splits.RULE}"
        folder = cache / "roles" / hashlib.sha256(key.encode()).hexdigest()[:32]
        facts, files = _kept(folder, unread, lambda opened: write(opened, folder.parent))
    parts = {role: _dataset(files[role], role, facts) for role in splits.ROLES}
    _check_disjoint(parts)
    notes = facts["notes"] | of_left_out(getattr(listed, "left_out", ()))
    say(name, notes)
    fingerprint = _fingerprint(facts)
    if not keeps_nothing() and (root := getattr(listed, "root", None)):
        note_place(cache, fingerprint, root)
    return Splits(name, **parts, fingerprint=fingerprint, notes=notes)


def _cache_folder() -> Path:
    """The user's; where there is none and nothing is to be kept, one that ends with this process."""
    try:
        return user_cache_folder()
    except HarnessError:
        if keeps_nothing():
            return passing_folder()
        raise


def _kept(folder: Path, unread: Sequence[LazyImage], write: Callable[[Opened], Facts]) -> tuple[Facts, Files]:
    """The facts, and the file of every role in a folder of the cache, which `write` fills where it is not current."""
    doubtful = {image.name: image.content() for image in unread if image.content and not image.is_proof}
    files: Files = {role: folder / f"{role}.bin" for role in splits.ROLES}

    def write_named(temporary: Path) -> Facts:
        # Plain writes, not a writable map: a full disk is then an OSError and not a bus error.
        return {**write(lambda role: (temporary / f"{role}.bin").open("wb")), "contents": doubtful}

    def is_valid(facts: Facts) -> bool:
        return all(hashes_match(_images(files[role], role, facts), facts[role]["hashes"]) for role in splits.ROLES)

    def is_current(facts: Facts) -> bool:
        now = {image.name: image.content for image in unread} if facts["contents"] else {}
        return all((read := now.get(name)) is not None and read() == then for name, then in facts["contents"].items())

    return cached(folder, write_named, is_valid, is_current), files


def _unnamed(write: Callable[[Opened], Facts], folder: Path) -> tuple[Facts, Files]:
    """The facts, and every role's images in a scratch file without a name, which ends with its memory map."""
    files: dict[str, IO[bytes]] = {}

    @contextmanager
    def opened(role: str) -> Iterator[IO[bytes]]:
        files[role] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed once it is mapped)
        yield files[role]
        files[role].flush()

    try:
        return write(opened), {**files}
    except OSError as error:
        raise HarnessError(f"no scratch space: {error.strerror or error}; set TMPDIR to a larger disk") from None


def _split(
    unread: Sequence[LazyImage],
    decoded: Facts,
    images: Array,
    limit: int | None,
    public_share: float | None,
    opened: Opened,
) -> Facts:
    """Write every role's images, and say which they are.

    decoded, images  what `decode_into` made of the unread images
    opened           a file for a role
    """
    readable = [unread[row] for row in decoded["rows"]]
    keep = splits.drop_duplicates(decoded["hashes"], [image.role for image in readable])
    labels, hashes = [readable[row].label for row in keep], [decoded["hashes"][row] for row in keep]
    classes = {image.label for image in unread}
    if empty := sorted(classes - set(labels)):
        raise HarnessError(f"class {empty[0]!r} has no readable image that is its own; add some or remove the class")
    strata = [_stratum(readable[row]) for row in keep]
    roles = splits.assign(strata, [readable[row].role for row in keep], hashes, public_share)
    unreadable = decoded["unreadable"]
    notes: dict[str, Any] = {"duplicates": len(readable) - len(keep), "unreadable": len(unreadable)}
    if unreadable:
        notes["unreadable_files"] = [one_line(name) for name, _ in unreadable[:NAMED]]
    names = [image.name for image in readable]
    notes |= of_two_classes(names, [image.label for image in readable], decoded["hashes"])
    facts: Facts = {"notes": notes, "classes": sorted(classes), "shape": decoded["shape"][1:]}
    attributes = sorted({image.attribute for image in unread if image.attribute is not None})
    if attributes:
        facts["attribute_names"] = attributes
    for role, rows in splits.cut(strata, roles, hashes, limit).items():
        rows.sort(key=hashes.__getitem__)  # so that the order gives away no file name
        with opened(role) as file:
            for row in rows:
                file.write(images[keep[row]].data)
        columns = {"labels": labels, "hashes": hashes, "names": [readable[row].name for row in keep]}
        if attributes:
            columns["attributes"] = [str(readable[row].attribute) for row in keep]
        facts[role] = {column: [values[row] for row in rows] for column, values in columns.items()}
    return facts


def find_images(dataset: str, downloads: Path, entries: Entries | None = None) -> tuple[str, Sequence[LazyImage]]:
    """The name and the images of a named data set or a folder; none is read yet. entries as in `load`."""
    if not dataset.strip():
        raise HarnessError("the data set's name is empty (an unset variable?); name one, or . for this folder")
    entries = _built_in() if entries is None else entries
    is_path = any(separator in dataset for separator in (os.sep, os.altsep) if separator)
    if not is_path and dataset in entries:
        return dataset, entries[dataset](downloads)
    if dataset.startswith(HUB):
        from harness.data.sources.hugging_face import from_hub

        return dataset.removeprefix(HUB), from_hub(dataset, downloads)
    if files := packed_files(os.path.expanduser(dataset)):
        return packed_name(dataset), packed_images(files)
    folder = Path(os.path.expanduser(dataset))  # `Path.expanduser` raises without a home folder
    if not is_path and not folder.is_dir():
        near = difflib.get_close_matches(dataset, entries, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise HarnessError(f"unknown data set {dataset!r}; {hint}known: {', '.join(sorted(entries))}; or pass a folder")
    return Path(os.path.realpath(folder)).name, image_folder(folder)  # `resolve` raises on a loop of links


def _built_in() -> Entries:
    """The data sets of the built-in registry file; a function is imported when it is called."""
    entries = [entry for entry in read_registry(builtin_file(), "built-in") if entry.section == "datasets"]
    return {entry.name: partial(_call, entry) for entry in entries}


def _call(entry: Entry, downloads: Path) -> Sequence[LazyImage]:
    images: Sequence[LazyImage] = bind(entry)(downloads)
    return images


def _images(file: Path | IO[bytes], role: str, facts: Facts) -> Array:
    images = map_images(file, (len(facts[role]["labels"]), *facts["shape"]))
    if not isinstance(file, Path):
        file.close()
    return images


def _dataset(file: Path | IO[bytes], role: str, facts: Facts) -> Dataset:
    numbers = {label: number for number, label in enumerate(facts["classes"])}
    labels = np.array([numbers[label] for label in facts[role]["labels"]], dtype=np.int64)
    hashes = np.array(facts[role]["hashes"], dtype="S32")
    codes = {name: number for number, name in enumerate(facts.get("attribute_names", ()))}
    attributes = np.array([codes[name] for name in facts[role]["attributes"]], dtype=np.int64) if codes else None
    names, classes = tuple(facts[role]["names"]), tuple(facts["classes"])
    return Dataset(_images(file, role, facts), labels, hashes, names, classes, attributes, tuple(codes))


def _fingerprint(facts: Facts) -> str:
    digest = hashlib.sha256()
    for role in splits.ROLES:
        columns = [facts[role][name] for name in ("hashes", "labels", "attributes") if name in facts[role]]
        rows = sorted(zip(*columns, strict=True))
        digest.update(repr((role, rows)).encode())
    return digest.hexdigest()[:32]


def check_name(name: str) -> None:
    """HarnessError for what no board can call a data set."""
    if not name.strip() or len(name) > LONGEST_NAME or not is_text(name):
        raise HarnessError(
            f"the data set's name {shown(name)} is empty, longer than {LONGEST_NAME} letters or holds control or "
            "invisible characters; rename it, or choose another with --name"
        )


def _check_knobs(size: int | None, limit: int | None, public_share: float | None) -> None:
    if size is not None and not SMALLEST <= size <= LARGEST:
        raise HarnessError(f"size {size} is outside {SMALLEST} to {LARGEST} pixels; use 64, say")
    if limit is not None and limit < 1:
        raise HarnessError(f"limit {limit} leaves no images; use at least one per class")
    if public_share is not None and not 0 <= public_share < 1:
        raise HarnessError(f"public share {public_share} is outside [0, 1); use 0.25, say")


def _check_classes(name: str, classes: set[str]) -> None:
    if len(classes) < 2:
        raise HarnessError(f"data set {name!r} has {len(classes)} class(es); recognition needs two or more")


def _check_attributes(name: str, images: Sequence[LazyImage]) -> None:
    """Every image has a second attribute or none."""
    values = {image.attribute for image in images}
    if None in values and len(values) > 1:
        bare = next(image.name for image in images if image.attribute is None)
        raise HarnessError(f"data set {name!r}: {bare} has no attribute and others have; give all or none")


def _stratum(image: LazyImage) -> str:
    """What is split evenly into roles: the class, with a coarse label the second attribute and the label."""
    return image.label if image.attribute is None else f"{image.attribute} ({image.label})"


def _check_disjoint(parts: Mapping[str, Dataset]) -> None:
    hashes = np.concatenate([part.hashes for part in parts.values()])
    if len(np.unique(hashes)) != len(hashes):
        raise HarnessError("two roles share an image: the cache is damaged; remove the folder obfuscation-harness")
