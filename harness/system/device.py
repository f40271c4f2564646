"""Choose the device, the number of threads and the numerical precision, and keep freed memory with the process.

Threads are set to the cores that may be used: two cores with six threads are slower than with two. Under glibc every
large tensor otherwise takes fresh pages from the system: scoring 300 images of 64 px by McPherson's network took
280 ms, half of it for 67,000 page faults, and takes 130 ms with `keep_freed_memory`.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
import sys
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.system import cgroup
from harness.system.cgroup import cpu_quota

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # parameters of mallopt(3), from glibc's malloc.h
KEPT_BYTES = 2**30  # freed memory that stays with the process
GROWTH_BYTES = 2**27  # asked from the system at a time; pages that are never touched cost nothing
LARGEST_THRESHOLD = 2**25  # bytes, the most that glibc accepts; larger blocks still take freed memory where they fit


def choose_device(wanted: str) -> str:
    """The device for "auto", "cpu", "cuda" or "cuda:1"; raises HarnessError where it does not exist.

    torch is imported only where there may be a GPU, or another name than "auto" and "cpu".
    """
    if wanted == "cpu" or (wanted == "auto" and not _has_cuda_driver()):
        return "cpu"
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


def _has_cuda_driver() -> bool:
    """Whether the library of NVIDIA's driver is there, without which torch sees no CUDA GPU; or torch knows already."""
    if "torch" in sys.modules:
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def device_type(device: str) -> str:
    """ "cpu" or "cuda", without the number of the GPU: what a record holds of a device."""
    return device.split(":")[0]


def low_precision(device: str) -> Any:
    """torch.bfloat16 where the device multiplies it natively, else None (float32)."""
    import torch

    if device_type(device) == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if supported() else None


def multiplies_bfloat16(device: str, root: Path = Path("/")) -> bool:
    """Whether `low_precision` is bfloat16; for a CPU under Linux without torch.

    root  of the file system, for tests
    """
    if device_type(device) == "cpu" and platform.machine() in ("x86_64", "AMD64"):
        with contextlib.suppress(OSError, StopIteration):
            lines = (root / "proc/cpuinfo").read_text().splitlines()
            return "avx512_bf16" in next(line for line in lines if line.startswith("flags")).split()
    return low_precision(device) is not None


def available_cores(root: Path = Path("/")) -> int:
    """The number of cores that this process may use: a container's quota counts, rounded up.

    root  of the file system, for tests
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def free_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that this process may take: what the machine has left, and the limits of its container."""
    limits = [_machine_memory(root), cgroup.free_memory(root)]
    return min(limit for limit in limits if limit is not None)


def _machine_memory(root: Path) -> int:
    try:
        text = (root / "proc/meminfo").read_text()
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else _UNKNOWN


_UNKNOWN = 2**40


def use_threads(threads: int | None = None) -> int:
    """Give torch, OpenCV and BLAS the same number of threads, by default one for each available core."""
    import cv2
    import threadpoolctl
    import torch

    count = threads or available_cores()
    threadpoolctl.threadpool_limits(count)
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    return count


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next tensor; does nothing under another C library or system."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in (
            (M_MMAP_THRESHOLD, LARGEST_THRESHOLD),
            (M_TRIM_THRESHOLD, KEPT_BYTES),
            (M_TOP_PAD, GROWTH_BYTES),
        ):
            mallopt(parameter, value)
