"""Parquet files with a column of encoded images and one of labels, as the Hugging Face hub keeps data sets.

An image is bytes, or a struct whose field `bytes` holds them; one that names a file alone is refused. Labels are
numbers from 0 on or names; the class names that `datasets` writes beside numbers are used. A row group is read as a
whole, one at a time. It needs pyarrow, of the extra `hf`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from harness.data.decode import LazyImage
from harness.data.identity import file_state
from harness.data.packed import PackedFile
from harness.data.sources.encoded import checked_label, class_names, encoded_image
from harness.errors import HarnessError
from harness.system.schema import shown

IMAGE_COLUMNS, LABEL_COLUMNS = ("image", "img"), ("label", "labels", "cls", "class", "target")
LARGEST_GROUP = 2**31  # bytes of the images in a row group
MOST_ROWS = 10_000_000
NEEDS = "it needs {0}; install it with pip install 'obfuscation-harness[hf]'"
_one_group = threading.Lock()


def parquet_images(files: Sequence[PackedFile]) -> list[LazyImage]:
    """The images of all files. Raises HarnessError, one sentence that names the file and the row or column."""
    rows: list[tuple[str, int | str, str | None, Any, str, bool]] = []
    labels: set[int | str] = set()
    named: set[tuple[str, ...] | None] = set()
    for file in files:
        opened = _opened(file.path)
        image, label = _columns(file.path, opened.schema_arrow)
        named.add(_class_names(opened.schema_arrow, label))
        state, is_proof = file_state(file.path)
        if len(rows) + opened.metadata.num_rows > MOST_ROWS:
            raise HarnessError(f"{file.path}: more than {MOST_ROWS:,} rows in all; name fewer files")
        at = 0
        for group in range(opened.metadata.num_row_groups):
            _check_group(file.path, opened.metadata.row_group(group), group, image)
            for place, value in enumerate(_column(file.path, opened, group, label)):
                found = checked_label(f"{file.path}: row {at}, column {label!r}", value)
                labels.add(found)
                read = partial(_read, file.path, group, place, image)
                name = f"{file.path.stem}/{at:08d}"
                rows.append((name, found, file.role, read, f"{file.path}\0{state} {at}", is_proof))
                at += 1
    if not rows:
        raise HarnessError(f"{files[0].path}: it holds no rows; expected images and labels")
    if len(named) > 1:
        raise HarnessError(f"{files[0].path}: the files name different classes; give files of one data set")
    (names,) = named
    of = class_names(str(files[0].path), labels, names)
    return [encoded_image(name, of[label], role, read, key, proof) for name, label, role, read, key, proof in rows]


def _opened(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise HarnessError(f"{path}: {NEEDS.format('pyarrow')}") from None
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> HarnessError:
    reason = (getattr(error, "strerror", None) or " ".join(str(error).split()))[:200]
    return HarnessError(f"{path} is no Parquet file, or cut or damaged ({reason}); copy it anew")


def _columns(path: Path, schema: Any) -> tuple[str, str]:
    """The names of the columns of images and labels."""
    from pyarrow import types

    def holds_images(kind: Any) -> bool:
        if types.is_struct(kind):
            place = kind.get_field_index("bytes")
            return place >= 0 and holds_images(kind.field(place).type)
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    def holds_labels(kind: Any) -> bool:
        return bool(types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind))

    found = []
    for what, known, fits in (("image", IMAGE_COLUMNS, holds_images), ("label", LABEL_COLUMNS, holds_labels)):
        fitting = [field.name for field in schema if fits(field.type)]
        named = [name for name in known if name in fitting] or fitting
        if not named or (len(named) > 1 and named[0] not in known) or fitting.count(named[0]) > 1:
            kinds = "bytes or a struct of bytes and path" if what == "image" else "integers or strings"
            raise HarnessError(
                f"{path}: {len(fitting)} columns can be the {what}s; name one {known[0]!r}, of {kinds} "
                f"(it has {shown(', '.join(schema.names))})"
            )
        found.append(named[0])
    return found[0], found[1]


def _class_names(schema: Any, label: str) -> tuple[str, ...] | None:
    """What `datasets` calls the classes; None where it does not say."""
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) else None


def _check_group(path: Path, group: Any, number: int, image: str) -> None:
    parts = [group.column(place) for place in range(group.num_columns)]
    size = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] == image)
    if size > LARGEST_GROUP:
        raise HarnessError(
            f"{path}: row group {number} holds {size:,} bytes of images, more than {LARGEST_GROUP:,}; "
            "write it with smaller row groups"
        )


def _column(path: Path, opened: Any, group: int, name: str) -> Any:
    import pyarrow

    try:
        return opened.read_row_group(group, columns=[name]).column(name).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from None


@lru_cache(maxsize=1)
def _group(path: Path, state: str, group: int, image: str) -> Any:
    """The images of a row group; images are decoded in the order of the rows. state: of the file, as it is now"""
    return _opened(path).read_row_group(group, columns=[image]).column(image)


def _read(path: Path, group: int, place: int, image: str) -> bytes:
    with _one_group:
        value = _group(path, file_state(path)[0], group, image)[place].as_py()
    if isinstance(value, dict):
        value = value.get("bytes")
    if not isinstance(value, bytes):
        raise ValueError("the row holds no bytes of an image")
    return value
