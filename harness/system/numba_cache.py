"""Compiled loops are kept on disk where a folder can be written; without one they are compiled in each process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def optional() -> Iterator[None]:
    """Inside the block `numba.njit(cache=True)` goes on without its cache where that cannot be written or read.

    Numba itself raises RuntimeError where the user may write neither beside the code nor at home, as in a container,
    and OSError on a full disk. Raises ImportError where Numba is missing.
    """
    from numba.core import dispatcher

    found: Any = dispatcher.Dispatcher
    enable = found.enable_caching

    def enable_if_possible(self: Any) -> None:
        try:
            enable(self)
        except RuntimeError:  # no folder for it
            return
        cache = self._cache
        cache.save_overload, cache.load_overload = map(_without_errors, (cache.save_overload, cache.load_overload))

    found.enable_caching = enable_if_possible
    try:
        yield
    finally:
        found.enable_caching = enable


def _without_errors(method: Any) -> Any:
    def call(*arguments: Any) -> Any:
        with contextlib.suppress(Exception):  # a full disk, a file that another version or half a process wrote
            return method(*arguments)
        return None  # as where nothing is kept

    return call
