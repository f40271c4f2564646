"""Arrays of other people (.npz): what a file declares is checked before any of it is read into memory.

No object arrays, no more bytes than allowed, and as many as the declared shape takes; the caller says which arrays
there must be, of which kind and with how many dimensions.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy

from harness.errors import HarnessError

BYTES = 2**30
"""Of all arrays of a file together."""
_MEMBERS, _DIRECTORY = 1000, 2**20
_HEADER = 10_000  # letters
_SMALL = 2**16  # bytes of an array that is read together with its header
_NO_MEMORY = "Error -4 "  # zlib's Z_MEM_ERROR, which Python raises as its own error
_KINDS = {"number": "iuf", "whole number": "iu", "text": "US", "byte": "u", "true or false": "b", "anything": "biufcUS"}


class TooLargeError(HarnessError):
    """The arrays do not fit into the memory that there is, which says nothing of the file."""


@dataclass(frozen=True)
class Expected:
    """What an array must be.

    kind       number, whole number, text, byte (uint8), true or false, or anything
    ndim       its dimensions; None: any
    optional   whether it may be missing
    most       its rows, at most: each may become a Python object, which takes fifty bytes and more
    letters    of each text, at most
    """

    kind: str = "anything"
    ndim: int | None = None
    optional: bool = False
    most: int | None = None
    letters: int | None = None


def read_npz(
    path: Path,
    expected: Mapping[str, Expected] | None = None,
    *,
    what: str = "",
    fix: str = "write it with numpy.savez",
    most: int = BYTES,
    finite: bool = True,
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an .npz file; all of them, or those that are expected.

    what    begins messages: "scores "
    fix     ends them
    most    bytes of the arrays together
    finite  whether NaN and infinite numbers are refused

    Raises HarnessError, TooLargeError where memory does not suffice now.
    """
    where = f"{what}{path}"
    try:
        if not path.is_file():
            raise ValueError("is no regular file" if path.exists() else "there is no such file")
        _check_directory(path)
        with path.open("rb") as handle, zipfile.ZipFile(handle) as archive:
            members = _members(archive)
            wanted = members if expected is None else {name: members[name] for name in expected if name in members}
            headers = {name: _header(archive, member) for name, member in wanted.items()}
            _check(headers, members, expected or {}, most)
            arrays = {name: _array(archive, member, headers[name]) for name, member in wanted.items()}
    except HarnessError:
        raise
    except Exception as error:  # NumPy and zipfile raise nearly anything on damaged files
        if isinstance(error, MemoryError) or (isinstance(error, zlib.error) and str(error).startswith(_NO_MEMORY)):
            raise TooLargeError(f"{where}: does not fit into memory; free some, or use a larger machine") from None
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise HarnessError(f"{where}: {' '.join(str(reason).split()) or type(error).__name__}; {fix}") from None
    for name, array in arrays.items():
        bad = int((~np.isfinite(array)).sum()) if finite and array.dtype.kind in "fc" else 0
        if bad:
            raise HarnessError(f"{where}: {name} holds {bad} numbers that are not finite; {fix}")
    return arrays


def texts(array: np.ndarray[Any, Any], where: str) -> list[str]:
    """The texts of an array of kind "text" of any shape: NumPy's `U`, or its `S` as UTF-8. Raises HarnessError."""
    try:
        return [text.decode() if isinstance(text, bytes) else text for text in array.ravel().tolist()]
    except UnicodeDecodeError:
        raise HarnessError(f"{where} is not UTF-8; write it as text") from None


@dataclass(frozen=True)
class _Header:
    """What a member declares.

    order    "F" for Fortran's, else "C"
    length   bytes before the numbers
    size     bytes of the numbers
    content  all of a small member, which is opened once
    """

    shape: tuple[int, ...]
    order: Literal["C", "F"]
    dtype: np.dtype[Any]
    length: int
    size: int
    content: bytes | None


def _check_directory(path: Path) -> None:
    """The table of contents, which zipfile reads whole, has the size that so many arrays have."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, io.SEEK_END) - 42))
        before, end = file.read(20), file.read()
    if end[:4] != b"PK\5\6":
        raise ValueError("does not end as NumPy's files do")
    if before[:4] == b"PK\6\7" or int.from_bytes(end[12:16], "little") > _DIRECTORY:
        raise ValueError(f"holds more than {_MEMBERS} arrays")


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        if len(found) >= _MEMBERS:
            raise ValueError(f"holds more than {_MEMBERS} arrays")
        name = member.filename.removesuffix(".npy")
        if name in found:
            raise ValueError(f"{name[:60]!r} is in it twice")
        if member.flag_bits & 1:
            raise ValueError("is encrypted")
        found[name] = member
    return found


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Header:
    with archive.open(member) as file:
        content = file.read() if member.file_size <= _SMALL else None
        header = _read_header(file.read(_HEADER) if content is None else content[:_HEADER], content)
    if header.dtype.hasobject or header.dtype.kind not in _KINDS["anything"]:
        raise ValueError(f"{member.filename[:60]} holds Python objects or records, which are not read")
    if header.length + header.size != member.file_size:
        declared = f"{member.filename[:60]} declares {header.shape} {header.dtype}, {header.size:,} bytes"
        raise ValueError(f"{declared}, and holds {member.file_size - header.length:,}")
    return header


def _read_header(beginning: bytes, content: bytes | None) -> _Header:
    length = 10 + int.from_bytes(beginning[8:10], "little")  # of version 1, which nearly all files have
    shape, is_fortran, dtype, length = _declared(beginning[:length] if beginning[6:7] == b"\1" else beginning)
    size = math.prod(shape) * dtype.itemsize  # Python's numbers: nothing overflows
    return _Header(shape, "F" if is_fortran else "C", dtype, length, size, content)


@lru_cache(maxsize=1000)
def _declared(beginning: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether in Fortran's order, type, and the length of the header. Many arrays declare the same."""
    file = io.BytesIO(beginning)  # NumPy reads as many bytes as the header says it has: up to 4 GB
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of the .npy format is not known")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read(file, max_header_size=_HEADER)
    return shape, is_fortran, dtype, file.tell()


def _check(
    headers: Mapping[str, _Header],
    members: Mapping[str, zipfile.ZipInfo],
    expected: Mapping[str, Expected],
    most: int,
) -> None:
    total = sum(header.size for header in headers.values())
    if total > most:
        raise ValueError(f"holds {total:,} bytes of arrays; {most:,} at most are read")
    for name, about in expected.items():
        if name not in headers:
            if about.optional:
                continue
            there = ", ".join(sorted(members)[:10]) or "nothing"
            raise ValueError(f"lacks the array {name!r} (it holds {there[:120]})")
        header = headers[name]
        if header.dtype.kind not in _KINDS[about.kind] or (about.kind == "byte" and header.dtype.itemsize != 1):
            raise ValueError(f"{name} is of type {header.dtype}; expected {about.kind}")
        if about.ndim is not None and len(header.shape) != about.ndim:
            raise ValueError(f"{name} has the shape {header.shape}; expected {about.ndim} dimensions")
        rows = header.shape[0] if header.shape else 1
        if about.most is not None and rows > about.most:
            raise ValueError(f"{name} has {rows:,} rows; {about.most:,} at most are read")
        if about.letters is not None:
            letters = header.dtype.itemsize // np.dtype(f"{header.dtype.kind}1").itemsize
            if letters > about.letters:
                raise ValueError(f"{name} has room for {letters:,} letters; {about.letters:,} at most are read")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, header: _Header) -> np.ndarray[Any, Any]:
    if header.content is None:
        with archive.open(member) as file:
            return np.asarray(npy.read_array(file, allow_pickle=False, max_header_size=_HEADER))
    numbers = bytearray(header.content[header.length :])  # which may be written to
    return np.ndarray(header.shape, header.dtype, numbers, order=header.order)
