"""Data sets of many images in few files: Parquet files and tar shards, one, several or a folder of them.

Files whose names begin with `train` and `test` hold those roles; otherwise all of them are split as a folder without
`train/` and `test/` is. What the images and labels in a file are is in `harness.data.sources`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data import splits
from harness.data.decode import LazyImage
from harness.errors import HarnessError
from harness.system.schema import shown

SUFFIXES = (".parquet", ".tar")
MOST_SHARDS = 100_000
_RANGE = re.compile(r"\{([0-9]{1,9})\.\.([0-9]{1,9})\}")


@dataclass(frozen=True)
class PackedFile:
    """One file of images.

    path   real path
    role   "train", "test"; None: to be split
    """

    path: Path
    role: str | None


class PackedImages(list[LazyImage]):
    """The images of such files.

    root  what `--dataset` takes to find them again
    """

    def __init__(self, images: Iterable[LazyImage], root: str) -> None:
        super().__init__(images)
        self.root = root


@dataclass(frozen=True)
class PackedFiles:
    """Files of one kind, at least one, and what `--dataset` takes to find them again."""

    files: Sequence[PackedFile]
    suffix: str
    root: str


def packed_files(dataset: str) -> PackedFiles | None:
    """The files that a path, a pattern such as `shards-{000..003}.tar` or a folder names; None: it is none of these."""
    suffix = os.path.splitext(dataset)[1].lower()
    if suffix in SUFFIXES and not os.path.isdir(dataset):
        paths = [Path(path) for path in _expanded(dataset)]
        for path in paths:
            if not path.is_file():
                raise HarnessError(f"data set file {shown(str(path))} does not exist or is no file; check the path")
        return _with_roles(paths, suffix, os.path.abspath(dataset))
    if not os.path.isdir(dataset):
        return None
    try:
        with os.scandir(dataset) as entries:
            visible = [entry for entry in entries if entry.name[0] != "."]
            if any(entry.is_dir() for entry in visible):  # folders of classes
                return None
            names = sorted(entry.name for entry in visible if entry.is_file())
    except OSError:  # `image_folder` says what is wrong
        return None
    kinds = [kind for kind in SUFFIXES if any(name.lower().endswith(kind) for name in names)]
    if len(kinds) > 1:
        raise HarnessError(f"{shown(dataset)} holds both Parquet files and tar shards; name the files of one kind")
    if not kinds:
        return None
    paths = [Path(dataset, name) for name in names if name.lower().endswith(kinds[0])]
    return _with_roles(paths, kinds[0], os.path.realpath(dataset))


def packed_name(dataset: str) -> str:
    """The folder's name, or the file's without its suffix and number."""
    if os.path.isdir(dataset):
        return Path(os.path.realpath(dataset)).name
    stem = os.path.splitext(os.path.basename(dataset))[0]
    return _RANGE.sub("", stem).rstrip("-_. ") or stem


def packed_images(packed: PackedFiles) -> PackedImages:
    """The images in these files, not decoded yet. Raises HarnessError that names the file and what in it is wrong."""
    from harness.data.sources import parquet, tar_shards  # which import this module

    read = tar_shards.tar_images if packed.suffix == ".tar" else parquet.parquet_images
    return PackedImages(read(packed.files), packed.root)


def _with_roles(paths: Sequence[Path], suffix: str, root: str) -> PackedFiles:
    roles = [splits.role_of_file(path.name) for path in paths]
    present = set(roles)
    if present == {splits.TRAIN, splits.TEST}:
        pass
    elif {splits.TRAIN, splits.TEST} <= present:
        odd = paths[roles.index(None)]
        raise HarnessError(f"{shown(str(odd))} is neither a train nor a test file and others are; rename or move it")
    else:
        roles = [None] * len(paths)
    real = [Path(os.path.realpath(path)) for path in paths]
    return PackedFiles([PackedFile(*each) for each in zip(real, roles, strict=True)], suffix, root)


def _expanded(pattern: str) -> list[str]:
    """`a-{000..003}.tar` as its four names; a pattern without a range is itself."""
    found = _RANGE.search(pattern)
    if not found:
        return [pattern]
    first, last = found[1], found[2]
    count = int(last) - int(first) + 1
    if count < 1 or count > MOST_SHARDS:
        raise HarnessError(f"{shown(pattern)} names {max(count, 0):,} files; use a range of 1 to {MOST_SHARDS:,}")
    head, tail = pattern[: found.start()], pattern[found.end() :]
    width = len(first) if first.startswith("0") else 0
    names = [f"{head}{number:0{width}}{tail}" for number in range(int(first), int(last) + 1)]
    if _RANGE.search(tail):
        raise HarnessError(f"{shown(pattern)} holds two ranges; name one range, or the folder")
    return names
