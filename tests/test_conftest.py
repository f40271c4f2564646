"""How the tests are distributed over processes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest

ALL = pytest.Config.ArgsSource.TESTPATHS
NAMED = pytest.Config.ArgsSource.ARGS
SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def configured(source: Any, **options: Any) -> SimpleNamespace:
    """The options after the hook, as pytest-xdist reads them."""
    option = SimpleNamespace(**{"numprocesses": None, "tx": [], "dist": "no", **options})
    conftest.pytest_cmdline_main(SimpleNamespace(option=option, args_source=source))  # type: ignore[arg-type]
    return option


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


@pytest.mark.usefixtures("controller")
def test_all_tests_are_distributed_and_named_ones_run_in_this_process() -> None:
    assert vars(configured(ALL)) == {"numprocesses": "auto", "tx": [], "dist": "loadgroup"}
    assert vars(configured(NAMED)) == {"numprocesses": None, "tx": [], "dist": "no"}


@pytest.mark.usefixtures("controller")
def test_the_number_of_workers_and_the_distribution_can_be_chosen() -> None:
    assert configured(ALL, numprocesses=0).numprocesses == 0
    assert configured(NAMED, numprocesses=3).dist == "loadgroup"
    assert configured(ALL, numprocesses=3, dist="worksteal").dist == "worksteal"


@pytest.mark.usefixtures("controller")
def test_pytest_runs_without_xdist() -> None:
    option = SimpleNamespace()

    conftest.pytest_cmdline_main(SimpleNamespace(option=option, args_source=ALL))  # type: ignore[arg-type]

    assert vars(option) == {}


def test_a_worker_starts_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")

    assert configured(ALL).numprocesses is None


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        (
            {
                SIBLINGS.format(0): "0,2",
                SIBLINGS.format(2): "0,2",
                SIBLINGS.format(1): "1,3",
                SIBLINGS.format(3): "1,3",
            },
            2,
        ),
        ({}, 4),
        ({"/sys/fs/cgroup/cpu.max": "max 100000"}, 4),
        ({"/sys/fs/cgroup/cpu.max": "250000 100000"}, 3),
        ({"/sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
    ],
    ids=["two threads each", "nothing known", "no quota", "two and a half", "half a core"],
)
def test_workers_are_counted_by_physical_cores_and_quota(
    files: dict[str, str], cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conftest.os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(conftest, "_read", lambda file, default: files.get(file, default))

    assert conftest.physical_cores() == cores
