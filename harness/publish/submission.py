"""Read an outside submission for a release: reconstructions or class scores, one for every released file.

Reconstructions are a folder of PNG files called like the released ones (`NUMBER.png`; several guesses of one as
`NUMBER_1.png`, `NUMBER_2.png`), or an .npz with `files` (N,) and `candidates` (N, M, 3, H, W) uint8. Scores are an .npz
with `files`, `classes` (K,) and `scores` (N, K), or a CSV file with the columns `file` and the classes. An .npz may say
in `release` which release it is for, by its hash. Files that a system hides among them (`._NUMBER.png`) are left out.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import normalize

import numpy as np

from harness.data.pixels import read_image, reason_of, size_of
from harness.errors import HarnessError
from harness.system.arrays import Expected, read_npz, texts
from harness.system.schema import shown
from harness.system.tables import number_in, read_csv
from harness.system.text import csv_text
from harness.types import Array

_RELEASE = 1000  # letters of the hash of a release, at most
_SEVERAL = re.compile(r"(.+)_([0-9]{1,2})")


@dataclass(frozen=True)
class Submission:
    """Reconstructions or scores, in the order of the release.

    candidates  (N, M, 3, H, W) uint8, or None
    scores      (N, K) float64 over the classes of the release, or None
    digest      hash of the content: another submission is another entry
    release     hash of the release that it was made for, as stated in the file
    """

    candidates: Array | None
    scores: Array | None
    digest: str
    release: str | None = None


def read_reconstructions(path: Path, files: Sequence[str], shape: tuple[int, int], most: int) -> Submission:
    """Reconstructions of every file of the release, in its size (height, width), at most `most` guesses for each.

    Raises HarnessError for anything else.
    """
    release = None
    if path.is_dir():
        candidates = _from_folder(path, files, shape, most)
    elif path.suffix == ".npz":
        kinds = {"files": Expected("text", 1, most=_rows_read(files)), "candidates": Expected("byte", 5)}
        held = _arrays(path, kinds, len(files) * most * 3 * math.prod(shape))
        candidates, release = held["candidates"], _stated_release(path, held)
        if candidates.shape[2:] != (3, *shape):
            raise HarnessError(
                f"{path}: candidates are {candidates.dtype} {candidates.shape}; "
                f"expected uint8 (N, M, 3, {shape[0]}, {shape[1]})"
            )
        _check_guesses(path, candidates.shape[1], most)
        stems = _stems(_names(path, held["files"]))
        _check_names(path, stems, files)
        rows = {stem: row for row, stem in enumerate(stems)}
        candidates = candidates[[rows[stem] for stem in _stems(files)]]
    else:
        raise HarnessError(f"reconstructions {path}: there is no such folder or .npz file; give one of them")
    return Submission(candidates, None, _digest(candidates), release)


def read_scores(path: Path, files: Sequence[str], classes: Sequence[str]) -> Submission:
    """Class scores with one row for every file of the release and one column for every class.

    Raises HarnessError for anything else.
    """
    if path.suffix == ".npz":
        kinds = {"files": Expected("text", 1, most=_rows_read(files))}
        kinds |= {"classes": Expected("text", 1, most=_rows_read(classes)), "scores": Expected("number", 2)}
        held = _arrays(path, kinds, 8 * len(files) * len(classes))
        names, columns, numbers = _names(path, held["files"]), _names(path, held["classes"]), held["scores"]
        release = _stated_release(path, held)
    else:
        names, columns, numbers = _from_csv(path, _rows_read(files), classes)
        release = None
    _check_columns(path, columns, classes, numbers.shape[1])
    stems = _stems(names)
    _check_names(path, stems, files)
    rows = {stem: row for row, stem in enumerate(stems)}
    place = {name: column for column, name in enumerate(_as_classes(columns, classes))}
    columns_by_class = [place[name] for name in _composed(classes)]
    scores = np.asarray(numbers, np.float64)[[rows[stem] for stem in _stems(files)]][:, columns_by_class]
    return Submission(None, scores, _digest(scores), release)


def _from_folder(folder: Path, files: Sequence[str], shape: tuple[int, int], most: int) -> Array:
    """(N, M, 3, H, W) of the PNG files below a folder, in the order of `files`."""
    guesses: dict[str, dict[int, Path]] = {}
    wanted = set(_stems(files))
    for path in _pictures(folder, 100 * len(files) + 1000):
        several = _SEVERAL.fullmatch(path.stem)
        stem, place = (several[1], int(several[2])) if several and path.stem not in wanted else (path.stem, 0)
        if place in guesses.setdefault(stem, {}):
            raise HarnessError(f"{folder}: {path.name} is there twice, as {guesses[stem][place]} and {path}; keep one")
        guesses[stem][place] = path
    _check_names(folder, list(guesses), files)
    counts = {len(places) for places in guesses.values()}
    if len(counts) > 1:
        raise HarnessError(f"{folder}: some images have {min(counts)} guesses and some {max(counts)}; give all as many")
    _check_guesses(folder, counts.pop(), most)
    return np.stack([np.stack([_planes(path, shape) for _, path in sorted(guesses[s].items())]) for s in _stems(files)])


def _pictures(folder: Path, most: int) -> list[Path]:
    """The PNG files below a folder, without those that a system hides there (`._NAME` of a Mac, `__MACOSX`)."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        found += [Path(place, name) for name in sorted(names) if name.endswith(".png") and not name.startswith(".")]
        if len(found) > most:
            raise HarnessError(f"{folder}: more than {most:,} PNG files; submit those for the release alone")
    for path in found:  # it may lead to the originals
        if path.is_symlink():
            raise HarnessError(f"{path} is a link; submit the PNG file itself")
    return found


def _planes(path: Path, shape: tuple[int, int]) -> Array:
    """(3, H, W) uint8 of an image of this size, which its header is asked for before it is decoded."""
    try:
        size = size_of(path)
        pixels = read_image(path) if size == shape else None
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise HarnessError(f"{path} cannot be read: {reason_of(error)}; give PNG files in the release's size") from None
    if pixels is None or pixels.shape[:2] != shape:
        raise HarnessError(
            f"{path} is {size[0]}x{size[1]}; the release is {shape[0]}x{shape[1]}, give PNG files of that size"
        )
    planes: Array = pixels.transpose(2, 0, 1)
    return planes


def _check_guesses(where: Path, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise HarnessError(
            f"{where}: {count} guesses for every released image, which has {most} sources; "
            "best of many guesses is an oracle, offer at most as many"
        )


def _check_names(where: Path, stems: Sequence[str], files: Sequence[str]) -> None:
    twice = [stem for stem, times in Counter(stems).items() if times > 1]
    if twice:
        raise HarnessError(f"{where}: {shown(twice[0])} is there twice; keep one")
    wanted = _stems(files)
    missing, unknown = sorted(set(wanted) - set(stems)), sorted(set(stems) - set(wanted))
    if missing or unknown:
        parts = [
            f"{len(some)} {what} (first {shown(some[0])})"
            for some, what in ((missing, "missing"), (unknown, "unknown"))
            if some
        ]
        raise HarnessError(
            f"{where}: {len(stems)} names for {len(wanted)} released images, {' and '.join(parts)}; "
            "submit one for every file of the first epoch, under its name"
        )


def _stems(files: Sequence[str]) -> list[str]:
    return [PurePosixPath(file).stem for file in files]


def _check_columns(path: Path, columns: Sequence[str], classes: Sequence[str], count: int) -> None:
    """count: of the columns with scores"""
    given, wanted = _as_classes(columns, classes), _composed(classes)
    if sorted(given) != sorted(wanted) or count != len(given):
        named, expected = (shown(", ".join(some), 200)[1:-1] for some in (given, wanted))
        raise HarnessError(f"{path}: columns {named}, {count:,} with scores; expected the classes {expected}")


def _as_classes(columns: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The columns' names; or, where these are not the classes, as the release's table of labels has written them."""
    given = _composed(columns)
    return given if sorted(given) == sorted(_composed(classes)) else [csv_text(name) for name in given]


def _composed(names: Sequence[str]) -> list[str]:
    """A Mac writes an accent as a letter of its own."""
    return [normalize("NFC", name) for name in names]


def _rows_read(files: Sequence[str]) -> int:
    """Of a submission for these files: one that has more is named, and one that has many more is not read."""
    return 2 * len(files) + 100


def _arrays(path: Path, expected: Mapping[str, Expected], size: int) -> Mapping[str, Array]:
    """The expected arrays, the first and the last with a row per file.

    size  bytes of a sound submission: much more is not read into memory
    """
    every = {**expected, "release": Expected("text", 0, optional=True, letters=_RELEASE)}
    arrays = read_npz(path, every, most=2 * size + 2**26)
    first, *_, last = expected
    if len(arrays[first]) != len(arrays[last]):
        shapes = f"{first} {arrays[first].shape}, {last} {arrays[last].shape}"
        raise HarnessError(f"{path} holds {shapes}; expected {first} and {last} with a row per file")
    return arrays


def _names(path: Path, array: Array) -> list[str]:
    return texts(array, f"{path}: a name")


def _stated_release(path: Path, held: Mapping[str, Array]) -> str | None:
    return texts(held["release"], f"{path}: release")[0] if "release" in held else None


def _from_csv(path: Path, most: int, classes: Sequence[str]) -> tuple[list[str], list[str], Array]:
    """Names, columns and (N, K) scores; more than `most` rows, or other columns than the classes, are refused."""
    rows = read_csv(path, "CSV file with `file` and a column per class")
    head = next(rows, [])
    if head[:1] != ["file"]:
        first = shown(head[0]) if head else "missing"
        raise HarnessError(f"scores {path}: its first column is {first}; give a CSV with `file` and a column per class")
    _check_columns(path, head[1:], classes, len(head) - 1)
    names: list[str] = []
    numbers: list[Array] = []
    for name, *cells in rows:
        if len(names) >= most:
            raise HarnessError(f"scores {path}: more than {most:,} rows; give one for every released file")
        where = f"scores {path}: {shown(name)}"
        names.append(name)
        numbers.append(np.array([number_in(cell, where) for cell in cells]))
    return names, head[1:], np.array(numbers).reshape(len(names), len(head) - 1)


def _digest(values: Array) -> str:
    return hashlib.sha256(str(values.shape).encode() + np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
