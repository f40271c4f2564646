"""Read an outside submission for a release: reconstructions or class scores, one for every released file.

Reconstructions are a folder of PNG files called like the released ones (`NUMBER.png`; several guesses of one as
`NUMBER_1.png`, `NUMBER_2.png`), or an .npz with `files` (N,) and `candidates` (N, M, 3, H, W) uint8. Scores are an .npz
with `files`, `classes` (K,) and `scores` (N, K), or a CSV file with the columns `file` and the classes. An .npz may say
in `release` which release it is for, by its hash.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from harness.data.pixels import read_image, reason_of, size_of
from harness.errors import HarnessError
from harness.types import Array

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
    if path.is_dir():
        guesses = _from_folder(path, files, shape)
        release = None
    elif path.suffix == ".npz":
        held = _arrays(path, ("files", "candidates"))
        guesses = dict(zip(_stems(held["files"]), held["candidates"], strict=True))
        release = _stated_release(held)
        if held["candidates"].dtype != np.uint8 or held["candidates"].shape[2:] != (3, *shape):
            raise HarnessError(
                f"{path}: candidates are {held['candidates'].dtype} {held['candidates'].shape}; "
                f"expected uint8 (N, M, 3, {shape[0]}, {shape[1]})"
            )
        _check_names(path, list(_stems(held["files"])), files)
    else:
        raise HarnessError(f"reconstructions {path}: there is no such folder or .npz file; give one of them")
    candidates = np.stack([guesses[stem] for stem in _stems(files)])
    if not 1 <= candidates.shape[1] <= most:
        raise HarnessError(
            f"{path}: {candidates.shape[1]} guesses for every released image, which has {most} sources; "
            "best of many guesses is an oracle, offer at most as many"
        )
    return Submission(candidates, None, _digest(candidates), release)


def read_scores(path: Path, files: Sequence[str], classes: Sequence[str]) -> Submission:
    """Class scores with one row for every file of the release and one column for every class.

    Raises HarnessError for anything else.
    """
    if path.suffix == ".npz":
        held = _arrays(path, ("files", "scores", "classes"))
        names, columns, numbers = list(held["files"]), [str(name) for name in held["classes"]], held["scores"]
        release = _stated_release(held)
    else:
        names, columns, numbers = _from_csv(path)
        release = None
    if sorted(columns) != sorted(classes) or numbers.shape != (len(names), len(columns)):
        raise HarnessError(f"{path}: columns {', '.join(columns)}; expected the classes {', '.join(classes)}")
    if not np.isfinite(numbers).all():
        raise HarnessError(f"{path}: {int((~np.isfinite(numbers)).sum())} scores are no finite numbers; fix them")
    _check_names(path, list(_stems(names)), files)
    rows = {stem: row for row, stem in enumerate(_stems(names))}
    columns_by_class = [columns.index(name) for name in classes]
    scores = np.asarray(numbers, np.float64)[[rows[stem] for stem in _stems(files)]][:, columns_by_class]
    return Submission(None, scores, _digest(scores), release)


def _from_folder(folder: Path, files: Sequence[str], shape: tuple[int, int]) -> dict[str, Array]:
    guesses: dict[str, dict[int, Path]] = {}
    wanted = set(_stems(files))
    for path in sorted(folder.rglob("*.png")):
        several = _SEVERAL.fullmatch(path.stem)
        stem, place = (several[1], int(several[2])) if several and path.stem not in wanted else (path.stem, 0)
        if place in guesses.setdefault(stem, {}):
            raise HarnessError(f"{folder}: {path.name} is there twice, as {guesses[stem][place]} and {path}; keep one")
        guesses[stem][place] = path
    _check_names(folder, list(guesses), files)
    counts = {len(places) for places in guesses.values()}
    if len(counts) > 1:
        raise HarnessError(f"{folder}: some images have {min(counts)} guesses and some {max(counts)}; give all as many")
    read = {}
    for stem, places in guesses.items():
        stack = []
        for _, path in sorted(places.items()):
            stack.append(_planes(path, shape))
        read[stem] = np.stack(stack)
    return read


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


def _check_names(where: Path, stems: Sequence[str], files: Sequence[str]) -> None:
    wanted = list(_stems(files))
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise HarnessError(f"{where}: {twice} is there twice; keep one")
    missing, unknown = sorted(set(wanted) - set(stems)), sorted(set(stems) - set(wanted))
    if missing or unknown:
        parts = [
            f"{len(some)} {what} (first {some[0]})"
            for some, what in ((missing, "missing"), (unknown, "unknown"))
            if some
        ]
        raise HarnessError(
            f"{where}: {len(stems)} names for {len(wanted)} released images, {' and '.join(parts)}; "
            "submit one for every file of the first epoch, under its name"
        )


def _stems(files: Sequence[str] | Array) -> list[str]:
    return [PurePosixPath(str(file)).stem for file in files]


def _arrays(path: Path, names: Sequence[str]) -> Mapping[str, Array]:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except Exception as error:  # NumPy and zipfile raise nearly anything on damaged files
        raise HarnessError(f"{path} cannot be read as .npz: {error}; write it with numpy.savez") from None
    missing = [name for name in names if name not in arrays]
    if missing or len(arrays[names[0]]) != len(arrays[names[1]]):
        lengths = ", ".join(f"{name} {arrays[name].shape}" for name in arrays)
        raise HarnessError(f"{path} holds {lengths or 'nothing'}; expected {' and '.join(names)} with a row per file")
    return arrays


def _stated_release(held: Mapping[str, Array]) -> str | None:
    return str(held["release"]) if "release" in held else None


def _from_csv(path: Path) -> tuple[list[str], list[str], Array]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            head, *rows = list(csv.reader(stream))
        if head[0] != "file":
            raise ValueError(f"its first column is {head[0]!r}")
        return [row[0] for row in rows], head[1:], np.array([[float(cell) for cell in row[1:]] for row in rows])
    except (OSError, ValueError, IndexError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise HarnessError(f"scores {path}: {reason}; give a CSV file with `file` and a column per class") from None


def _digest(values: Array) -> str:
    return hashlib.sha256(str(values.shape).encode() + np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
