"""Calls of foreign plugins leave the process as it was, and a failure names the plugin, its file and the line.

What a plugin does to the process that calls it (another working folder, umask, environment, signal handler or standard
stream, `sys.exit`) would reach the plugins after it. What ends the process at once (`os._exit`, a crash) cannot be
caught here: that is for workers (`harness.run.process_pool`) and `harness.system.supervisor`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, Inapplicable, NotConverged, Skipped
from harness.system.supervisor import noted
from harness.system.text import one_line

if TYPE_CHECKING:
    from harness.registry.entry import Entry

_SAID = (HarnessError, Inapplicable, NotConverged, Skipped)
"""Errors whose message says it all."""
_PLUGIN = "__harness_plugin__"
_BUILT_IN = "harness.plugins."
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIGUSR1", "SIGUSR2", "SIGSEGV", "SIGABRT")
_LONGEST = 300


class PluginEnded(Exception):  # noqa: N818  (what it did, not an error)
    """A plugin tried to end the process: `sys.exit`, or an exception that is none of Exception."""


class Guarded:
    """A foreign plugin's function, called in a process that stays as it is."""

    def __init__(self, entry: Entry, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._entry, self._function = entry, function

    def __call__(self, *arguments: Any, **knobs: Any) -> Any:
        with guarded(self._entry):
            return self._function(*arguments, **knobs)


@contextlib.contextmanager
def guarded(entry: Entry) -> Iterator[None]:
    """Inside the block code of this plugin runs. What it raises names it (`failure`); the process stays as it was."""
    before, this = _State.now(), os.getpid()
    try:
        with noted(f"{entry.noun} {entry.name!r}"), contextlib.redirect_stdout(sys.stderr):
            try:
                yield
            finally:
                if os.getpid() != this:  # the plugin has forked, and this is the copy: the work goes on in one process
                    os._exit(0)
    except (KeyboardInterrupt, *_SAID):
        raise
    except Exception as error:
        _mark(error, entry)
        raise
    except BaseException as error:
        said = f"sys.exit({error.code!r})" if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
        ended = PluginEnded(f"ended with {said}").with_traceback(error.__traceback__)
        _mark(ended, entry)
        raise ended from None
    finally:
        before.restore()


def _mark(error: BaseException, entry: Entry) -> None:
    with contextlib.suppress(Exception):  # an exception may refuse attributes
        if not hasattr(error, _PLUGIN):
            setattr(error, _PLUGIN, entry)


def failure(error: BaseException, of: Entry | None = None) -> str:
    """One line: whose error it is, what it says, and the plugin's file and line where it happened.

    of  the plugin that the caller names already
    """
    entry = getattr(error, _PLUGIN, None)
    text = _text(error)
    if not isinstance(error, (*_SAID, PluginEnded)):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, _SAID):
        return text
    who = "" if entry is None else f"{entry.noun} {entry.name!r}{' ' if isinstance(error, PluginEnded) else ': '}"
    if of is not None and entry is not None and (of.section, of.name) == (entry.section, entry.name):
        who = ""
    place = _place(error.__traceback__, entry)
    return f"{who}{text}{f' ({place})' if place else ''}"


def _text(error: BaseException) -> str:
    try:
        text = one_line(" ".join(str(error).split()))
    except Exception:  # its own __str__ fails
        text = "without a message that can be shown"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _place(trace: TracebackType | None, entry: Entry | None) -> str | None:
    """File and line of the innermost call that is code of the plugin, or of a built-in one, or of any."""
    found = last = None
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        file = Path(trace.tb_frame.f_code.co_filename)
        last = f"{file.name}, line {trace.tb_lineno}"
        if entry is not None and f"{module}.".startswith(f"{entry.top}."):
            folders = len(module.removeprefix(f"{entry.package}.").split(".")) if entry.package else 1
            found = f"{'/'.join(file.parts[-folders:])}, line {trace.tb_lineno}"
        elif entry is None and module.startswith(_BUILT_IN):
            found = f"{'/'.join(file.parts[-2:])}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return found or last


@dataclass(frozen=True)
class _State:
    """What a plugin may change of the process that calls it."""

    folder: str | None
    mask: int
    environment: Mapping[str, str]
    handlers: Mapping[int, Any]
    timer: tuple[float, float] | None
    streams: tuple[Any, Any]
    descriptors: Mapping[int, int] = field(default_factory=dict)
    torch: tuple[Any, ...] | None = None

    @classmethod
    def now(cls) -> _State:
        handlers = {}
        if threading.current_thread() is threading.main_thread():
            numbers = (getattr(signal, name) for name in _SIGNALS if hasattr(signal, name))
            handlers = {number: signal.getsignal(number) for number in numbers}
        return cls(
            _folder(),
            _mask(),
            dict(os.environ),
            handlers,
            signal.getitimer(signal.ITIMER_REAL) if hasattr(signal, "getitimer") else None,
            (sys.stdout, sys.stderr),
            _copies(),
            _torch_settings(),
        )

    def restore(self) -> None:
        for descriptor, copy in self.descriptors.items():
            if _identity(descriptor) != _identity(copy):
                os.dup2(copy, descriptor)
            os.close(copy)
        sys.stdout, sys.stderr = self.streams
        if self.folder is not None and _folder() != self.folder:
            with contextlib.suppress(OSError):
                os.chdir(self.folder)
        if _mask() != self.mask:
            os.umask(self.mask)
        if dict(os.environ) != self.environment:
            for name in os.environ.keys() - self.environment.keys():
                del os.environ[name]
            os.environ.update(self.environment)
        for number, handler in self.handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        if self.timer == (0.0, 0.0) and signal.getitimer(signal.ITIMER_REAL) != self.timer:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if self.torch is not None and _torch_settings() != self.torch:
            import torch

            kind, threads, gradients = self.torch
            torch.set_default_dtype(kind)
            torch.set_num_threads(threads)
            torch.set_grad_enabled(gradients)


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _mask() -> int:
    mask = os.umask(0o077)  # the only way to read it; another thread's file is private for that moment
    os.umask(mask)
    return mask


def _copies() -> dict[int, int]:
    found = {}
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            found[descriptor] = os.dup(descriptor)
    return found


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _torch_settings() -> tuple[Any, ...] | None:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_num_threads"):  # it is being imported
        return None
    return torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
