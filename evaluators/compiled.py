"""When the compiled kernels of the metrics are used, and their application to many images.

A kernel reads one image, or a pair, on one core, so a figure depends neither on the number of threads nor on other
images. numba stores compiled code beside the source, or in the user's cache folder (NUMBA_CACHE_DIR), or, where neither
can be written, nowhere: then every process compiles anew. With NUMBA_DISABLE_JIT=1 the reference is used everywhere.
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

from harness.system import numba_cache

if TYPE_CHECKING:
    from harness.types import Array, Images

_WORTH_THREADS = 2**18  # numbers in a stack: fewer are done before a thread has started


def kernels(images: Images) -> ModuleType | None:
    """The module of kernels for float32 images on a CPU that numba can compile for; else None: use the reference.

    Every metric that has both chooses between them here.
    """
    return _load() if images.device.type == "cpu" and images.dtype == torch.float32 else None


@lru_cache(maxsize=1)
def _load() -> ModuleType | None:
    try:
        with numba_cache.importing():
            from harness.plugins.evaluators import kernels
    except (ImportError, OSError, RuntimeError):  # numba is missing, or does not support this Python, NumPy or machine
        return None
    return kernels


def chunk_size(images: Images) -> int:
    """Images in one step of a reference: as many as fit in a CPU's cache, or keep a GPU busy."""
    pixels = 2**16 if images.device.type == "cpu" else 2**22
    return max(1, pixels // (images.shape[2] * images.shape[3]))


def per_image(compare: Callable[..., Any], *stacks: Images, threads: int | None = None) -> Array:
    """`compare(image, ...)` of every image of the stacks, stacked; on as many threads as torch has, or `threads`.

    The images are (3, H, W) NumPy arrays in C order: views where possible, else copied one at a time. `compare`
    should release the interpreter's lock.
    """
    arrays = [stack.numpy(force=True) for stack in stacks]
    count = len(stacks[0])
    results: list[Any] = [None] * count

    def run(rows: range) -> None:
        for row in rows:
            results[row] = compare(*[np.ascontiguousarray(array[row]) for array in arrays])

    workers = min(threads or torch.get_num_threads(), count) if stacks[0].numel() >= _WORTH_THREADS else 1
    if workers > 1:
        list(_pool(workers, os.getpid()).map(run, [range(first, count, workers) for first in range(workers)]))
    else:
        run(range(count))
    return np.array(results)


@lru_cache(maxsize=1)
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """A pool that stays: threads take longer to start than a small image to measure. A forked process has its own."""
    return ThreadPoolExecutor(workers, "metrics")
