"""How the kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

if getattr(numba.config, "DISABLE_JIT"):  # noqa: B009  (numba sets it at run time; mypy does not see it)
    raise ImportError("NUMBA_DISABLE_JIT is set")

# NaN and infinity keep their meaning and sums their order; only a product and its sum may be rounded at once.
part = numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})
_kept = numba.njit(nogil=True, error_model="numpy", fastmath={"contract"}, cache=True)
helper = numba.njit(nogil=True, error_model="numpy", fastmath={"contract"}, inline="always")
"""A part of a kernel that is compiled by itself, once per image or so; and one that goes into its caller, for a call
costs as much as a row of pixels."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compiled at the first call, and kept on disk for the next process where there is a folder to write to."""
    try:
        return _kept(function)
    except RuntimeError:  # no such folder
        return part(function)
