"""How many processes at work are worth having here."""

from __future__ import annotations

import os
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def physical_cores(topology: Path = TOPOLOGY, quota: Path = QUOTA) -> int:
    """The physical cores that this process may use: two threads of one core count once, a container's quota counts."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = len({_read(topology / f"cpu{number}/topology/thread_siblings_list", str(number)) for number in usable})
    most, _, period = _read(quota, "max").partition(" ")
    if most.isdigit() and period.isdigit():
        cores = min(cores, -(-int(most) // int(period)))
    return max(cores, 1)


def _read(file: Path, default: str) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return default
