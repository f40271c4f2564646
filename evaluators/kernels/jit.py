"""Decorators that compile the kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

if getattr(numba.config, "DISABLE_JIT"):  # noqa: B009  (numba sets it at run time; mypy does not see it)
    raise ImportError("NUMBA_DISABLE_JIT is set")

# NaN and infinity keep their meaning and sums their order; only multiply-add may be fused.
part = numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})
_stored = numba.njit(nogil=True, error_model="numpy", fastmath={"contract"}, cache=True)
helper = numba.njit(nogil=True, error_model="numpy", fastmath={"contract"}, inline="always")
"""`part`: a function of a kernel that is compiled by itself and called about once per image. `helper`: one that is
inlined into its caller, since a call costs as much as a row of pixels."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile at the first call, and store on disk for the next process where there is a writable folder."""
    try:
        return _stored(function)
    except RuntimeError:  # no writable folder
        return part(function)
