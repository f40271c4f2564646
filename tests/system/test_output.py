"""The width of tables, and messages whose reader has gone."""

from __future__ import annotations

import io
import os
import sys

import pytest

from harness.system import output


@pytest.mark.parametrize(
    ("columns", "width"), [("0", 80), ("-3", 80), ("wide", 80), ("", 80), ("1", 20), ("19", 20), ("120", 120)]
)
def test_a_width_that_is_none_is_not_used(columns: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    def no_terminal(_: int) -> None:
        raise OSError

    monkeypatch.setattr(os, "get_terminal_size", no_terminal)

    assert output.console().width == width


def test_a_message_that_nobody_reads_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = output._Unfailing(os.fdopen(writing, "w"))

    stream.write("gone\n")
    stream.flush()

    assert stream.fileno() == writing
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), writing)
    stream.close()


def test_a_result_that_cannot_be_written_is_an_error_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(output, "_results", stream)
        output.results().write("result\n")

        with pytest.raises(BrokenPipeError, match="stdout"):
            output.finish_results()
        output.finish_results()
