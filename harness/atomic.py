"""A file that is there whole or not at all: written under another name beside its place, and renamed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

SUFFIX = ".tmp"


def write_whole(path: Path, write: Callable[[Any], object]) -> None:
    """Put what `write` writes into a binary file in the place of `path`; raises OSError, and leaves nothing then."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{SUFFIX}")
    try:
        with temporary.open("wb") as file:
            write(file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
