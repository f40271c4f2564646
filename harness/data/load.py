"""load("photos" | "stl10" | folder) -> Splits(private, public, test).

A folder holds `train/<class>/*` and `test/<class>/*`, or `<class>/*` alone. A named data set is a function
`photos(downloads) -> list[Picture]`, where `downloads` is a folder that it may keep fetched archives in; one that
fetches asks `harness.system.offline` first.
Each role lies in a file of its own in the cache, in the order of its content hashes: no role leads to another,
and a second run starts at once. The cache holds the decoded images a second time, to cut other roles from.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from harness.data import splits
from harness.data.cache import Facts, cached
from harness.data.decode import LARGEST, SMALLEST, LazyImage, decode, hashes_match, listing_key, map_images
from harness.data.image_folder import image_folder
from harness.errors import HarnessError
from harness.registry import Entry, bind, builtin_file, read_registry
from harness.system.files import cache_folder
from harness.system.progress import reporting
from harness.types import Dataset, Splits

if TYPE_CHECKING:
    from harness.types import Array, Progress

Entries: TypeAlias = Mapping[str, Callable[[Path], Sequence[LazyImage]]]


class SizedImages(list[LazyImage]):
    """Pictures of many sizes, and the one in pixels that they are brought to where none is asked for."""

    def __init__(self, pictures: Iterable[LazyImage], size: int) -> None:
        super().__init__(pictures)
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
) -> Splits:
    """A data set in its three disjoint roles.

    dataset       a known name, or a folder; `./photos` is the folder where `photos` is the name
    size          the shorter side in pixels, then a centre crop; None: the size that the data set is published for,
                  else images as they are, all of one size
    limit         number of private images at most, the other roles in proportion
    public_share  share of private and public together that becomes public, in [0, 1); None: the data set's own
    cache         folder for decoded and downloaded images
    entries       known names and their functions; None: the built-in ones
    """
    _check_knobs(size, limit, public_share)
    cache = cache_folder() if cache is None else cache
    with reporting(progress):
        name, pictures = find_images(str(dataset), cache / "downloads", entries)
    if size is None and isinstance(pictures, SizedImages):
        size = pictures.size
    pictures = sorted(pictures, key=lambda picture: (picture.name, picture.label, picture.role or ""))
    classes = {picture.label for picture in pictures}
    _check_classes(name, classes)
    attributes = _attributes(name, pictures)
    key = listing_key(pictures, size)
    variant = hashlib.sha256(f"{key} {public_share} {limit}".encode()).hexdigest()[:32]
    folder = cache / "roles" / variant

    def write(temporary: Path) -> Facts:
        stack = decode(pictures, size, cache / "decoded" / key, progress)
        origin = [pictures[row] for row in stack.rows]
        keep = splits.drop_duplicates(stack.hashes, [picture.role for picture in origin])
        labels, hashes = [origin[row].label for row in keep], [stack.hashes[row] for row in keep]
        if lost := sorted(classes - set(labels)):
            raise HarnessError(f"class {lost[0]!r} has no readable image that is its own; add some or remove the class")
        strata = [_stratum(origin[row]) for row in keep]
        final = splits.assign(strata, [origin[row].role for row in keep], hashes, public_share)
        notes: dict[str, Any] = {"duplicates": len(origin) - len(keep), "unreadable": len(stack.unreadable)}
        if stack.unreadable:
            notes["unreadable_files"] = [name for name, _ in stack.unreadable[:20]]
        facts: Facts = {"notes": notes, "classes": sorted(classes), "shape": stack.images.shape[1:]}
        if attributes:
            facts["attribute_names"] = attributes
        for role, rows in splits.cut(strata, final, hashes, limit).items():
            rows.sort(key=hashes.__getitem__)  # an order that says nothing of file names
            with (temporary / f"{role}.bin").open("wb") as file:
                for row in rows:
                    file.write(stack.images[keep[row]].data)
            columns = {"labels": labels, "hashes": hashes, "names": [origin[row].name for row in keep]}
            if attributes:
                columns["attributes"] = [str(origin[row].attribute) for row in keep]
            facts[role] = {column: [values[row] for row in rows] for column, values in columns.items()}
        return facts

    def sound(facts: Facts) -> bool:
        return all(hashes_match(_images(folder, role, facts), facts[role]["hashes"]) for role in splits.ROLES)

    facts = cached(folder, write, sound)
    parts = {role: _dataset(folder, role, facts) for role in splits.ROLES}
    _check_disjoint(parts)
    return Splits(name, **parts, fingerprint=_fingerprint(facts), notes=facts["notes"])


def find_images(dataset: str, downloads: Path, entries: Entries | None = None) -> tuple[str, Sequence[LazyImage]]:
    """The name and the pictures of a known data set (without entries: a built-in one) or a folder; none is read yet."""
    entries = _built_in() if entries is None else entries
    is_path = any(separator in dataset for separator in (os.sep, os.altsep) if separator)
    if not is_path and dataset in entries:
        return dataset, entries[dataset](downloads)
    folder = Path(dataset).expanduser()
    if not is_path and not folder.is_dir():
        close = difflib.get_close_matches(dataset, entries, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise HarnessError(f"unknown data set {dataset!r}; {hint}known: {', '.join(sorted(entries))}; or pass a folder")
    try:
        return folder.resolve().name, image_folder(folder)
    except OSError as error:
        raise HarnessError(
            f"cannot read {error.filename or folder}: {error.strerror}; check its permissions"
        ) from error


def _built_in() -> Entries:
    """The data sets of the built-in registry file; a plugin is imported when it is called."""
    entries = [entry for entry in read_registry(builtin_file(), "built-in") if entry.section == "datasets"]
    return {entry.name: partial(_call, entry) for entry in entries}


def _call(entry: Entry, downloads: Path) -> Sequence[LazyImage]:
    pictures: Sequence[LazyImage] = bind(entry)(downloads)
    return pictures


def _images(folder: Path, role: str, facts: Facts) -> Array:
    return map_images(folder / f"{role}.bin", (len(facts[role]["labels"]), *facts["shape"]))


def _dataset(folder: Path, role: str, facts: Facts) -> Dataset:
    position = {label: number for number, label in enumerate(facts["classes"])}
    labels = np.array([position[label] for label in facts[role]["labels"]], dtype=np.int64)
    hashes = np.array(facts[role]["hashes"], dtype="S32")
    hidden = {name: number for number, name in enumerate(facts.get("attribute_names", ()))}
    attributes = np.array([hidden[name] for name in facts[role]["attributes"]], dtype=np.int64) if hidden else None
    names, classes = tuple(facts[role]["names"]), tuple(facts["classes"])
    return Dataset(_images(folder, role, facts), labels, hashes, names, classes, attributes, tuple(hidden))


def _fingerprint(facts: Facts) -> str:
    digest = hashlib.sha256()
    for role in splits.ROLES:
        columns = [facts[role][name] for name in ("hashes", "labels", "attributes") if name in facts[role]]
        held = sorted(zip(*columns, strict=True))
        digest.update(repr((role, held)).encode())
    return digest.hexdigest()[:32]


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


def _attributes(name: str, pictures: Sequence[LazyImage]) -> list[str]:
    """The values of the second attribute, where there is one; then every picture has it."""
    found = {picture.attribute for picture in pictures}
    if found == {None}:
        return []
    if None in found:
        bare = next(picture.name for picture in pictures if picture.attribute is None)
        raise HarnessError(f"data set {name!r}: {bare} has no attribute and others have; give all or none")
    return sorted(map(str, found))


def _stratum(picture: LazyImage) -> str:
    """What is dealt evenly to the roles: the class, or by class first where that is the attribute of a coarse label."""
    return picture.label if picture.attribute is None else f"{picture.attribute} ({picture.label})"


def _check_disjoint(parts: Mapping[str, Dataset]) -> None:
    every = np.concatenate([part.hashes for part in parts.values()])
    if len(np.unique(every)) != len(every):
        raise HarnessError("two roles share an image: the cache is damaged; remove the folder obfuscation-harness")
