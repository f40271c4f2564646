"""Images that a caller of the Python API has in memory: kept in a scratch folder, so that every worker reads them.

The folder holds the pixels of all images in one file and an index beside it. The data set function is named with the
folder in a registry file of its own (harness.api.own_data).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.decode import LazyImage
from harness.errors import HarnessError
from harness.system.schema import shown

if TYPE_CHECKING:
    from harness.types import Array

_PIXELS, _INDEX = "pixels", "index.json"
USE = "harness.data.sources.in_memory:in_memory"


@dataclass(frozen=True)
class Sample:
    """One image as it was given.

    pixels  (H, W, 3) uint8
    label   the number or the name of its class
    role    "train", "test", or None: to be split
    """

    pixels: Array
    label: int | str
    role: str | None


def store(samples: Iterable[Sample], folder: Path, classes: Sequence[str] | None = None) -> str:
    """Write samples into an empty folder; a hash of their content, 8 hex digits, whatever their order.

    classes  names of the classes, by number; None: their numbers, filled with zeros, so that names sort as numbers do
    """
    index: list[list[Any]] = []
    offset = 0
    try:
        with (folder / _PIXELS).open("wb") as file:
            for number, sample in enumerate(samples):
                data = np.ascontiguousarray(sample.pixels)
                file.write(data.data)
                height, width = data.shape[:2]
                content = hashlib.sha256(f"{height} {width} ".encode() + data.tobytes()).hexdigest()[:32]
                name = f"{sample.role or 'image'}/{number}"
                index.append([name, sample.label, sample.role, offset, height, width, content])
                offset += data.nbytes
        names = _class_names([row[1] for row in index], classes)
        index = [[row[0], names[row[1]], *row[2:]] for row in index]
        (folder / _INDEX).write_text(json.dumps(index))
    except OSError as error:
        raise HarnessError(f"no scratch space: {error.strerror or error}; set TMPDIR to a larger disk") from None
    lines = sorted(f"{content} {role} {label}" for _, label, role, _, _, _, content in index)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


def _class_names(labels: Sequence[int | str], classes: Sequence[str] | None) -> dict[int | str, str]:
    numbers = {label for label in labels if isinstance(label, int)}
    most = max(numbers, default=0)
    digits = len(str(most))
    if numbers and len(numbers) < len(set(labels)):
        raise HarnessError("dataset: some labels are numbers and some are names; give one kind")
    if classes is not None and most >= len(classes):
        raise HarnessError(f"dataset: a label is {most}, and it names {len(classes)} classes; correct either")
    names: dict[int | str, str] = {}
    for label in set(labels):
        if isinstance(label, int):
            names[label] = f"{label:0{digits}}" if classes is None else classes[label]
        else:
            names[label] = label
    for name in names.values():
        if not _is_unicode(name):
            raise HarnessError(f"dataset: the class name {shown(name)} is no Unicode text; rename the class")
    return names


def _is_unicode(name: str) -> bool:
    """False where it holds half of a surrogate pair, which no file can hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_memory(downloads: Path, *, folder: str) -> list[LazyImage]:
    """The images that were stored in this folder; `downloads` is not used."""
    file = Path(folder, _PIXELS)
    return [
        LazyImage(name, label, role, partial(_read, file, offset, height, width), f"{content} {height} {width}")
        for name, label, role, offset, height, width, content in json.loads(Path(folder, _INDEX).read_text())
    ]


def _read(file: Path, offset: int, height: int, width: int) -> Array:
    with file.open("rb") as opened:
        opened.seek(offset, os.SEEK_SET)
        return np.frombuffer(opened.read(3 * height * width), np.uint8).reshape(height, width, 3)
