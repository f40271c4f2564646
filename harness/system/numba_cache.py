"""How modules of compiled loops are imported: one thread at a time, also where nothing can be written for a cache.

Numba imports much of itself on first use, in circles: of two threads that do so at once, each sees modules of the other
that are half imported, and fails. So whatever leads to a first import of Numba is done inside `importing`.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

_locks = [threading.RLock()]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _locks.__setitem__(0, threading.RLock()))  # a thread may hold the other


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Inside the block modules with Numba's decorators are imported, by one thread at a time.

    There `numba.njit(cache=True)` goes on without its cache where that cannot be written or read: Numba itself raises
    RuntimeError where the user may write neither beside the code nor at home, as in a container, and OSError on a full
    disk. Raises ImportError where Numba is missing or NUMBA_DISABLE_JIT is set: what is not compiled is far too slow.
    """
    with _locks[0], _cache_if_possible():
        yield


@contextlib.contextmanager
def _cache_if_possible() -> Iterator[None]:
    from numba import config
    from numba.core import compiler_lock, dispatcher

    if vars(config).get("DISABLE_JIT"):
        raise ImportError("NUMBA_DISABLE_JIT is set")
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
        with compiler_lock.global_compiler_lock:  # compiling imports further modules of Numba
            yield
    finally:
        found.enable_caching = enable


def _without_errors(method: Any) -> Any:
    def call(*arguments: Any) -> Any:
        with contextlib.suppress(Exception):  # a full disk, a file that another version or half a process wrote
            return method(*arguments)
        return None  # as where nothing is kept

    return call
