"""State of the caller's process that an evaluation changes, put back afterwards."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import threadpoolctl
import torch


@contextmanager
def process_state_kept() -> Iterator[None]:
    """Numbers of threads, the state of Python's `random` and sys.path are afterwards as before, after an error too.

    Threads are those of torch, OpenCV, and the BLAS and OpenMP libraries that are loaded, numba's among them.
    """
    threads, of_opencv = torch.get_num_threads(), cv2.getNumThreads()
    state, folders = random.getstate(), list(sys.path)
    try:
        with threadpoolctl.threadpool_limits(limits=None):
            yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(of_opencv)
        random.setstate(state)
        sys.path[:] = folders
