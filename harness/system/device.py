"""Where things run and with how many threads, settled on purpose: two cores with six threads are slower than two.

Freed memory is kept for the next picture: under glibc every large tensor is otherwise fresh pages from the system.

Judging 300 images of 64 px by McPherson's network took 280 ms so, half of it 67,000 page faults, and takes 130 without.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from typing import Any

from harness.errors import HarnessError


def choose_device(wanted: str) -> str:
    """ "auto" | "cpu" | "cuda" | "cuda:1" -> a device that exists."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(wanted).type
    except RuntimeError:
        raise HarnessError(f"device {wanted!r} is unknown; use auto, cpu or cuda") from None
    if kind not in ("cpu", "cuda"):
        raise HarnessError(f"device {wanted!r} is not supported; use auto, cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise HarnessError(f"device {wanted!r} asked for, but torch sees no CUDA GPU; use --device cpu")
    if kind == "cuda" and (torch.device(wanted).index or 0) >= torch.cuda.device_count():
        raise HarnessError(f"device {wanted!r} asked for, but there are {torch.cuda.device_count()} GPUs")
    return wanted


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(threads: int | None = None) -> int:
    """Give torch, OpenCV and BLAS the same number of threads: the cores this process may use, unless told otherwise."""
    import cv2
    import threadpoolctl
    import torch

    count = threads or cores()
    threadpoolctl.threadpool_limits(count)
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    return count


def device_type(device: str) -> str:
    """ "cpu" or "cuda": what a record keeps of a device."""
    return device.split(":")[0]


def low_precision(device: str) -> Any:
    """torch.bfloat16 where the device multiplies it natively, else None (float32)."""
    import torch

    if device_type(device) == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if supported() else None


_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
_KEPT = 2**30  # bytes that stay with the process when they are free
_AHEAD = 2**27  # bytes asked for at a time; what is not touched costs nothing
_LARGEST = 2**25  # glibc takes no larger one; what is larger still fits into what is kept


def keep_freed_memory() -> None:
    """For this process; elsewhere than under glibc nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        adjust = ctypes.CDLL(None).mallopt
        for parameter, value in ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _KEPT), (_TOP_PAD, _AHEAD)):
            adjust(parameter, value)
