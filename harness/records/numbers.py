"""The arrays of a record: read in bounded memory, checked against each other, and hashed with the record's document."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import HarnessError
from harness.scores import INDEXES, NULL, SCORES, base, index_array
from harness.system.arrays import TooLargeError, read_npz
from harness.system.schema import shown

if TYPE_CHECKING:
    from harness.types import Array


class DamageError(Exception):
    """A file is no record, or not the one that its name says; the message says why."""


class FormatError(DamageError):
    """A record that this version of the harness does not read: it is left out and left as it is."""


class NoDigestError(FormatError):
    """A record that was written before records had digests: nothing shows that its numbers are its own."""


class UnreadableError(FormatError):
    """The system could not read a file of it now, for lack of memory or permission: that says nothing of the record."""


DERANGEMENTS = 5
"""Columns of a null (`harness.run.originals`)."""
MOST_BYTES = 2**28
"""Of all arrays of a record: 600,000 originals with fifty figures each."""


def digest(document: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    """sha256 over everything that a record says, 64 hex digits: its JSON document without `digest`, and its arrays.

    It does not depend on the order of names, on spaces, on how the arrays are compressed or on the machine's byte
    order. It shows that something was changed; it does not show who wrote the record.
    """
    said = {name: value for name, value in document.items() if name != "digest"}
    hashed = hashlib.sha256(json.dumps(said, sort_keys=True, allow_nan=False).encode())
    for name, array in sorted(arrays.items()):
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        hashed.update(json.dumps([name, little.dtype.str, array.shape]).encode())
        hashed.update(little.tobytes())
    return hashed.hexdigest()


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a record's NPZ file. Raises DamageError; UnreadableError where it could not be read now."""
    try:
        return read_npz(path, most=MOST_BYTES, finite=False)
    except HarnessError as fault:
        said = str(fault).removeprefix(f"{path.parent}{os.sep}").partition(";")[0]
        cause = fault.__context__
        if isinstance(fault, TooLargeError) or (isinstance(cause, OSError) and cause.errno in _PASSING):
            raise UnreadableError(f"unreadable ({said})") from None
        raise DamageError(said) from None


_PASSING = (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOMEM, errno.ESTALE)
"""What says nothing of the file: too many are open, no permission, a disk or network that fails."""


def check_arrays(kind: str, arrays: Mapping[str, Array]) -> None:
    """The arrays of a piece of work that is done: each has one number for every original that its index names.

    Raises DamageError.
    """
    needed = "utility" if kind == "utility" else INDEXES[0]
    if needed not in arrays and (kind == "utility" or INDEXES[1] not in arrays):  # a ranking in a gallery has no units
        raise DamageError(f"array {needed!r} is missing")
    for name, values in arrays.items():
        if values.dtype.kind not in "biuf" or values.dtype.itemsize > 8:
            raise DamageError(f"array {shown(name)} holds {values.dtype}; expected numbers")
        if name in INDEXES:
            if values.ndim != 1 or values.dtype.kind != "i" or not len(values) or values.min() < 0:
                raise DamageError(f"array {shown(name)} is {_described(values)}; expected (n,) numbers of originals")
            if name != INDEXES[0] and not (np.diff(values) > 0).all():
                raise DamageError(f"array {shown(name)} names an original twice, or is not sorted")
            continue
        index = arrays.get(index_array(name), arrays.get(INDEXES[0]))
        if index is None and kind != "utility":
            raise DamageError(f"array {needed!r} is missing, by which {shown(name)} counts")
        ndim = 2 if name.startswith(NULL) else 1
        if ndim == 2 and values.ndim == 2 and values.shape[1] != DERANGEMENTS:
            raise DamageError(f"array {shown(name)} is {_described(values)}; expected {DERANGEMENTS} derangements")
        if values.ndim != ndim or not values.size or (index is not None and len(values) != index.size):
            count = "n" if index is None else index.size
            expected = f"({count}, derangements)" if ndim == 2 else f"({count},)"
            raise DamageError(f"array {shown(name)} is {_described(values)}; expected {expected} numbers")
        if base(name) in SCORES:
            _check_range(name, values)


def _check_range(name: str, values: Array) -> None:
    """Distances from 0 on, shares up to 1. A null is not known (NaN) where an original is in every row."""
    known = values[~np.isnan(values)] if name.startswith(NULL) else values
    most = 1e15 if SCORES[base(name)].farther else 1.0
    wrong = known[~((known >= 0) & (known <= most))]
    if len(wrong):
        raise DamageError(f"array {shown(name)} holds {wrong[0]}; expected 0 to {most:g}")


def _described(values: Array) -> str:
    return f"{values.dtype} of shape {values.shape}"
