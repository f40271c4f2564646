"""Other people's text in one line: everything that ends a line or controls a terminal becomes an escape."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import main
from harness.system.text import LONGEST_LINE, counted, first_few, is_text, one_line, shortened


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", "plain"),
        ("d\u00f6g \u72ac \U0001f436", "d\u00f6g \u72ac \U0001f436"),
        ("a\nb", "a\\nb"),
        ("a\x1b[2J", "a\\x1b[2J"),
        ("\u2028", "\\u2028"),
        ("\udcff", "\\xff"),
    ],
)
def test_what_ends_a_line_is_an_escape(text, written):
    assert one_line(text) == written


@given(st.binary(max_size=30))
def test_any_file_name_becomes_one_line_that_can_be_printed(name):
    written = one_line(os.fsdecode(name))

    assert is_text(written) and len(written.splitlines()) <= 1
    written.encode()  # as UTF-8: no half of a pair is left


def test_the_first_few_are_named():
    assert first_few(["a", "b\n"]) == "a, b\\n"
    assert first_few(["a", "b", "c", "d"], 2) == "a, b, ..."
    assert [counted(number, "file") for number in (1, 2, 1234)] == ["1 file", "2 files", "1,234 files"]


@pytest.mark.parametrize("name", ["no\nwhere", "\x1b[31m", os.fsdecode(b"\xff")])
def test_an_error_that_quotes_such_a_name_is_one_line(name, tmp_path, capsys):
    assert main(["external", "hash", str(tmp_path / name)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_long_message_keeps_its_beginning_and_its_end():
    assert shortened("x" * LONGEST_LINE) == "x" * LONGEST_LINE
    assert shortened("a" * 5000 + "; fix it").startswith("aaaa")
    assert shortened("a" * 5000 + "; fix it").endswith("; fix it")
    assert len(shortened("a" * 10**6)) <= LONGEST_LINE + 7
