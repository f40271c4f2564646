"""A command runs in a process of its own, so that nothing in it can end it with the look of success.

The process that was started waits, and passes signals on. The other one does the work and reports its exit code; where
it ends without a report (`os._exit(0)` in a plugin, a crash in a library, the OOM killer), the command has failed. It
is forked before anything large is imported, which takes milliseconds and no memory.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import mmap
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

from harness.system import process_tree
from harness.system.messages import log
from harness.system.output import keep_results_apart

IN_PROCESS = "HARNESS_IN_PROCESS"
"""Set to anything but nothing: no process is started for the command, nor for one worker. For debuggers."""
FAILED = 1
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
_AGAIN = 3.0  # seconds in which a second signal is the same one: a terminal sends it to both processes
_PATIENCE = 0.5  # seconds in which processes that the work has left may end by themselves
_STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_note: mmap.mmap | None = None


class Interrupted(KeyboardInterrupt):
    """Ended from outside by Ctrl-C, SIGTERM or SIGHUP.

    code  the exit code, 128 and the signal's number
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number
        self.name = signal.Signals(number).name


def in_process() -> bool:
    """Whether commands are to run in this process: asked for, or the system cannot fork."""
    return bool(os.environ.get(IN_PROCESS)) or not hasattr(os, "fork")


def is_supervised() -> bool:
    """Whether this process does a command for another one that watches it."""
    return _note is not None


def supervised(command: Callable[[], int], again: str) -> int:
    """The exit code of the command, done in another process; 1 and a line on stderr where that ended without one.

    again  what the same command does when it is started again, for the line
    """
    global _note
    if in_process():
        with _stopped_by_signals():
            return command()
    sys.stdout.flush()
    sys.stderr.flush()
    _note = mmap.mmap(-1, mmap.PAGESIZE)
    parent, (reading, writing), (lifeline, held) = os.getpid(), os.pipe(), os.pipe()
    os.set_blocking(reading, False)
    process_tree.adopt_orphans()
    with _passed_on() as signals:
        signals.child = os.fork()
        if not signals.child:
            os.close(reading)
            os.close(held)
            _end_with(parent, lifeline)
            _work(command, writing)
        os.close(writing)
        os.close(lifeline)
        signals.catch_up()
        status = _wait_for(signals.child)
        process_tree.end_children(_PATIENCE)
    report = b""
    with contextlib.suppress(BlockingIOError):
        report = os.read(reading, 1)
    if report:
        return report[0]
    return _explain(os.waitstatus_to_exitcode(status), signals.last, again)


def _wait_for(child: int) -> int:
    """Its exit status. Others that end meanwhile are orphans of the work."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            return status


def _work(command: Callable[[], int], writing: int) -> NoReturn:
    """Do the command, report its exit code and end, whatever threads and exit handlers a plugin has left."""
    code = FAILED
    try:
        keep_results_apart()
        with _stopped_by_signals():
            code = command()
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):  # the process that was started is gone
        os.write(writing, bytes([code]))
    try:
        atexit._run_exitfuncs()
    finally:
        os._exit(code)


@contextlib.contextmanager
def noted(what: str) -> Iterator[None]:
    """Should the process end inside the block, the message names this."""
    before = _read_note()
    _write_note(what)
    try:
        yield
    finally:
        _write_note(before)


def _write_note(text: str) -> None:
    if _note is not None:
        _note.seek(0)
        _note.write(text.encode(errors="replace")[: mmap.PAGESIZE - 1] + b"\0")


def _read_note() -> str:
    return "" if _note is None else _note[:].partition(b"\0")[0].decode(errors="replace")


@dataclass
class _Signals:
    """The child that signals are passed on to, and the last of them; those that came before there was a child wait.

    In the child itself (0) they end it: it has not begun its work yet, or has reported its end.
    """

    child: int | None = None
    last: int | None = None
    _waiting: list[int] = field(default_factory=list)

    def receive(self, number: int, _: FrameType | None) -> None:
        if self.child == 0:
            os._exit(128 + number)
        self.last = number
        self._waiting.append(number)
        if self.child is not None:
            self.catch_up()

    def catch_up(self) -> None:
        while self._waiting and self.child:  # never 0, which stands for the whole process group
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child, self._waiting.pop())


@contextlib.contextmanager
def _passed_on() -> Iterator[_Signals]:
    signals = _Signals()
    with _handled(signals.receive):
        yield signals


def _explain(code: int, sent: int | None, again: str) -> int:
    """The exit code for a process that ended without a report, said in a line; its scratch is removed."""
    import tempfile

    from harness.system import scratch

    with contextlib.suppress(Exception):
        scratch.remove_abandoned(Path(tempfile.gettempdir()))
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # a progress bar has hidden the cursor
    if sent is not None:
        stopped = Interrupted(sent)
        log.error("ended by %s; the same command %s", stopped.name, again)
        return stopped.code
    log.error("%s %s; the same command %s", _read_note() or "something", ending(code), again)
    return FAILED


def ending(code: int | None) -> str:
    """How a process ended that did not report: `ended the process (exit code 0)`."""
    if code is None or code >= 0:
        return f"ended the process (exit code {code})"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    if -code == getattr(signal, "SIGKILL", 9):
        return f"was killed (signal {-code}, {name}); out of memory?"
    return f"crashed (signal {-code}, {name})"


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Inside the block a signal that ends a process raises `Interrupted`; again within seconds it does not."""
    last = -_AGAIN

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal last
        if time.monotonic() - last >= _AGAIN:
            last = time.monotonic()
            raise Interrupted(number)

    with _handled(stop):
        yield


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Inside the block the handler gets the signals that end a process, but those that the caller ignores (nohup)."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _STOPS}
        before = {number: found for number, found in before.items() if found not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, found in before.items():
            signal.signal(number, found)


def _end_with(parent: int, lifeline: int) -> None:
    """Let this process be killed when its parent ends."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
            if os.getppid() != parent:  # it ended before
                os._exit(FAILED)
            return

    def wait_for_end() -> None:
        os.read(lifeline, 1)  # nothing comes, until the parent's end is closed
        os._exit(FAILED)

    threading.Thread(target=wait_for_end, daemon=True).start()
