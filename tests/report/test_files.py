"""Tables are functions of the records, and a written one that differs from them is found, with the cell."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.leaderboard.board import boards
from harness.records import Records
from harness.report.files import differences, texts, write
from tests.helpers.paths import ROOT
from tests.helpers.rows import DATASET, N, complete, release

MADE = [*complete("good", 0.9), *complete("none", 0.95, np.zeros(N)), release("half|ä", strength=2)]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Records, and the tables that `rank` makes of them."""
    folder = tmp_path_factory.mktemp("made")
    for each in MADE:
        Records(folder / "records").write(each)
    assert main(["rank", "--records", str(folder / "records"), "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def tables(made, tmp_path) -> Path:
    """A copy that may be spoilt, beside the records."""
    (tmp_path / "records").symlink_to(made / "records")
    for path in made.glob("stripes.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def verify(folder: Path, *more: str) -> int:
    return main(["rank", "--records", str(folder / "records"), "--out", str(folder), "--verify", *more])


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_what_rank_has_written_is_what_the_records_say(tables, capsys):
    assert verify(tables) == 0
    assert "3 tables are what" in capsys.readouterr().out


def test_verify_writes_nothing(made, tables):
    before, records = snapshot(tables), snapshot(made)
    (tables / "stripes.md").write_text("something else")
    before = snapshot(tables)

    assert verify(tables) == 3

    assert snapshot(tables) == before and snapshot(made) == records


def test_a_figure_that_was_edited_by_hand_is_found_by_row_and_column_with_both_values(tables, capsys):
    path = tables / "stripes.csv"
    with path.open(newline="") as file:
        head, *lines = csv.reader(file)
    place = head.index("utility_mean")
    row = next(number for number, line in enumerate(lines) if "good" in line)
    right, lines[row][place] = lines[row][place], "0.99"
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *lines])

    assert verify(tables) == 3

    said = capsys.readouterr().err
    assert f"row {row + 1} (good" in said and "utility_mean" in said and "0.99" in said and right in said
    assert len(said.splitlines()) == 1 and "stripes.csv" in said


def test_a_figure_in_the_page_is_found_by_its_column(tables, capsys):
    path = tables / "stripes.md"
    lines = path.read_text().splitlines()
    row = next(number for number, line in enumerate(lines) if line.startswith("| [good](#row-"))
    lines[row] = lines[row].replace("[.800 →", "[.900 →", 1)
    path.write_text("\n".join(lines) + "\n")

    assert verify(tables) == 3
    said = capsys.readouterr().err
    assert "column dSSIM → worst" in said and "[good](#row-" in said and ".900" in said and ".800" in said


def test_a_figure_in_the_document_is_found_by_its_path(tables, capsys):
    path = tables / "stripes.json"
    document = json.loads(path.read_text())
    row = next(each for each in document["boards"][0]["rows"] if each["defense"] == "good")
    row["attacks"][0]["seeds"] = [0, 1]
    path.write_text(json.dumps(document))

    assert verify(tables, "--json") == 3
    out = capsys.readouterr()
    (found,) = json.loads(out.out)["differences"]
    assert "(good)" in found["row"] and "attacks/0" in found["row"] and "seeds" in found["row"]
    assert (found["written"], found["records"]) == ("nothing", "2")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text.splitlines(keepends=True)[0], "it says nothing, the records say a row"),
        (lambda text: text + text.splitlines(keepends=True)[-1], "it says a row, the records say nothing"),
        (lambda text: text.replace("utility_mean", "usefulness", 1), "the head"),
        (lambda text: "", "the head"),
    ],
    ids=["no rows", "a row more", "another head", "empty"],
)
def test_rows_and_columns_too_few_or_too_many_are_found(tables, capsys, spoil, said):
    path = tables / "stripes.csv"
    path.write_text(spoil(path.read_text()))

    assert verify(tables) == 3
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("stripes.csv", lambda text: text.replace("\n", ",nothing\n")),
        ("stripes.csv", lambda text: text.rstrip("\n") + ",nothing\n"),
        ("stripes.json", lambda text: text.replace("{", '{"forged": "nothing", ', 1)),
        ("stripes.json", lambda text: text.rstrip().removesuffix("]}") + ', "nothing"]}'),
    ],
    ids=["a column", "a cell", "a field", "a value"],
)
def test_what_stands_there_in_addition_is_found_even_where_it_is_called_nothing(tables, capsys, name, spoil):
    path = tables / name
    text = spoil(json.dumps(json.loads(path.read_text())) if name.endswith("json") else path.read_text())
    path.write_text(text)

    assert verify(tables) == 3
    assert name in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["md", "csv", "json"])
def test_a_file_in_the_way_is_refused_without_being_read_whole(tmp_path, suffix):
    """A line without an end, as long as the file."""
    with (tmp_path / f"stripes.{suffix}").open("wb") as file:
        file.truncate(2**28)
    few = boards(MADE[:1])
    tracemalloc.start()
    try:
        with pytest.raises(HarnessError, match=rf"stripes\.{suffix}: is no table of boards"):
            write(few, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()


def test_a_table_that_is_missing_differs(tables, capsys):
    (tables / "stripes.json").unlink()

    assert verify(tables) == 3
    assert "stripes.json: the whole file: it says no file" in capsys.readouterr().err


def test_a_board_that_no_record_makes_differs_and_other_files_are_left_alone(tables, capsys):
    (tables / "gone.json").write_bytes((tables / "stripes.json").read_bytes())
    (tables / "notes.json").write_text("[1, 2]")
    (tables / "costs.csv").write_text("cells,seconds\n1,2\n")

    assert verify(tables) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "gone.json" in line and "no such data set" in line


@pytest.mark.parametrize("name", ["pipe.json", "pipe.csv", "board"])
def test_a_pipe_among_the_tables_is_not_waited_for(tables, capsys, name):
    file = next(tables.glob("*.md")) if name == "board" else tables / name
    file.unlink(missing_ok=True)
    os.mkfifo(file)

    assert verify(tables) == (3 if name == "board" else 0)


@pytest.mark.parametrize("name", ["long.csv", "stripes.csv", "stripes.md"])
def test_a_file_of_one_long_line_is_not_read_to_its_end(tmp_path, name):
    """Beside the tables, or in the place of one."""
    made = boards(MADE)
    expected = texts(made, tmp_path)
    for path, text in expected.items():
        path.write_text(text)
    (tmp_path / name).write_text("," * 2**25)

    tracemalloc.start()
    try:
        if name in map(os.path.basename, expected):
            with pytest.raises(HarnessError, match="is no table of boards"):
                write(made, tmp_path)
        else:
            assert differences(expected, tmp_path) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 2**25, f"{peak:,}"


def test_a_record_that_has_changed_differs(made, tables, tmp_path, capsys):
    """The same name, other numbers."""
    (tables / "records").unlink()
    for each in MADE:
        low = each.spec.kind == "release" and each.inputs["seed"] == 0 and each.inputs["defense"]["name"] == "good"
        arrays = {name: values - 0.1 * (name == "dssim") for name, values in each.arrays.items()}
        Records(tables / "records").write(replace(each, arrays=arrays) if low else each)

    assert verify(tables) == 3
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_damaged_record_is_named_and_left_where_it_is(tables, made, capsys):
    (tables / "records").unlink()
    for each in MADE:
        Records(tables / "records").write(each)
    broken = min((tables / "records").glob("*.json"))
    broken.write_text(broken.read_text()[:100])

    assert verify(tables) == 2
    assert broken.name in capsys.readouterr().err
    assert broken.is_file() and not list((tables / "records").glob("*.corrupt"))


def test_the_last_digit_of_another_processor_is_no_difference(tmp_path):
    expected = texts(boards(MADE), tmp_path)
    for path, text in expected.items():
        path.write_text(text.replace("0.7999999999999999", "0.8000000000000002"))

    assert differences(expected, tmp_path) == []


def test_tables_do_not_depend_on_the_order_of_the_records(tmp_path):
    mixed = list(MADE)
    random.Random(1).shuffle(mixed)

    assert texts(boards(mixed), tmp_path) == texts(boards(MADE), tmp_path)


def test_tables_do_not_depend_on_locale_clock_cores_or_hash_seed(made):
    """Another process, in another place, on other threads."""
    here = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "PYTHONUTF8": "0", "TZ": "Asia/Tokyo", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "harness.cli", "rank", "--records", "records", "--out", ".", "--verify"]
    tree = ROOT

    done = subprocess.run(
        command, cwd=made, env={**os.environ, **here, "PYTHONPATH": str(tree)}, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_page_of_two_datasets_is_two_files(tmp_path):
    other = release("mix", dataset={**DATASET, "name": "dots", "fingerprint": "0" * 32})

    paths = write(boards([*MADE, other]), tmp_path)

    assert sorted(path.name for path in paths) == [
        f"{n}.{s}" for n in ("dots", "stripes") for s in ("csv", "json", "md")
    ]
    assert not list(tmp_path.glob(".*"))


def test_the_committed_tables_are_what_the_committed_records_say(capsys):
    boards_ = ROOT / "leaderboards"

    assert main(["rank", "--records", str(boards_ / "records"), "--out", str(boards_), "--verify"]) == 0, (
        capsys.readouterr().err
    )
