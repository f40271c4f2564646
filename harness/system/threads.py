"""Work apart from its caller: in a thread of its own, or under torch's own defaults by one thread at a time.

`in_thread`: the call stack does not say who asked. Its threads are kept: to start one for each piece of work, and to
fill its memory arena anew, costs more than many a defense does.

`torch_defaults`: a caller may have autocast on, gradients off, float64 or another device as default, and figures that
depend on it would be recorded as if they did not. Trainings seed torch's global generator, so two at once would draw
from one another's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
_working = threading.RLock()


def _forget() -> None:
    """In a forked process: it has none of its parent's threads, also not the one that holds the lock."""
    global _working
    _idle.clear()
    _working = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Inside the block no other thread is in such a block, and torch is as a new process has it; afterwards as before.

    Autocast, gradients, inference mode, the default dtype and the default device.
    """
    import torch

    with _working, ExitStack() as stack:
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield
