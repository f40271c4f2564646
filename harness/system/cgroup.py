"""Limits of the control groups (cgroups) that this process is in: a container's memory and CPU quota.

Both versions of the kernel's interface are read, also side by side. A limit of any group above the process's own counts
as well. In a container the path of the group may be the host's, of which the container sees the end or nothing: then
the groups that are there count, the mounted one at least.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_NONE = 2**60
"""Bytes from which a limit is none: version 1 says 2**63 less a page."""


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that the process may still take before a group's limit; None where no group has one.

    root  of the file system, for tests
    """
    left = []
    for group in _groups(root, "memory"):
        limit = min(filter(None, (_number(group / name) for name in _LIMITS)), default=_NONE)
        if limit < _NONE:
            taken = next(filter(None, (_number(group / name) for name in _TAKEN)), 0)
            left.append(max(0, limit - max(0, taken - _reclaimable(group))))
    return min(left, default=None)


_LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")
_TAKEN = ("memory.current", "memory.usage_in_bytes")


def _reclaimable(group: Path) -> int:
    """Bytes of files that are kept in memory while nobody else needs it."""
    found = dict(line.split()[:2] for line in _text(group / "memory.stat").splitlines() if line.count(" ") == 1)
    for name in ("total_inactive_file", "inactive_file"):
        if found.get(name, "").isdigit():
            return int(found[name])
    return 0


def cpu_quota(root: Path = Path("/")) -> float | None:
    """How many CPUs the process may use at a time, 0.5 say; None where no group has a quota."""
    quotas = []
    for group in _groups(root, "cpu"):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        if not quota:
            quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the process's groups with this controller, and of those above them."""
    mounted = root / "sys/fs/cgroup"
    paths = {"": "/", controller: "/"}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        paths |= {name: path for name in controllers.split(",") if name in paths}
    tops = [(mounted, paths[""]), (mounted / "unified", paths[""])]
    tops += [(folder, paths[controller]) for folder in _version_1(mounted, controller)]
    for top, path in tops:
        parts = [part for part in path.split("/") if part not in ("", "..")]
        yield from (top.joinpath(*parts[:depth]) for depth in range(len(parts) + 1))


def _version_1(mounted: Path, controller: str) -> list[Path]:
    """Where version 1 mounts the controller, perhaps with others: `cpu`, `cpu,cpuacct`."""
    try:
        return [folder for folder in mounted.iterdir() if controller in folder.name.split(",")]
    except OSError:
        return []


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdigit() else None


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""
