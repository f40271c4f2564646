"""A process ends with everything below it: children that a plugin forked, programs that it left running.

Orphans below a process that has called `lead` become its own children (Linux), so that they are found whatever session
they are in. Elsewhere those of its process group are ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_ADOPTS_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
_PROCESSES = Path("/proc")
_PAUSE = 0.005
_LONGEST = 2.0
"""Seconds after which a process that cannot be killed (it waits for a disk) is left."""


def lead() -> None:
    """Give this process a session of its own, and the orphans of what it starts."""
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):  # it leads one
            os.setsid()
    adopt_orphans()


def adopt_orphans() -> None:
    """Let processes below this one whose parent ends become its children. Linux alone."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_ADOPTS_ORPHANS, 1, 0, 0, 0)


def end(leader: int, is_alive: bool) -> None:
    """Kill a process that has called `lead`, and what is left below it and in its session.

    is_alive  whether the leader has not ended: its number may be another process's by now
    """
    if not hasattr(os, "killpg"):
        return
    if is_alive:
        _send(leader, signal.SIGSTOP)  # it starts nothing meanwhile
    until = time.monotonic() + _LONGEST
    while left := below(leader) | _of_session(leader):
        for process in left:
            _send(process, signal.SIGKILL)
        if time.monotonic() > until:
            break
        time.sleep(_PAUSE)
    if is_alive:
        if not _PROCESSES.is_dir():
            with contextlib.suppress(OSError):
                os.killpg(leader, signal.SIGKILL)
        _send(leader, signal.SIGKILL)


def end_children(patience: float) -> None:
    """Kill what is left below this process, which has called `adopt_orphans`.

    patience  seconds in which those of its own session (of multiprocessing, say) may end by themselves
    """
    own, begin = os.getsid(0), time.monotonic()
    while True:
        _collect()
        rows = _rows()
        left = below(os.getpid(), rows)
        waited = time.monotonic() - begin
        if not left or waited > patience + _LONGEST:
            return
        for process in left:
            if waited > patience or rows[process].session != own:
                _send(process, signal.SIGKILL)
        time.sleep(_PAUSE)


def _collect() -> None:
    """Take note of children that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _send(process: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(process, number)


@dataclass(frozen=True)
class _Row:
    parent: int
    session: int


def _rows() -> dict[int, _Row]:
    """The processes of this machine that have not ended; none where the system does not list them."""
    rows = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(_PROCESSES):
            if name.isdecimal():
                with contextlib.suppress(OSError, ValueError):
                    text = (_PROCESSES / name / "stat").read_bytes()
                    state, parent, _, session = text.rpartition(b")")[2].split()[:4]  # the name before may hold ")"
                    if state not in (b"Z", b"X"):
                        rows[int(name)] = _Row(int(parent), int(session))
    return rows


def below(top: int, rows: dict[int, _Row] | None = None) -> set[int]:
    """The numbers of the processes that this one has started, and those they have; none where they cannot be listed."""
    rows = _rows() if rows is None else rows
    found: set[int] = set()
    level = {top}
    while level:
        level = {process for process, row in rows.items() if row.parent in level} - found
        found |= level
    return found - {top}


def _of_session(leader: int) -> set[int]:
    return {process for process, row in _rows().items() if row.session == leader} - {leader}
