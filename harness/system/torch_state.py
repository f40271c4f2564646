"""Work under torch's own defaults, by one thread of a process at a time.

A caller may have autocast on, gradients off, float64 or another device as default: figures that depend on it would be
recorded as if they did not. Trainings seed torch's global generator, so two at once would draw from one another's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_working = threading.RLock()


def _renew() -> None:
    global _working
    _working = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)  # the thread that held it is not in the forked process


@contextmanager
def defaults() -> Iterator[None]:
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
