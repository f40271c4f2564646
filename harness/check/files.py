"""The two files that a check may leave: refused before the work where they cannot be written, and written whole."""

from __future__ import annotations

import os
from pathlib import Path

from harness.atomic import write_whole
from harness.errors import HarnessError


def refuse_nowhere(*files: Path | None) -> None:
    """Refuse a file whose folder is not there, before minutes of work."""
    for file in filter(None, files):
        if file.is_dir() or not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
            raise HarnessError(f"{file}: cannot be written; name a file in a folder that is there")


def put(file: Path, text: str) -> None:
    """Write it whole or not at all; a pipe or a device is written to as it is."""
    try:
        if file.exists() and not file.is_file():
            file.write_text(text)
        else:
            write_whole(file, lambda opened: opened.write(text.encode(errors="replace")))
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror or error}; name a file that can be written") from None
