"""Packages that are written for a test, and the code hash of what is in them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from harness.records.definitions import code_hash, forget

_numbers = itertools.count()


@pytest.fixture
def hash_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Writes a package; the hash of `root` in its module m. Each call is a package of its own name."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    def write(files: dict[str, str | bytes], module: str = "m") -> str:
        name = f"tidy{next(_numbers)}"
        for file, text in {"__init__.py": "", **files}.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            content = text if isinstance(text, bytes) else dedent(text).encode()
            path.write_bytes(content.replace(b"PKG", name.encode()))
        return code_hash([(f"{name}.{module}", "root")])

    yield write
    forget()
