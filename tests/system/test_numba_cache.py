"""Compiled loops work where nothing may be written, and in threads that need them at once."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

import harness.images
from harness.system import numba_cache
from tests.helpers.paths import ROOT

numba = pytest.importorskip("numba")
caching = importlib.import_module("numba.core.caching")


def double(x: int) -> int:
    return 2 * x


@pytest.fixture
def no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba finds no place for its cache, as on a read-only disk."""
    for found in vars(caching).values():
        if isinstance(found, type) and hasattr(found, "from_function") and found.__name__.endswith("Locator"):
            monkeypatch.setattr(found, "from_function", classmethod(lambda *_, **__: None))


@pytest.mark.usefixtures("no_folder")
def test_a_function_is_compiled_without_a_cache_where_no_folder_can_be_written() -> None:
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(double)

    with numba_cache.importing():
        compiled = numba.njit(cache=True)(double)

    assert compiled(21) == 42


@pytest.mark.usefixtures("no_folder")
def test_the_loops_of_the_harness_are_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "harness.images.numba_loops", raising=False)
    monkeypatch.delattr(harness.images, "numba_loops", raising=False)

    assert callable(importlib.import_module("harness.images.cpu").loops.__wrapped__().fill)


def test_a_cache_that_cannot_be_read_or_written_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.FunctionCache, "save_overload", full)
    monkeypatch.setattr(caching.FunctionCache, "load_overload", full)

    with numba_cache.importing():
        compiled = numba.njit(cache=True)(double)

    assert compiled(21) == 42


# ---- threads ---------------------------------------------------------------------------------------------------------

AT_ONCE = """
import sys, threading
import torch
from harness.images import cpu
from harness.plugins.evaluators import compiled

sys.setswitchinterval(1e-6)
loads = [cpu.loops.__wrapped__, compiled._load.__wrapped__] * 4
start, found, images = threading.Barrier(len(loads)), [], torch.rand(1, 3, 16, 16)

def work(load):
    start.wait()
    found.append(load() is not None)

assert "numba" not in sys.modules
threads = [threading.Thread(target=work, args=[load]) for load in loads]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
from numba.core import dispatcher
print(found.count(True), dispatcher.Dispatcher.enable_caching.__qualname__)
"""


def test_threads_of_a_fresh_process_may_all_need_compiled_loops_at_once() -> None:
    """All get them, and Numba's own way to cache is back in its place."""
    done = subprocess.run([sys.executable, "-c", AT_ONCE], cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert done.stdout == "8 Dispatcher.enable_caching\n", done.stderr


def test_one_thread_imports_at_a_time_and_may_nest() -> None:
    inside = threading.Event()

    def second() -> None:
        with numba_cache.importing():
            inside.set()

    with numba_cache.importing(), numba_cache.importing():
        other = threading.Thread(target=second)
        other.start()
        assert not inside.wait(0.3)
    other.join(10)

    assert inside.is_set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking beside threads
def test_a_process_forked_during_an_import_can_import_itself() -> None:
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with numba_cache.importing():
            holding.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(10)
    child = os.fork()
    if not child:
        free = numba_cache._locks[0].acquire(timeout=5)
        os._exit(0 if free else 1)
    _, status = os.waitpid(child, 0)
    done.set()
    holder.join(10)

    assert os.waitstatus_to_exitcode(status) == 0


def test_without_compilation_the_loops_count_as_missing() -> None:
    """Loops that Python runs pixel by pixel would take minutes."""
    imports = "from harness.images import cpu; from harness.plugins.evaluators import compiled"
    code = f"{imports}; print(cpu.loops(), compiled._load())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)

    assert done.stdout == "None None\n", done.stderr
