"""Sheets of pictures for the report: PNG files that were named, or that lie beside the records."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from harness.errors import HarnessError

DRAWN = "spending_"
"""What `harness run` draws beside the records: curves, which the report draws itself."""
log = logging.getLogger("harness")


@dataclass(frozen=True)
class Sheet:
    """One picture, as a data URI; width and height in pixels."""

    name: str
    uri: str
    width: int
    height: int


def sheets(folder: Path, named: Sequence[Path]) -> list[Sheet]:
    """The named files, which must be pictures; where none is named, every PNG file in the folder of records."""
    if named:
        return [_read(file) for file in named]
    found = []
    for file in sorted(folder.glob("*.png")):
        if not file.name.startswith(DRAWN):
            try:
                found.append(_read(file))
            except HarnessError as problem:
                log.warning("%s: left out", problem)
    return found


def _read(file: Path) -> Sheet:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise HarnessError(f"sheet {file}: {error.strerror or error}; name a PNG file with --sheet") from None
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            width, height = picture.size
            picture.verify()
    except Exception:  # Pillow raises many kinds for a damaged file
        raise HarnessError(
            f"sheet {file}: not a sound PNG file; make one with `harness preview --out sheet.png`"
        ) from None
    return Sheet(file.name, "data:image/png;base64," + base64.b64encode(data).decode(), width, height)
