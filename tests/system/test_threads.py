"""Work in another thread: results, errors, nesting, forks, and a call stack without the caller."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from harness.system import threads
from harness.system.threads import in_thread


def names_on_the_stack() -> set[str]:
    frame, names = sys._getframe(), set()
    while frame is not None:
        names.add(frame.f_code.co_name)
        frame = frame.f_back  # type: ignore[assignment]
    return names


def test_the_call_stack_does_not_name_the_caller() -> None:
    here = names_on_the_stack()
    there = in_thread(names_on_the_stack)

    assert "test_the_call_stack_does_not_name_the_caller" in here
    assert not any(name.startswith("test_") or "pytest" in name for name in there)


def test_errors_reach_the_caller() -> None:
    def fails() -> None:
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        in_thread(fails)
    assert in_thread(lambda: 3) == 3


def test_work_may_be_nested() -> None:
    assert in_thread(lambda: 1 + in_thread(lambda: 1 + in_thread(lambda: 1))) == 3


def test_threads_are_kept() -> None:
    in_thread(int)
    before = threading.active_count()
    for _ in range(20):
        in_thread(int)

    assert threading.active_count() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the fork of a process with threads
def test_a_forked_process_starts_threads_of_its_own() -> None:
    in_thread(int)
    assert threads._idle

    child = os.fork()
    if child == 0:
        os._exit(in_thread(lambda: 7))

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
