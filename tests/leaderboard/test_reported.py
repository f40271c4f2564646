"""Figures that authors report are shown under the board, as printed, and change nothing on it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.leaderboard.board import boards
from harness.leaderboard.format import settings
from harness.leaderboard.reported import read, shipped_file, table_7
from harness.records import Records
from harness.report import table_data
from harness.report.markdown import page
from tests.helpers.paths import ROOT
from tests.helpers.rows import DATASET, N, complete, release

PAPER = """
- dataset: stripes
  cite: "Doe et al. 2027, Table 1"
  about: at 256 px
  rows:
    - {defense: hide_all, settings: {strength: 3, weights: [0.5, 0.5]}, epochs: 20, dssim: 0.9, utility: 0.9335}
    - {defense: good, worst_dssim: 0.14}
- dataset: elsewhere
  cite: "Roe 2026"
  rows: [{defense: other, dhaar: 0}]
"""


@pytest.fixture
def paper(tmp_path):
    file = tmp_path / "reported.yaml"
    file.write_text(PAPER)
    return file


def test_reported_rows_go_to_the_boards_of_their_data_set_and_are_no_rows_of_them(paper):
    """A reported row with high privacy and utility changes no rank."""
    dots = release(dataset={**DATASET, "name": "dots", "fingerprint": "0" * 32})
    records = [*complete("good", 0.9), *complete("none", 0.95, np.zeros(N)), dots]

    found, plain = boards(records, read(paper)), boards(records)

    for board, without in zip(found, plain, strict=True):
        assert [row.records for row in board.rows] == [row.records for row in without.rows]
        assert [row.rank for row in board.rows] == [row.rank for row in without.rows]
    assert {board.dataset["name"]: len(board.reported) for board in found} == {"dots": 0, "stripes": 2}
    assert table_data.csv_text(found) == table_data.csv_text(plain)


def test_the_page_shows_them_once_as_printed(paper):
    page_ = page(boards([*complete("good", 0.9), release(device="cuda")], read(paper)))

    lines = [line for line in page_.splitlines() if line.startswith("| reported |")]
    assert lines == [
        "| reported | hide_all | strength=3 weights=0.5,0.5 | 20 | .9 | - | .9335 |",
        "| reported | good |  | - | - | .14 | - |",
    ]
    assert page_.count("Doe et al. 2027, Table 1") == 1 and "Roe" not in page_


def test_the_document_holds_them_as_reported(paper):
    (board,) = table_data.document(boards([release()], read(paper)))["boards"]

    assert [row["status"] for row in board["reported"]] == ["reported", "reported"]
    assert board["reported"][0]["utility"] == 0.9335 and board["reported"][0]["cite"] == "Doe et al. 2027, Table 1"


def test_rank_finds_the_file_beside_the_records_or_where_it_is_named(paper, tmp_path, capsys):
    Records(tmp_path / "records").write(release())
    command = ["rank", "--records", str(tmp_path / "records"), "--out", str(tmp_path / "boards"), "--json"]

    assert main(command) == 0
    beside = json.loads(capsys.readouterr().out)
    paper.rename(tmp_path / "mine.yaml")
    assert main(command) == 0
    without = json.loads(capsys.readouterr().out)
    assert main([*command, "--reported", str(tmp_path / "mine.yaml")]) == 0
    named = json.loads(capsys.readouterr().out)

    assert beside == named and len(beside["boards"][0]["reported"]) == 2
    assert without["boards"][0]["reported"] == []
    assert main([*command, "--verify"]) == 3  # written with the figures that are not beside the records any more


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("dssim: 0.9,", "dssim: 9,"), ("#1.rows.#1.dssim", "a number, 1 or less, got 9")),
        (("dssim: 0.9,", "dssim: high,"), ("dssim: expected a number", "got 'high'")),
        (("dssim: 0.9,", "dssim: .nan,"), ("line 6: .nan is no finite number",)),
        (("dssim: 0.9,", "dsim: 0.9,"), ("no field 'dsim'; did you mean 'dssim'?",)),
        (("worst_dssim: 0.14", "epochs: 3"), ("#1.rows.#2: no figure",)),
        (("epochs: 20", "epochs: true"), ("epochs: expected", "got true")),
        (("{strength: 3, weights: [0.5, 0.5]}", "strong"), ("#1.rows.#1.settings: expected a table", "got 'strong'")),
        (("  cite: \"Roe 2026\"\n", ""), ("#2: cite is missing",)),
        (("defense: good", "name: good"), ("no field 'name'",)),
        (("[{defense: other, dhaar: 0}]", "none"), ("#2.rows: expected a list, got 'none'",)),
        ((PAPER, "dataset: stripes"), ("a list of papers",)),
        ((PAPER, "- stripes"), ("#1: expected a table, got 'stripes'",)),
        ((PAPER, "- ["), ("reported.yaml",)),
        (('"Roe 2026"', "2020-13-45"), ("2020-13-45 is a date to some readers of YAML; quote it",)),
        (("strength: 3", "strength: .nan"), ("line 6: .nan is no finite number",)),
        (("strength: 3", "strength: 010"), ("010 is in base 8",)),
        (("strength: 3", "strength: 1e300"), ("#1.rows.#1.settings: 1e+300 is too large",)),
        (("epochs: 20", "epochs: 9000000000"), ("epochs: expected a whole number, 100000 or less",)),
        (("defense: good", "defense: [good]"), ("#1.rows.#2.defense: expected text",)),
        ((PAPER, "[" * 500), ("more than 32 lists and tables in each other",)),
        ((PAPER, "[" * 100_000), ("reported.yaml",)),
        ((PAPER, ""), ("a list of papers",)),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_file_is_named_with_its_place_and_value(paper, change, words):
    paper.write_text(PAPER.replace(*change))

    with pytest.raises(HarnessError) as refused:
        read(paper)

    assert all(word in str(refused.value) for word in words), refused.value
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(HarnessError, match="nowhere"):
        read(tmp_path / "nowhere.yaml")


def test_the_shipped_file_is_table_7_of_the_paper_that_the_page_draws():
    """16 rows, 15 of them with partners of the same class as well; the same file beside the boards and in the wheel."""
    rows = table_7()

    assert shipped_file().read_bytes() == (ROOT / "leaderboards" / "reported.yaml").read_bytes()
    assert rows == read(ROOT / "leaderboards" / "reported.yaml")
    assert len({(row.defense, settings(row.knobs), row.intra_class) for row in rows}) == len(rows) == 31
    assert sum(row.intra_class for row in rows) == 15
    assert all(set(row.figures) == {"dssim", "utility"} and row.epochs == 20 for row in rows)
