"""Photographs in small for many test files, and how the tests run: in parallel, one thread each.

`pytest` alone distributes the tests over one worker per physical core (pytest-xdist). Files and folders given by name
run in this process, where a debugger reaches them; `-n 0` and `-p no:xdist` do so too, `-n auto` distributes those.
"""

from __future__ import annotations

import os

# Before torch, BLAS and OpenMP are loaded; workers and subprocesses inherit it. More threads than cores are slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import settings

from harness.train import memo

settings.register_profile("steady", derandomize=True, deadline=None, database=None)
settings.load_profile("steady")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Distribute where no file, folder or number of workers is named. Before pytest-xdist reads its options."""
    option = config.option
    if "PYTEST_XDIST_WORKER" in os.environ or not hasattr(option, "numprocesses"):  # a worker; no pytest-xdist here
        return
    if option.numprocesses is None and not option.tx and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        option.numprocesses = "auto"
    if option.numprocesses and option.dist == "no":
        option.dist = "loadgroup"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """What `-n auto` means; PYTEST_XDIST_AUTO_NUM_WORKERS says otherwise."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else min(physical_cores(), 16)


def physical_cores() -> int:
    """The cores that this process may use: two threads of one core count once, and a container's quota counts."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    cores = len({_read(siblings.format(number), str(number)) for number in usable})
    quota, _, period = _read("/sys/fs/cgroup/cpu.max", "max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cores = min(cores, -(-int(quota) // int(period)))
    return max(cores, 1)


def _read(file: str, default: str) -> str:
    try:
        return Path(file).read_text().strip()
    except OSError:
        return default


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker: the tests of a file that share a fixture stay together, so that none is made twice; slow first."""
    if not hasattr(config, "workerinput"):
        return
    shared = {item.path for item in items if _shares_a_fixture(item)}
    for item in items:
        if item.path in shared and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def _shares_a_fixture(item: pytest.Item) -> bool:
    """Whether it uses a fixture that is made once for several tests, other than the photographs."""
    definitions = item._fixtureinfo.name2fixturedefs.values()  # type: ignore[attr-defined]
    return any(each[-1].scope in ("module", "class") for each in definitions)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """One thread, whatever the test before chose."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """`harness run` works in this process, where a test can reach it, unless the test asks for workers."""
    monkeypatch.setenv("HARNESS_WORKERS", "1")


@pytest.fixture(autouse=True)
def forget_trained_networks() -> None:
    """No test uses the networks that another test's attacks trained."""
    memo.forget()


@pytest.fixture(scope="session")
def photographs() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(24, 3, 64, 64) uint8, read-only: eight crops of each of three photographs, which are the three classes."""
    crops = [
        getattr(skimage.data, name)()[top : top + 64, left : left + 64].transpose(2, 0, 1)
        for name in ("astronaut", "chelsea", "coffee")
        for top in (20, 120)
        for left in (60, 140, 220, 300)
    ]
    stacked = np.stack(crops)
    stacked.flags.writeable = False
    return stacked


@pytest.fixture(scope="session")
def classes() -> np.ndarray[Any, np.dtype[np.int64]]:
    """(24,) int64: which photograph each crop is from."""
    return np.repeat(np.arange(3), 8)


@pytest.fixture
def images(photographs: np.ndarray[Any, np.dtype[np.uint8]]) -> torch.Tensor:
    """(24, 3, 64, 64) float32 in [0, 1]; a fresh copy for every test."""
    return torch.from_numpy(photographs.astype(np.float32) / 255)
