"""harness.system.tables: CSV files as spreadsheets write them."""

import os
import tracemalloc

import pytest

from harness.errors import HarnessError
from harness.system import tables
from harness.system.tables import number_in, read_csv

ROWS = [["file", "a", "b"], ["x.png", "0.5", "1e-3"]]


@pytest.mark.parametrize(
    "data",
    [
        b"file,a,b\nx.png,0.5,1e-3\n",
        b"file,a,b\r\nx.png,0.5,1e-3",
        b"file,a,b\rx.png,0.5,1e-3\r",
        b"\xef\xbb\xbffile,a,b\n\nx.png,0.5,1e-3\n",
        b"file;a;b\r\nx.png;0.5;1e-3\r\n",
        b'"file","a","b"\n"x.png","0.5","1e-3"\n',
    ],
)
def test_line_ends_marks_and_separators_of_any_system_are_read(tmp_path, data):
    (tmp_path / "s.csv").write_bytes(data)
    assert list(read_csv(tmp_path / "s.csv")) == ROWS


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"file,a\nx,1\ny\n", "line 3: 1 cells, and the head has 2"),
        (b"file,a\n" + b"x" * 200_000 + b",1\n", "a cell of more than 131,072 letters"),
        (b'file,a\n"x,1\n', "line 2"),
        (b"file,a\n" + b"x,1\n" * 20_000 + b"\xe9", "byte 80,008 is not UTF-8"),
        (b"\xef\xbb\xbffile,a\n\xe9", "byte 11 is not UTF-8"),
        (b"file,a\nx,\x001\n", "holds a NUL"),
        ("file,é".encode("latin-1"), "byte 6 is not UTF-8"),
        ("file,a".encode("utf-16"), "not UTF-8"),
        (b"file,a\n" * 100, "700 bytes; a CSV file of at most 600 is read"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, data, said):
    (tmp_path / "s.csv").write_bytes(data)
    with pytest.raises(HarnessError) as caught:
        list(read_csv(tmp_path / "s.csv", most=600 if b"a\nfile" in data else 10**6))
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("begin", "rest", "said"),
    [
        (b"file,a\n", b",", "line 2: a row of more than 4,194,304 letters"),
        (b"file", b",", "line 1: a row of more than 4,194,304 letters"),
        (b"file,a\n", b'"\n",', "a row of more than 4,194,304 letters"),
        (b"\xef\xbb\xbffile;a\n", b";", "line 2: a row of more than 4,194,304 letters"),
        (b"", b"\n", "more than 2,000,000 lines"),
    ],
)
def test_a_table_of_millions_of_cells_is_refused_in_bounded_memory(tmp_path, monkeypatch, begin, rest, said):
    monkeypatch.setattr(tables, "LINES", 2_000_000)
    file = tmp_path / "s.csv"
    file.write_bytes(begin + rest * (2**24 // len(rest)))

    tracemalloc.start()
    try:
        with pytest.raises(HarnessError) as caught:
            list(read_csv(file))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert str(caught.value).startswith(f"{file}: ") and said in str(caught.value)
    assert peak < 2**25, f"{peak:,}"


def test_rows_come_one_by_one_from_a_file_of_any_size(tmp_path):
    (tmp_path / "s.csv").write_bytes(b"file,a\n" + b"x,1\n" * 2**19)

    tracemalloc.start()
    try:
        assert sum(1 for _ in read_csv(tmp_path / "s.csv")) == 2**19 + 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 2**20, f"{peak:,}"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "s.csv")
    with pytest.raises(HarnessError, match="no regular file"):
        next(read_csv(tmp_path / "s.csv"))


@pytest.mark.parametrize(("cell", "value"), [("1", 1.0), (" -0.5 ", -0.5), (".5", 0.5), ("1E3", 1000.0), ("+2.", 2.0)])
def test_numbers_are_read(cell, value):
    assert number_in(cell, "s.csv") == value


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("0,9", "'0,9' is no finite number; write 0.9"),
        ("1_000", "'1_000' is no finite number"),
        ("１", "no finite number"),
        ("nan", "no finite number"),
        ("inf", "no finite number"),
        ("1e999", "no finite number"),
        ("", "'' is no finite number"),
        ("0x10", "no finite number"),
        ("1" * 500, "no finite number"),
    ],
)
def test_numbers_that_python_reads_generously_are_refused(cell, said):
    with pytest.raises(HarnessError) as caught:
        number_in(cell, "s.csv: line 3")
    assert said in str(caught.value) and len(str(caught.value)) < 160
