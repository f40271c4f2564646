"""The process that others are forked from: it imports once what all of them need.

It is started as soon as a command knows that it needs processes, and imports while the command does. Where the system
has no fork server, every process imports for itself.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import tempfile
from collections.abc import Sequence
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from harness.system import scratch

_LONGEST = 40
"""Letters of a folder in which the name of a socket still fits: a system allows about 100 in all."""
_SHORT = Path("/tmp")


def context() -> BaseContext:
    """The way in which processes are started here."""
    return multiprocessing.get_context("forkserver" if _has_server() else "spawn")


def start(modules: Sequence[str]) -> None:
    """Let the fork server import these modules from now on; does nothing where it runs already. Raises HarnessError."""
    if _has_server():
        from multiprocessing import forkserver

        _place_sockets()
        multiprocessing.get_context("forkserver").set_forkserver_preload(list(modules))
        forkserver.ensure_running()


def _has_server() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods()


def _place_sockets() -> None:
    """Let multiprocessing keep its sockets in scratch that is removed, also after a kill, and whose name is short."""
    process: Any = multiprocessing.current_process()
    if process._config.get("tempdir") is not None:
        return
    is_long = len(tempfile.gettempdir()) > _LONGEST and os.access(_SHORT, os.W_OK)
    held = contextlib.ExitStack()
    folder = scratch.join_folder(scratch.new_name(), held, _SHORT if is_long else None)
    process._config["tempdir"] = str(folder)
    atexit.register(scratch.leave, folder, held)
