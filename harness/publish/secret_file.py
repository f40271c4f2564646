"""The file that undoes a release: written for its owner alone, and checked field by field when it is read.

Of a client's release (`harness obfuscate`) it says which file holds what, beside the root of the randomness; of a
challenge (`harness external release`) it holds the root, and what that was used on.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeVar

import numpy as np
from msgspec import Meta, Struct

from harness.data.decode import LARGEST, SMALLEST
from harness.errors import HarnessError
from harness.randomness import ROOT_BYTES
from harness.system.arrays import Expected, read_npz, texts
from harness.system.documents import parse_json
from harness.system.files import write_private
from harness.system.schema import decode

if TYPE_CHECKING:
    from harness.types import Array

T = TypeVar("T")
_Text = Annotated[str, Meta(max_length=20_000)]
_Short = Annotated[str, Meta(max_length=200)]
_Side = Annotated[int, Meta(ge=SMALLEST, le=LARGEST)]
_Knobs = dict[_Short, Any]
_FILES = 8_000_000  # of all releases: what names them would take more than `harness.system.arrays.BYTES`
_LETTERS = 2**22  # of the JSON document
_FIX = "give the file as it was written"


class AboutRelease(Struct, forbid_unknown_fields=True, frozen=True):
    """What makes the same release of the same files, and where it was counted.

    ledger  its file; book: its id; run: the number of the run in it
    """

    harness: _Short
    defense: _Short
    version: int
    params: _Knobs
    mixing: _Knobs | None
    height: _Side
    width: _Side
    device: _Short
    ledger: _Text = ""
    book: _Short = ""
    run: _Short = ""


class AboutChallenge(Struct, forbid_unknown_fields=True, frozen=True):
    """What the root of a challenge was used on: a row of a board, whose options have to be the same again."""

    harness: _Short
    defense: _Short
    version: int
    params: _Knobs
    mixing: _Knobs | None
    seed: int
    releases: Annotated[int, Meta(ge=1)]
    device: _Short
    dataset: _Text
    images: _Short


@dataclass(frozen=True)
class ReleaseSecret:
    """files: (M,) of all releases, relative to the release's folder."""

    about: AboutRelease
    root: bytes
    releases: int
    files: list[str]


@dataclass(frozen=True)
class ChallengeSecret:
    """hash: of the names and pixels of all releases."""

    about: AboutChallenge
    root: bytes
    hash: str


def read_release_secret(path: Path) -> ReleaseSecret:
    """The secret of a client's release. Raises HarnessError."""
    kinds = {"epoch": Expected("whole number", 1), "file": Expected("text", 1, most=_FILES)}
    kinds |= {"sources": Expected("text", 2), "weights": Expected("number", 2), "dominant": Expected("whole number", 1)}
    arrays, about, root = _read(path, kinds, AboutRelease, "give the .npz that harness obfuscate wrote")
    lengths = {len(arrays[name]) for name in kinds}
    epochs = np.unique(arrays["epoch"])
    if len(lengths) > 1 or not len(epochs) or not np.array_equal(epochs, np.arange(len(epochs))):
        raise HarnessError(f"secret {path}: its arrays do not list the files of releases 0, 1, ...; {_FIX}")
    return ReleaseSecret(about, root, len(epochs), texts(arrays["file"], f"secret {path}: file"))


def read_challenge_secret(path: Path) -> ChallengeSecret:
    """The secret of a challenge. Raises HarnessError."""
    fix = "give the .npz that harness external release wrote (a client's own needs --release as well)"
    arrays, about, root = _read(path, {"hash": Expected("text", 0, letters=1000)}, AboutChallenge, fix)
    return ChallengeSecret(about, root, texts(arrays["hash"], f"secret {path}: hash")[0])


def _read(path: Path, kinds: Mapping[str, Expected], about: type[T], fix: str) -> tuple[dict[str, Array], T, bytes]:
    expected = {**kinds, "root": Expected("byte", 1), "about": Expected("text", 0, letters=_LETTERS)}
    arrays = read_npz(path, expected, what="secret ", fix=fix)
    where = f"secret {path}"
    if arrays["root"].shape != (ROOT_BYTES,):
        raise HarnessError(f"{where}: its root has {len(arrays['root'])} bytes, expected {ROOT_BYTES}; {_FIX}")
    (document,) = texts(arrays["about"], f"{where}: about")
    held = decode(parse_json(document, where), about, f"{where}: about", fix=_FIX)
    return arrays, held, arrays["root"].tobytes()


@contextmanager
def secret_of(file: Path, is_out: Callable[[], bool]) -> Iterator[Callable[[dict[str, Array]], None]]:
    """Write a secret with what this gives; where the block raises and nothing is out, what was written is removed.

    A secret that another run wrote is never removed.
    """
    made: os.stat_result | None = None

    def write(arrays: dict[str, Array]) -> None:
        nonlocal made
        made = write_secret(file, arrays)

    try:
        yield write
    except BaseException:
        if made and not is_out():
            _remove(file, made)
        raise


def write_secret(file: Path, arrays: dict[str, Array]) -> os.stat_result:
    """Write an .npz of mode 0600; its stat. (`np.savez_compressed` cannot take an array called `file`.)"""

    def write(stream: BinaryIO) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)

    try:
        write_private(file, write)
        return file.lstat()
    except OSError as error:
        raise HarnessError(
            f"cannot write the secret {file}: {error.strerror}; nothing was released, name another --secret"
        ) from None


def _remove(secret: Path, made: os.stat_result) -> None:
    """Remove the secret that this run wrote, and no other that has taken its place."""
    with contextlib.suppress(OSError):
        found = secret.lstat()
        if all(getattr(found, name) == getattr(made, name) for name in ("st_dev", "st_ino", "st_ctime_ns", "st_size")):
            secret.unlink()
