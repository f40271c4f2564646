"""Operations on stacks of images that several plugins need, and their fast paths on a CPU."""

from importlib import import_module
from typing import Any

from harness.images.ops import (
    add_noise,
    all_finite,
    average,
    blur,
    choose,
    exact_mask,
    gather,
    gaussian_window,
    graft_mask,
    pixelize,
    round_and_check,
    separable,
    shuffle_blocks,
    shuffle_by,
    to_bytes,
    to_images,
)
from harness.system import numba_cache

__all__ = [
    "add_noise",
    "all_finite",
    "average",
    "blur",
    "choose",
    "exact_mask",
    "gather",
    "gaussian_window",
    "graft_mask",
    "pixelize",
    "round_and_check",
    "separable",
    "shuffle_blocks",
    "shuffle_by",
    "to_bytes",
    "to_images",
]


def __getattr__(name: str) -> Any:
    if name == "numba_loops":  # asked for once, by `harness.images.cpu`
        with numba_cache.importing():
            return import_module("harness.images.numba_loops")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
