"""The process that others are forked from: it imports once what all of them need.

It is started as soon as a command knows that it needs processes, and imports while the command does. Where it has been
killed, it is started again. Where the system has no fork server, every process imports for itself.

multiprocessing starts it with `python -c`, which looks for modules in the current folder first: a `random.py` among
downloaded pictures would be run. So it is started with `-P`, and finds modules where this process does.

Where the process that asks it is killed, it and what it has forked end without a word: nobody is there to read it.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import spawn, util
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.errors import HarnessError
from harness.system import process_tree, scratch
from harness.system.start_folder import why_gone

_LONGEST = 40
"""Letters of a folder in which the name of a socket still fits: a system allows about 100 in all."""
_SHORT = Path("/tmp")
_TRIES = 3
_PATIENCE = 5.0
"""Seconds in which the fork server says how a process has ended."""

_starting = threading.RLock()
"""Held while a process starts: the blocks around it change what all threads of this process share."""


def context() -> BaseContext:
    """The way in which processes are started here."""
    return multiprocessing.get_context("forkserver" if _has_server() else "spawn")


def start(modules: Sequence[str]) -> None:
    """Let the fork server import these modules from now on; does nothing where it runs already. Raises HarnessError."""
    if _has_server():
        from multiprocessing import forkserver

        _check_folder()
        _place_sockets()
        multiprocessing.get_context("forkserver").set_forkserver_preload([__name__, *modules])
        with _starting, _without_current_folder(), _interrupts_held():
            forkserver.ensure_running()


@dataclass(frozen=True)
class Child:
    """A process that `launch` started.

    sentinel  is ready (`multiprocessing.connection.wait`) once the process has ended
    """

    process: BaseProcess
    sentinel: int

    @property
    def has_ended(self) -> bool:
        return bool(wait([self.sentinel], 0))

    def end(self) -> int | None:
        """Kill it and what is left below it; its exit code, None where nobody knows."""
        process_tree.end(self.process.pid or 0, not self.has_ended)
        self.process.kill()
        _wake_up()
        self.process.join(_PATIENCE)
        if self.sentinel != self.process.sentinel:
            os.close(self.sentinel)
        return self.process.exitcode


def launch(target: Callable[..., None], arguments: Sequence[Any], advice: str) -> Child:
    """Call `target(environment, *arguments)` in a new process, which calls `begin` first of all. Raises HarnessError.

    advice  what to do where the system allows no more processes
    """
    for _ in range(_TRIES):
        made = (dict(os.environ), *arguments)  # the fork server's environment may be of an earlier run
        process = context().Process(target=target, args=made, daemon=True)  # type: ignore[attr-defined]
        _check_folder()
        try:
            _wake_up()
            with _starting, _without_current_folder(), _without_main(), _interrupts_held():
                process.start()
            return Child(process, _sentinel(process))
        except (EOFError, ConnectionError, FileNotFoundError):  # the fork server was killed, or its socket removed
            _forget_server()
        except (OSError, AssertionError) as error:  # AssertionError: this is a daemonic process, of a pool say
            reason = getattr(error, "strerror", None) or error
            raise HarnessError(f"cannot start a process: {reason}; {advice}") from None
    raise HarnessError(
        f"cannot start a process: the process that others are forked from has ended {_TRIES} times; "
        "see what kills it (memory?), or set HARNESS_IN_PROCESS=1 and --workers 1"
    )


def begin(environment: Mapping[str, str]) -> None:
    """In a new process: what it starts ends with it, and does not keep the fork server alive."""
    process_tree.lead()
    sys.excepthook = sys.__excepthook__
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ.clear()
    os.environ.update(environment)
    server = _server()
    if server is not None and server._forkserver_alive_fd is not None:
        with contextlib.suppress(OSError):
            os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None


def _has_server() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods()


def _server() -> Any:
    if not _has_server():
        return None
    from multiprocessing import forkserver

    return forkserver._forkserver


def _sentinel(process: BaseProcess) -> int:
    """Ready at the end of the process, and not at that of the fork server."""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            return os.pidfd_open(process.pid or 0)
    return process.sentinel


def _check_folder() -> None:
    if reason := why_gone():
        raise HarnessError(reason)


def _wake_up() -> None:
    """A plugin may have stopped its parent."""
    server = _server()
    if server is not None and server._forkserver_pid is not None:
        with contextlib.suppress(OSError):
            os.kill(server._forkserver_pid, signal.SIGCONT)


def _forget_server() -> None:
    """Let the next process be started by a new fork server with a new socket."""
    server = _server()
    if server is None:
        return
    if server._forkserver_pid is not None:
        with contextlib.suppress(OSError):
            os.kill(server._forkserver_pid, signal.SIGKILL)
            os.waitpid(server._forkserver_pid, 0)
    if server._forkserver_alive_fd is not None:
        with contextlib.suppress(OSError):
            os.close(server._forkserver_alive_fd)
    server._forkserver_pid = server._forkserver_alive_fd = server._forkserver_address = None
    process: Any = multiprocessing.current_process()
    folder = process._config.get("tempdir")
    if folder is not None and not Path(folder).is_dir():
        process._config["tempdir"] = None
        _place_sockets()


@contextlib.contextmanager
def _without_current_folder() -> Iterator[None]:
    """Inside the block multiprocessing starts interpreters with -P, and with the folders of sys.path in their order."""
    flags: Any = util._args_from_interpreter_flags  # type: ignore[attr-defined]
    before = os.environ.get("PYTHONPATH")
    folders = [os.path.abspath(folder) for folder in sys.path if isinstance(folder, str)]
    util._args_from_interpreter_flags = lambda: [*flags(), "-P"]  # type: ignore[attr-defined]
    os.environ["PYTHONPATH"] = os.pathsep.join(folder for folder in folders if os.pathsep not in folder)
    try:
        yield
    finally:
        util._args_from_interpreter_flags = flags  # type: ignore[attr-defined]
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Inside the block Ctrl-C waits; a fork server that starts there never gets it: it would print where it was."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # which would let Ctrl-C through again, once it has started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Inside the block a process that starts does not run the calling script again: it may lie on stdin, or call us."""
    preparation: Any = spawn.get_preparation_data

    def without_main(name: str) -> dict[str, Any]:
        return {key: value for key, value in preparation(name).items() if not key.startswith("init_main")}

    spawn.get_preparation_data = without_main
    try:
        yield
    finally:
        spawn.get_preparation_data = preparation


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


def _leave_to_parent() -> None:
    """In a process that was forked from this one: the fork server is its parent's, so it starts one of its own."""
    global _starting
    _starting = threading.RLock()
    server = _server() if "multiprocessing.forkserver" in sys.modules else None
    if server is None:
        return
    if server._forkserver_alive_fd is not None:
        with contextlib.suppress(OSError):
            os.close(server._forkserver_alive_fd)
    server._forkserver_pid = server._forkserver_alive_fd = server._forkserver_address = None
    server._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _say_unless_alone(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """In the fork server, and in a process that it has forked until that begins: what stands on stderr of an error.

    These kinds say that who asked for a process was killed before it had said for what.
    """
    if not issubclass(kind, EOFError | ConnectionError | pickle.UnpicklingError):
        sys.__excepthook__(kind, error, trace)


if sys.orig_argv[-1].startswith("from multiprocessing.forkserver import main"):
    sys.excepthook = _say_unless_alone
