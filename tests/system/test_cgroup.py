"""A container's limits are read from a tree of files as the kernel shows it: both versions, nested, mixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.run.process_pool import how_many
from harness.system.cgroup import cpu_quota, free_memory
from harness.system.device import available_cores

GIB = 2**30
UNLIMITED_1 = str(2**63 - 4096)
UNIFIED = "sys/fs/cgroup"


def tree(root: Path, **files: str) -> Path:
    """A root with these files."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


CASES = {
    "no groups": ({}, None, None),
    "version 2, in a container": (
        {
            "proc/self/cgroup": "0::/",
            f"{UNIFIED}/memory.max": str(2 * GIB),
            f"{UNIFIED}/memory.current": "0",
            f"{UNIFIED}/cpu.max": "100000 100000",
        },
        2 * GIB,
        1.0,
    ),
    "version 2 without limits": (
        {"proc/self/cgroup": "0::/", f"{UNIFIED}/memory.max": "max", f"{UNIFIED}/cpu.max": "max 100000"},
        None,
        None,
    ),
    "nested: the tightest counts, whoever has it": (
        {
            "proc/self/cgroup": "0::/user/job/step",
            f"{UNIFIED}/user/job/memory.max": str(8 * GIB),
            f"{UNIFIED}/user/job/memory.current": str(5 * GIB),
            f"{UNIFIED}/user/job/step/memory.max": str(4 * GIB),
            f"{UNIFIED}/user/job/step/memory.current": str(GIB // 2),
            f"{UNIFIED}/user/cpu.max": "150000 100000",
            f"{UNIFIED}/user/job/step/cpu.max": "max 100000",
        },
        3 * GIB,
        1.5,
    ),
    "files that are kept in memory give way": (
        {
            "proc/self/cgroup": "0::/",
            f"{UNIFIED}/memory.max": str(4 * GIB),
            f"{UNIFIED}/memory.current": str(3 * GIB),
            f"{UNIFIED}/memory.stat": f"anon {GIB}\ninactive_file {2 * GIB}\nactive_file 0",
        },
        3 * GIB,
        None,
    ),
    "memory.high slows down before memory.max kills": (
        {"proc/self/cgroup": "0::/", f"{UNIFIED}/memory.max": str(4 * GIB), f"{UNIFIED}/memory.high": str(3 * GIB)},
        3 * GIB,
        None,
    ),
    "the path is the host's": (
        {"proc/self/cgroup": "0::/system.slice/docker-1.scope", f"{UNIFIED}/memory.max": str(GIB)},
        GIB,
        None,
    ),
    "above the root of the namespace": (
        {"proc/self/cgroup": "0::/../../other", f"{UNIFIED}/memory.max": str(GIB)},
        GIB,
        None,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "4:memory:/docker/1\n2:cpu,cpuacct:/docker/1\n1:name=systemd:/\n0::/",
            f"{UNIFIED}/memory/memory.limit_in_bytes": UNLIMITED_1,
            f"{UNIFIED}/memory/docker/1/memory.limit_in_bytes": str(6 * GIB),
            f"{UNIFIED}/memory/docker/1/memory.usage_in_bytes": str(2 * GIB),
            f"{UNIFIED}/memory/docker/1/memory.stat": f"inactive_file 0\ntotal_inactive_file {GIB}",
            f"{UNIFIED}/cpu,cpuacct/docker/1/cpu.cfs_quota_us": "50000",
            f"{UNIFIED}/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000",
        },
        5 * GIB,
        0.5,
    ),
    "version 1 without limits": (
        {
            "proc/self/cgroup": "4:memory:/\n1:cpu:/",
            f"{UNIFIED}/memory/memory.limit_in_bytes": UNLIMITED_1,
            f"{UNIFIED}/cpu/cpu.cfs_quota_us": "-1",
            f"{UNIFIED}/cpu/cpu.cfs_period_us": "100000",
        },
        None,
        None,
    ),
    "both versions": (
        {
            "proc/self/cgroup": "4:memory:/\n0::/job",
            f"{UNIFIED}/memory/memory.limit_in_bytes": str(8 * GIB),
            f"{UNIFIED}/unified/job/cpu.max": "200000 100000",
        },
        8 * GIB,
        2.0,
    ),
    "more is taken than allowed": (
        {"proc/self/cgroup": "0::/", f"{UNIFIED}/memory.max": str(GIB), f"{UNIFIED}/memory.current": str(2 * GIB)},
        0,
        None,
    ),
    "nonsense": (
        {"proc/self/cgroup": "what", f"{UNIFIED}/memory.max": "-3", f"{UNIFIED}/cpu.max": "1 0"},
        None,
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_limits_of_groups(case: str, tmp_path: Path) -> None:
    files, memory, cpus = CASES[case]
    root = tree(tmp_path, **files)

    assert free_memory(root) == memory
    assert cpu_quota(root) == cpus


@pytest.mark.parametrize(("quota", "cores"), [("50000", 1), ("100000", 1), ("10000000", None)])
def test_cores_are_those_of_the_quota_rounded_up_and_of_the_machine(
    quota: str, cores: int | None, tmp_path: Path
) -> None:
    root = tree(tmp_path, **{f"{UNIFIED}/cpu.max": f"{quota} 100000"})

    assert available_cores(root) == (cores or available_cores(tmp_path / "none"))


def test_one_worker_where_the_container_has_memory_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.run.process_pool.available_cores", lambda root: 8)
    meminfo = {"proc/meminfo": f"MemAvailable: {64 * 2**20} kB"}
    of_container = {f"{UNIFIED}/memory.max": str(2 * GIB), f"{UNIFIED}/memory.current": "0"}

    assert how_many("cpu", 1, 10, tree(tmp_path / "machine", **meminfo)) == 8
    assert how_many("cpu", 1, 10, tree(tmp_path / "container", **meminfo, **of_container)) == 1
    assert how_many("cpu", 1, 10, tree(tmp_path / "larger", **meminfo, **{f"{UNIFIED}/memory.max": str(7 * GIB)})) == 2
