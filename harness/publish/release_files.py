"""The files of a release: PNG files named by random numbers, a table of soft labels; equal times."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from harness.errors import HarnessError
from harness.randomness import numpy_generator
from harness.system.text import csv_cell

if TYPE_CHECKING:
    from harness.types import Array, Release

TIMESTAMP = 946_684_800  # every file's time, in seconds: 2000-01-01 UTC
NUMBERS = 10**12  # file names are drawn from these, without replacement
LABELS = "labels.csv"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
AT_ONCE = 256  # images that the PNG encoders work on at a time


def file_names(release: Release, classes: list[str], epoch: int, key: bytes) -> Array:
    """(N,) the path of each image of an epoch, relative to the output folder."""
    numbers = numpy_generator(key).choice(NUMBERS, len(release), replace=False)
    folder = f"epoch_{epoch:03d}"
    if release.labels.ndim == 2:
        return np.array([f"{folder}/{number:012d}.png" for number in numbers])
    labels = release.labels.tolist()
    return np.array(
        [f"{folder}/{classes[label]}/{number:012d}.png" for label, number in zip(labels, numbers, strict=True)]
    )


def write_images(out: Path, files: Array, release: Release, threads: int) -> None:
    """Write PNG files without metadata, in the order of their names."""
    import cv2

    def write(row: int, pixels: Array) -> None:
        encoded, png = cv2.imencode(".png", pixels[:, :, ::-1])
        if not encoded:
            raise HarnessError(f"OpenCV cannot write {files[row]} as PNG")
        (out / files[row]).write_bytes(png.tobytes())

    for folder in sorted({str(Path(file).parent) for file in files}):
        (out / folder).mkdir(parents=True, exist_ok=True)
    by_name = np.argsort(files)
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(by_name), AT_ONCE):
            rows = by_name[start : start + AT_ONCE]
            pixels = release.images[rows].cpu().numpy().transpose(0, 2, 3, 1)
            list(pool.map(write, rows, pixels))


def png_files(folder: Path) -> list[str]:
    """The PNG files below a release's folder, sorted, relative to it; a class may be called `cat.png`. HarnessError."""

    def refuse(error: OSError) -> NoReturn:
        raise HarnessError(f"release {folder}: {error.filename}: {error.strerror}; name the folder of a release")

    found: list[str] = []
    for place, _, names in os.walk(folder, onerror=refuse):
        found += [Path(place, name).relative_to(folder).as_posix() for name in names if name.endswith(".png")]
    return sorted(found)


def more_than_pixels(file: Path) -> str | None:
    """What a PNG file of a release holds that `write_images` does not write, in words; None where it is nothing."""
    data = file.read_bytes()
    if not data.startswith(_SIGNATURE):
        return "another format"
    at, found = len(_SIGNATURE), []
    while at + 12 <= len(data):
        found.append(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if found[-1] == b"IEND":
            break
    if at != len(data):
        return "bytes after its end" if at < len(data) else "no end"
    other = next((name for name in found if name not in (b"IHDR", b"IDAT", b"IEND")), None)
    return f"a chunk {other.decode('latin-1')!r}" if other else None


def write_labels(file: Path, files: Array, shares: Array, classes: Sequence[str]) -> None:
    """Write a CSV file with the share (N, K) of every class for every file.

    The name of a class is written by `csv_cell`, so that no spreadsheet takes it for a formula.
    """
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", *map(csv_cell, classes)])
        for row in np.argsort(files):
            rows.writerow([files[row], *(f"{share:.6g}" for share in shares[row])])


def set_equal_times(folder: Path) -> None:
    """Give every file and folder the same time, so that times do not show when and in which order they were written."""
    for path, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders, "."):
            os.utime(Path(path) / name, (TIMESTAMP, TIMESTAMP))
