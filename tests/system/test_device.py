"""Which device and how many threads, and how the C library is asked to keep freed memory."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness.errors import HarnessError
from harness.system.device import (
    available_cores,
    choose_device,
    device_type,
    keep_freed_memory,
    low_precision,
    multiplies_bfloat16,
)

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # as in glibc's malloc.h


# ---- freed memory


def test_glibc_is_asked_to_keep_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep 1 GiB, grow by 128 MiB, and map no block below 32 MiB, the most that glibc accepts."""
    calls: dict[int, int] = {}
    library = SimpleNamespace(mallopt=lambda parameter, value: calls.update({parameter: value}))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)

    keep_freed_memory()

    assert calls == {M_MMAP_THRESHOLD: 32 * 2**20, M_TRIM_THRESHOLD: 2**30, M_TOP_PAD: 128 * 2**20}


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_glibc_takes_every_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    """mallopt returns 1 for a value that it takes, 0 for one that it refuses."""
    library, answers = ctypes.CDLL(None), []
    if not hasattr(library, "mallopt"):
        pytest.skip("another C library")
    real = library.mallopt
    recorded = SimpleNamespace(mallopt=lambda *given: answers.append(real(*given)))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: recorded)

    keep_freed_memory()

    assert answers == [1, 1, 1]


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_no_library_is_opened(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", refuse)

    keep_freed_memory()


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """musl has none."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())

    keep_freed_memory()


# ---- devices and cores


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda answer=available: answer)
        assert choose_device("auto") == device


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("gpu", "device 'gpu' is unknown; use auto, cpu or cuda"),
        ("meta", "device 'meta' is not supported; use auto, cpu or cuda"),
        ("cuda:2", "device 'cuda:2' asked for, but there are 2 GPUs"),
    ],
)
def test_a_device_that_does_not_exist_is_refused(wanted: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    with pytest.raises(HarnessError, match=message):
        choose_device(wanted)
    assert choose_device("cuda:1") == "cuda:1" and device_type("cuda:1") == "cuda"


def test_cuda_without_a_gpu_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(HarnessError, match="torch sees no CUDA GPU; use --device cpu"):
        choose_device("cuda")


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert available_cores() == 2

    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_cores() == 6


def test_bfloat16_is_known_without_torch_as_torch_knows_it() -> None:
    assert multiplies_bfloat16("cpu") is (low_precision("cpu") is not None)


@pytest.mark.parametrize(("flags", "has"), [("fpu avx2 fma", False), ("fpu avx512f avx512_bf16 amx_bf16", True)])
def test_bfloat16_is_read_off_the_processor(
    flags: str, has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")

    assert multiplies_bfloat16("cpu", tmp_path) is has


def test_without_a_driver_the_device_is_chosen_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delitem(sys.modules, "torch")

    assert choose_device("auto") == "cpu"
