"""The compiled path of the metrics: where it serves, and how it goes over many images. The kernels are in kernels/.

A kernel reads one image, or a pair, on one core, so a figure depends neither on the number of threads nor on its
neighbours. numba keeps what it compiled beside the source, or in the user's cache folder (NUMBA_CACHE_DIR), or, where
neither can be written, nowhere: then every process compiles anew. NUMBA_DISABLE_JIT=1 leaves the reference everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from harness.types import Array, Images


def kernels(images: Images) -> ModuleType | None:
    """The kernels where they serve: float32 images on a CPU that numba can compile for. None: use the reference.

    Whatever has both paths chooses between them here.
    """
    return _load() if images.device.type == "cpu" and images.dtype == torch.float32 else None


@lru_cache(maxsize=1)
def _load() -> ModuleType | None:
    try:
        from harness.plugins.evaluators import kernels
    except (ImportError, OSError, RuntimeError):  # numba is missing, or does not suit this Python, NumPy or machine
        return None
    return kernels


def at_once(images: Images) -> int:
    """Images in one step of a reference: as many as stay in a CPU's cache, or keep a GPU busy."""
    pixels = 2**16 if images.device.type == "cpu" else 2**22
    return max(1, pixels // (images.shape[2] * images.shape[3]))


def each(compare: Callable[..., Any], *stacks: Images, threads: int | None = None) -> Array:
    """`compare(image, ...)` of every image of the stacks, stacked; on as many threads as torch has, or `threads`.

    The images are (3, H, W) NumPy arrays in C order: views where they can be, else copied one at a time. `compare`
    lets go of the interpreter's lock.
    """
    arrays = [stack.numpy(force=True) for stack in stacks]
    count = len(stacks[0])
    results: list[Any] = [None] * count

    def some(rows: range) -> None:
        for row in rows:
            results[row] = compare(*[np.ascontiguousarray(array[row]) for array in arrays])

    workers = min(threads or torch.get_num_threads(), count) if stacks[0].numel() >= _WORTH_THREADS else 1
    if workers > 1:
        list(_pool(workers, os.getpid()).map(some, [range(first, count, workers) for first in range(workers)]))
    else:
        some(range(count))
    return np.array(results)


@lru_cache(maxsize=1)
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """Kept, for threads take longer to start than a small image to measure; a forked process has its own."""
    return ThreadPoolExecutor(workers, "metrics")


_WORTH_THREADS = 2**18  # numbers in a stack: less is done before a thread has begun
