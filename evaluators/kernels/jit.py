"""How the kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set")

# NaN and infinity keep their meaning and sums their order; only a product and its sum may be rounded at once.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
helper = numba.njit(**_OPTIONS)


def kernel(function: Callable[..., Any]) -> Any:
    """Compiled at the first call, and kept on disk for the next process where there is a folder to write to."""
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no such folder
        return helper(function)
