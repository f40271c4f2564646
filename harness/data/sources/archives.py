"""Pictures in class folders inside published archives: fetched, checked, unpacked once, and drawn per class.

`cats_vs_dogs` and `stanford_dogs10` are entries of registry.yaml that use it; a user's own is another. An archive that
a user has put into the folder by hand is not fetched. Archives stay beside what was unpacked of them.
References: Elson, Douceur, Howell and Saul 2007 (Asirra); Khosla, Jayadevaprakash, Yao and Fei-Fei 2011.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from harness.data.cache import INDEX, Facts, cached
from harness.data.decode import FORMATS, LazyImage, read_image
from harness.data.download import Archive, bytes_missing, check_space, fetch
from harness.data.image_folder import EXTENSIONS
from harness.data.load import SizedImages
from harness.data.splits import TEST, TRAIN
from harness.data.unpack import unpack
from harness.errors import HarnessError
from harness.system.offline import offline
from harness.system.progress import ProgressReporter

log = logging.getLogger("harness")


def class_folders(
    downloads: Path,
    *,
    folder: str,
    archives: Mapping[str, Mapping[str, Any]],
    classes: Mapping[str, Sequence[str]],
    test_list: str | None,
    per_class: Mapping[str, int],
    size: int,
) -> SizedImages:
    """The pictures, each with its role: train (to be split into private and public) or test.

    folder          where in `downloads` it is kept
    archives        by file name: url, bytes, sha256 and unpacks_to (a ceiling in bytes for what is taken from it)
    classes         the folders of each class, as paths inside the archives
    test_list       a MATLAB file inside the archives whose `file_list` names the test pictures; null: they are drawn
    per_class       how many pictures of a class are `train` and `test` at most, drawn by a hash of the files' content
    size            pixels that the set is published for, where --size says nothing else
    """
    wanted = [_archive(folder, name, fields) for name, fields in archives.items()]
    ceilings = [fields["unpacks_to"] for fields in archives.values()]
    homes = _homes(folder, classes)
    _check_counts(folder, per_class)
    told = repr(([archive.digest for archive in wanted], sorted(homes.items()), test_list))
    place = downloads / folder
    unpacked = place / f"unpacked-{hashlib.sha256(told.encode()).hexdigest()[:16]}"

    def fetched() -> list[Path]:
        if not offline():
            check_space(place, sum(bytes_missing(archive, place) for archive in wanted) + sum(ceilings), folder)
        return [fetch(archive, place, folder) for archive in wanted]

    def dealt(files: Sequence[Sequence[Any]]) -> list[LazyImage]:
        return _dealt(files, unpacked, classes, test_list is not None, per_class, folder)

    def write(temporary: Path) -> Facts:
        check_space(place, sum(ceilings), folder)
        files = _files(dict(zip(paths or fetched(), ceilings, strict=True)), temporary, homes, test_list, folder)
        dealt(files)  # what lacks a class is not kept
        return {"files": files}

    # Fetched before `kept` begins: it sweeps away a temporary folder that nothing is written to for an hour.
    paths = [] if (unpacked / INDEX).is_file() else fetched()
    return SizedImages(dealt(cached(unpacked, write, lambda _: True)["files"]), size)


def _files(
    archives: Mapping[Path, int], target: Path, homes: Mapping[str, str], test_list: str | None, who: str
) -> list[list[Any]]:
    """Unpack what is needed: [path, class, sha256, whether the test list names it] of every readable picture."""

    def wanted(path: str) -> bool:
        name = Path(path).name
        picture = Path(path).suffix.lower() in EXTENSIONS and name[0] != "."
        return path == test_list or (picture and path.rpartition("/")[0] in homes)

    digests: dict[str, str] = {}
    for archive, most in archives.items():
        teller = ProgressReporter(f"{who}: unpacking {archive.name}")
        digests |= unpack(archive, target, wanted, most, teller.update)
    listed = _listed(target / test_list, who) if test_list else set()
    files: list[list[Any]] = []
    for path, digest in sorted(digests.items()):
        if path == test_list:
            continue
        try:
            Image.open(target / path, formats=FORMATS).close()  # its head; the rest is looked at when it is decoded
        except Exception as error:  # Pillow raises nearly anything on damaged files
            log.warning("%s: %s is left out: %s", who, path, " ".join(str(error).replace(f"{target}/", "").split()))
            continue
        files.append([path, homes[path.rpartition("/")[0]], digest, _short(path) in listed])
    return files


def _listed(file: Path, who: str) -> set[str]:
    """The pictures that a MATLAB list names, by their folder and file."""
    from scipy.io import loadmat

    if not file.is_file():
        raise HarnessError(f"{who}: no archive holds {file.name}; mend test_list")
    try:
        return {_short(str(cell.item())) for cell in loadmat(str(file))["file_list"].ravel()}
    except Exception as error:  # scipy raises nearly anything on damaged files
        raise HarnessError(f"{who}: {file.name} holds no list of files ({type(error).__name__}: {error})") from error


def _short(path: str) -> str:
    return "/".join(path.split("/")[-2:])


def _dealt(
    files: Sequence[Sequence[Any]],
    root: Path,
    classes: Mapping[str, Sequence[str]],
    listed: bool,
    per_class: Mapping[str, int],
    who: str,
) -> list[LazyImage]:
    """At most so many pictures of a class in each role, in the order of a hash of their content; copies dropped."""
    pools: dict[str, dict[str, tuple[str, bool]]] = {label: {} for label in classes}
    seen: set[str] = set()
    for path, label, digest, in_test in sorted(files, key=lambda file: (not file[3], file[0])):
        if digest not in seen:  # of two equal files the one in the test list stays
            seen.add(digest)
            pools[label][digest] = (path, in_test)
    pictures: list[LazyImage] = []
    for label, pool in pools.items():
        if not pool:
            raise HarnessError(f"{who}: the archive has no picture of {label!r} in {', '.join(classes[label])}")
        order = sorted(pool, key=lambda digest: hashlib.sha256(f"roles-1 {digest}".encode()).digest())
        if listed:
            shares = {role: [digest for digest in order if pool[digest][1] == (role == TEST)] for role in (TRAIN, TEST)}
        else:
            shares = {TRAIN: order[per_class[TEST] :], TEST: order}
        for role, digests in shares.items():
            for digest in digests[: per_class[role]]:
                path = pool[digest][0]
                name = f"{role}/{label}/{Path(path).name}"
                pictures.append(LazyImage(name, label, role, partial(read_image, root / path), digest))
    return pictures


def _archive(who: str, name: str, fields: Mapping[str, Any]) -> Archive:
    """One of `archives`, its fields checked: they may come from a user's own file."""
    where = f"{who}: archive {name!r}"
    if not re.fullmatch(r"\w[\w.+-]*", who) or not re.fullmatch(r"\w[\w.+-]*", name):
        raise HarnessError(f"{where}: folder and archive are names; use letters, digits, . _ + and -")
    if not isinstance(fields, Mapping) or set(fields) != {"url", "bytes", "sha256", "unpacks_to"}:
        raise HarnessError(f"{where} is {fields!r}; expected a table with url, bytes, sha256 and unpacks_to")
    url, digest = fields["url"], fields["sha256"]
    if not isinstance(url, str) or not re.match("https?://[^/]", url):
        raise HarnessError(f"{where}: url is {url!r}; expected http:// or https://")
    for key in ("bytes", "unpacks_to"):
        if not isinstance(fields[key], int) or isinstance(fields[key], bool) or fields[key] < 1:
            raise HarnessError(f"{where}: {key} is {fields[key]!r}; expected a whole number of bytes")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise HarnessError(f"{where}: sha256 is {digest!r}; expected 64 hex digits (quoted; sha256sum prints them)")
    return Archive(name, url, digest, fields["bytes"])


def _homes(who: str, classes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The class of every folder."""
    homes: dict[str, str] = {}
    for label, paths in classes.items():
        if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
            raise HarnessError(f"{who}: class {label!r} is {paths!r}; expected a list of folders in the archive")
        for path in paths:
            if homes.setdefault(path, label) != label:
                raise HarnessError(f"{who}: folder {path!r} is in both {homes[path]!r} and {label!r}; keep one")
    return homes


def _check_counts(who: str, per_class: Mapping[str, int]) -> None:
    right = isinstance(per_class, Mapping) and set(per_class) == {TRAIN, TEST}
    if not right or not all(type(count) is int and count > 0 for count in per_class.values()):
        raise HarnessError(f"{who}: per_class is {per_class!r}; expected train and test, each a number from 1")
