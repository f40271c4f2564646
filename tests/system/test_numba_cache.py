"""Compiled loops work where nothing may be written."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

import harness.images
from harness.system import numba_cache

numba = pytest.importorskip("numba")
caching = importlib.import_module("numba.core.caching")


def double(x: int) -> int:
    return 2 * x


@pytest.fixture
def no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba finds no place for its cache, as on a read-only disk."""
    for found in vars(caching).values():
        if isinstance(found, type) and hasattr(found, "from_function") and found.__name__.endswith("Locator"):
            monkeypatch.setattr(found, "from_function", classmethod(lambda *_, **__: None))


@pytest.mark.usefixtures("no_folder")
def test_a_function_is_compiled_without_a_cache_where_no_folder_can_be_written() -> None:
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(double)

    with numba_cache.optional():
        compiled = numba.njit(cache=True)(double)

    assert compiled(21) == 42


@pytest.mark.usefixtures("no_folder")
def test_the_loops_of_the_harness_are_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "harness.images.numba_loops", raising=False)
    monkeypatch.delattr(harness.images, "numba_loops", raising=False)

    assert callable(importlib.import_module("harness.images.cpu").loops.__wrapped__().fill)


def test_a_cache_that_cannot_be_read_or_written_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.FunctionCache, "save_overload", full)
    monkeypatch.setattr(caching.FunctionCache, "load_overload", full)

    with numba_cache.optional():
        compiled = numba.njit(cache=True)(double)

    assert compiled(21) == 42
