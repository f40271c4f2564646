"""The board as text: tables, pages and the terminal, only numbers in cells."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from harness.leaderboard.board import boards
from harness.leaderboard.format import figure, settings
from harness.records import Records
from harness.report import table_data, terminal
from harness.report.files import write
from harness.report.markdown import page
from harness.statistics import summarise
from tests.helpers.rows import RELEASED, N, complete, release, row


@pytest.fixture(scope="module")
def board():
    skipped = release("half", dssim=RELEASED - 0.5)
    found = boards([*complete("good", 0.9), *complete("none", 0.95, np.zeros(N)), skipped])
    return found


def test_the_csv_holds_every_row_with_its_numbers_in_full(board):
    read = list(csv.DictReader(io.StringIO(table_data.csv_text(board))))

    assert [line["defense"] for line in read] == [each.defense for each in board[0].rows]
    good = next(line for line in read if line["defense"] == "good")
    assert float(good["worst_dssim_mean"]) == pytest.approx(RELEASED.mean(), abs=1e-12)
    assert float(good["utility_mean"]) == pytest.approx(0.9) and float(good["utility_gap_mean"]) == pytest.approx(
        0.06, abs=0.02
    )
    assert good["rank"] == "1" and good["lacks"] == "" and good["passes_dssim"] == "True"
    assert float(good["dssim_low"]) < float(good["dssim_mean"]) < float(good["dssim_high"])


def test_the_page_is_a_table_whose_rows_are_as_wide_as_its_head(board):
    lines = page(board).splitlines()
    first = next(position for position, line in enumerate(lines) if line.startswith("|"))
    grids = [len(re.findall(r"(?<!\\)\|", line)) for line in lines[first : first + 2 + 2]]

    assert grids == [7] * 4
    assert not lines[first + 2 + 2]


def test_the_record_of_the_first_seed_is_linked_and_the_others_are_in_the_json(board):
    text, document = page(board), table_data.document(board)

    for each in board[0].rows:
        assert f"records/{each.worst['dssim']['attack_records'][0]}.json" in text
        assert all(f"records/{attack.records[0]}.json" in text for attack in each.attacks if attack.records)
    found = {key for row in document["boards"][0]["rows"] for key in row["records"]["row"]}
    assert found == {key for each in board[0].rows for key in each.records}


def test_no_nan_and_no_infinity_appears(board):
    text = page(board) + table_data.csv_text(board) + table_data.as_json(table_data.document(board))

    assert not re.search(r"\b(nan|inf|infinity)\b", text, re.IGNORECASE)
    assert len(json.loads(table_data.as_json(table_data.document(board)))["boards"][0]["rows"]) == 3


def test_every_figure_has_its_interval(board):
    good = next(each for each in board[0].rows if each.defense == "good")

    assert re.fullmatch(r"\.800 \[\.7\d\d, \.8\d\d\]", figure(good.scores["dssim"]))


def test_a_figure_that_is_missing_is_a_dash():
    assert figure(None) == "-" == figure(summarise([]))


@pytest.mark.parametrize(
    ("mean", "shown"), [(0.5, ".500"), (-0.25, "-.250"), (1.0, "1.000"), (10.25, "10.250"), (0.0, ".000")]
)
def test_numbers_are_written_without_a_leading_zero(mean, shown):
    assert figure({"mean": mean, "low": None, "high": None}) == shown


def test_settings_are_shown_as_they_are_typed():
    given = release(strength=2.5, fast=True)
    given.inputs["defense"]["mixing"]["weights"] = [[0.5, 0.5], [0.6, 0.4]]

    assert settings(row(given).settings) == "strength=2.5 fast=true weights=0.5,0.5/0.6,0.4"


def test_the_board_fits_eighty_columns(board):
    console = Console(file=io.StringIO(), width=80)

    terminal.show(board, console)

    assert max(map(len, console.file.getvalue().splitlines())) <= 80


def test_pages_and_tables_are_written_by_data_set(board, tmp_path):
    paths = write(board, tmp_path / "boards")

    assert sorted(path.name for path in paths) == ["stripes.csv", "stripes.json", "stripes.md"]
    assert (tmp_path / "boards" / "stripes.csv").read_text() == table_data.csv_text(board)
    assert json.loads((tmp_path / "boards" / "stripes.json").read_text()) == table_data.document(board)


def test_a_board_is_a_function_of_the_folder(tmp_path, board):
    folder = Records(tmp_path)
    for each in [*complete("good", 0.9), *complete("none", 0.95, np.zeros(N))]:
        folder.write(each)

    first, again = (table_data.csv_text(boards(folder.all())) for _ in range(2))

    assert first == again and first.count("\n") == 3
