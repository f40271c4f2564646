"""Images in class folders inside published archives: downloaded, checked, unpacked once, and sampled per class.

The entries `cats_vs_dogs` and `stanford_dogs10` of registry.yaml use it, and so can an entry of one's own. An archive
that is in the folder already is not downloaded. Archives stay beside what is unpacked from them.
References: Elson, Douceur, Howell and Saul 2007 (Asirra); Khosla, Jayadevaprakash, Yao and Fei-Fei 2011.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.cache import INDEX, Facts, cached
from harness.data.decode import LazyImage, image_from_file
from harness.data.download import Archive, bytes_missing, check_space, fetch
from harness.data.image_folder import EXTENSIONS
from harness.data.load import SizedImages
from harness.data.pixels import reason_of, size_of
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
    """The images, each with its role: train (to be split into private and public) or test. Raises HarnessError.

    folder     the data set's folder in `downloads`
    archives   by file name: url, bytes, sha256 and unpacks_to (bytes at most of all files that are unpacked)
    classes    the folders of each class, as paths inside the archives
    test_list  a MATLAB file inside the archives whose `file_list` names the test images; null: they are sampled
    per_class  `train` and `test`: images of a class at most, sampled by a hash of the files' content
    size       the default size in pixels
    """
    needed = [_archive(folder, name, fields) for name, fields in archives.items()]
    max_bytes = [fields["unpacks_to"] for fields in archives.values()]
    class_of = _classes_of_folders(folder, classes)
    _check_counts(folder, per_class)
    inputs = repr(([archive.digest for archive in needed], sorted(class_of.items()), test_list))
    target = downloads / folder
    unpacked = target / f"unpacked-{hashlib.sha256(inputs.encode()).hexdigest()[:16]}"

    def fetched() -> list[Path]:
        if not offline():
            check_space(target, sum(bytes_missing(archive, target) for archive in needed) + sum(max_bytes), folder)
        return [fetch(archive, target, folder) for archive in needed]

    def sample(files: Sequence[Sequence[Any]]) -> list[LazyImage]:
        return _sample(files, unpacked, classes, test_list is not None, per_class, folder)

    def write(temporary: Path) -> Facts:
        check_space(target, sum(max_bytes), folder)
        files = _files(dict(zip(paths or fetched(), max_bytes, strict=True)), temporary, class_of, test_list, folder)
        sample(files)  # raises where a class has no image, before anything is cached
        return {"files": files}

    # Before `cached`, which removes a temporary folder that nothing is written to for an hour.
    paths = [] if (unpacked / INDEX).is_file() else fetched()
    return SizedImages(sample(cached(unpacked, write, lambda _: True)["files"]), size)


def _files(
    archives: Mapping[Path, int], target: Path, class_of: Mapping[str, str], test_list: str | None, dataset: str
) -> list[list[Any]]:
    """Unpack what is needed: [path, class, sha256, whether the test list names it] of every readable image."""

    def wanted(path: str) -> bool:
        name = Path(path).name
        is_image = Path(path).suffix.lower() in EXTENSIONS and name[0] != "."
        return path == test_list or (is_image and path.rpartition("/")[0] in class_of)

    digests: dict[str, str] = {}
    for archive, limit in archives.items():
        reporter = ProgressReporter(f"{dataset}: unpacking {archive.name}")
        digests |= unpack(archive, target, wanted, limit, reporter.update)
    listed = _listed(target / test_list, dataset) if test_list else set()
    files: list[list[Any]] = []
    for path, digest in sorted(digests.items()):
        if path == test_list:
            continue
        try:
            size_of(target / path)  # pixels are checked when they are decoded
        except Exception as error:  # Pillow raises nearly anything on damaged files
            log.warning("%s: %s is left out: %s", dataset, path, reason_of(error))
            continue
        files.append([path, class_of[path.rpartition("/")[0]], digest, _short(path) in listed])
    return files


def _listed(file: Path, dataset: str) -> set[str]:
    """The images that a MATLAB list names, as `folder/file`."""
    from scipy.io import loadmat

    if not file.is_file():
        raise HarnessError(f"{dataset}: no archive holds {file.name}; fix test_list")
    try:
        return {_short(str(cell.item())) for cell in loadmat(str(file))["file_list"].ravel()}
    except Exception as error:  # scipy raises nearly anything on damaged files
        raise HarnessError(
            f"{dataset}: {file.name} holds no list of files ({type(error).__name__}: {error})"
        ) from error


def _short(path: str) -> str:
    return "/".join(path.split("/")[-2:])


def _sample(
    files: Sequence[Sequence[Any]],
    root: Path,
    classes: Mapping[str, Sequence[str]],
    listed: bool,
    per_class: Mapping[str, int],
    dataset: str,
) -> list[LazyImage]:
    """At most `per_class` images of a class in each role, ordered by a hash of their content, without duplicates."""
    pools: dict[str, dict[str, tuple[str, bool]]] = {label: {} for label in classes}
    seen: set[str] = set()
    for path, label, digest, in_test in sorted(files, key=lambda file: (not file[3], file[0])):
        if digest not in seen:  # of two equal files the one in the test list is kept
            seen.add(digest)
            pools[label][digest] = (path, in_test)
    images: list[LazyImage] = []
    for label, pool in pools.items():
        if not pool:
            raise HarnessError(f"{dataset}: the archive has no picture of {label!r} in {', '.join(classes[label])}")
        order = sorted(pool, key=lambda digest: hashlib.sha256(f"roles-1 {digest}".encode()).digest())
        if listed:
            shares = {role: [digest for digest in order if pool[digest][1] == (role == TEST)] for role in (TRAIN, TEST)}
        else:
            shares = {TRAIN: order[per_class[TEST] :], TEST: order}
        for role, digests in shares.items():
            for digest in digests[: per_class[role]]:
                path = pool[digest][0]
                name = f"{role}/{label}/{Path(path).name}"
                images.append(image_from_file(root / path, name, label, role, f"{digest} "))
    return images


def _archive(dataset: str, name: str, fields: Mapping[str, Any]) -> Archive:
    """One of `archives`, its fields checked."""
    where = f"{dataset}: archive {name!r}"
    if not re.fullmatch(r"\w[\w.+-]*", dataset) or not re.fullmatch(r"\w[\w.+-]*", name):
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


def _classes_of_folders(dataset: str, classes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The class of every folder."""
    class_of: dict[str, str] = {}
    for label, paths in classes.items():
        if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
            raise HarnessError(f"{dataset}: class {label!r} is {paths!r}; expected a list of folders in the archive")
        for path in paths:
            if class_of.setdefault(path, label) != label:
                raise HarnessError(f"{dataset}: folder {path!r} is in both {class_of[path]!r} and {label!r}; keep one")
    return class_of


def _check_counts(dataset: str, per_class: Mapping[str, int]) -> None:
    right = isinstance(per_class, Mapping) and set(per_class) == {TRAIN, TEST}
    if not right or not all(type(count) is int and count > 0 for count in per_class.values()):
        raise HarnessError(f"{dataset}: per_class is {per_class!r}; expected train and test, each a number from 1")
