"""Where results and messages are written: the result stays whole whatever plugins print, and messages never fail."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_NARROWEST = 20
_results: TextIO | None = None


def results() -> TextIO:
    """The stream of results: what the caller called stdout, also where `keep_results_apart` took it from the rest."""
    return _results if _results is not None else sys.stdout


def console(stderr: bool = False) -> Console:
    """A rich console on the stream of results, or on stderr. A COLUMNS that is no width is not used."""
    from rich.console import Console

    columns = os.environ.get("COLUMNS", "")
    width = None
    if columns and not (columns.isdecimal() and int(columns) >= _NARROWEST):
        width = _NARROWEST if columns.isdecimal() and int(columns) else _width_of_terminal()
    return Console(file=None if stderr else results(), stderr=stderr, width=width)


def _width_of_terminal() -> int:
    for descriptor in (2, 1, 0):
        with contextlib.suppress(OSError, ValueError):
            return os.get_terminal_size(descriptor).columns or 80
    return 80


def open_standard_streams() -> None:
    """Open what the caller closed (`>&-`) on nothing, before another file takes its number."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
        if getattr(sys, name) is None:
            stream = open(descriptor, "r" if name == "stdin" else "w", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    for written in (sys.stdout, sys.stderr):
        if isinstance(written, io.TextIOWrapper):
            written.reconfigure(errors="backslashreplace")  # a locale without the character
    sys.stderr = _Unfailing(sys.stderr)


class _Unfailing:
    """A stream whose reader may have gone: what cannot be written is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def keep_results_apart() -> None:
    """From now on only `results()` writes to stdout; what plugins and libraries print goes to stderr."""
    global _results
    sys.stdout.flush()
    stream = sys.stdout
    kept = os.dup(1)
    _results = open(kept, "w", encoding=stream.encoding, errors=stream.errors)  # noqa: SIM115
    os.dup2(2, 1)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(line_buffering=True)


def finish_results() -> None:
    """Write out what is buffered. Raises OSError, BrokenPipeError where the reader has gone, and drops the rest."""
    stream = results()
    try:
        stream.flush()
    except OSError as error:
        error.filename = error.filename or "stdout"
        with contextlib.suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())  # or Python tries again at the exit
            os.close(nothing)
        raise
