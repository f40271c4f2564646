"""Work in a thread of its own: its call stack does not say who asked for it.

The threads are kept: to start one for each piece of work, and to fill its memory arena anew, costs more than many a
defense does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


def in_thread(work: Callable[[], Result]) -> Result:
    """What work() returns or raises, done in another thread while this one waits. May be nested.

    Settings of a thread (gradients, autocast) are the defaults there, not the caller's. After an interrupt the work
    goes on until its end; nobody gets its result.
    """
    thread = _idle.pop() if _idle else _Thread()
    result, error = thread.do(work)
    _idle.append(thread)  # not reached after an interrupt: it is still at work
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]


class _Thread:
    def __init__(self) -> None:
        self._asked: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self._done: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def do(self, work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        self._asked.put(work)
        return self._done.get()

    def _serve(self) -> None:
        while True:
            work = self._asked.get()
            try:
                outcome: tuple[Any, BaseException | None] = work(), None
            except BaseException as error:  # raised again by the caller
                outcome = None, error
            self._done.put(outcome)
            del work, outcome  # an idle thread holds no images


_idle: list[_Thread] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # a forked process has none of its parent's threads
