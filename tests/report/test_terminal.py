"""Boards on the terminal: as wide as it is, the verdict beside the defense, no figure cut, the legend on request."""

from __future__ import annotations

import io
import re
from textwrap import wrap

import pytest
from rich.console import Console

from harness.cli import parser
from harness.leaderboard.board import boards
from harness.leaderboard.format import notes, short
from harness.leaderboard.summary import verdict_in_few_words
from harness.records import Records
from harness.report import terminal
from tests.helpers.crossed import DEFENSES, cross
from tests.helpers.paths import ROOT
from tests.helpers.rows import complete


@pytest.fixture(scope="module")
def found():
    return boards(cross(1, DEFENSES))


def printed(found, width, **more) -> str:
    console = Console(file=io.StringIO(), width=width)
    terminal.show(found, console, **more)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [24, 40, 80, 120, 200])
def test_every_figure_is_whole_and_no_line_is_wider_than_the_terminal(found, width):
    printed_ = printed(found, width)
    text = " ".join(printed_.split())

    assert max(map(len, printed_.splitlines())) <= width
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    for row in found[0].rows:
        for score in (row.worst["dssim"], row.worst["dhaar"], row.utility):
            assert short(score["mean"]) in text and f"{short(score['low'])} {short(score['high'])}" in text


def test_the_verdict_is_the_first_column_after_the_defense(found):
    lines = printed(found, 80).splitlines()
    (head, *_) = [line for line in lines if line.startswith("defense")]

    assert head.split()[:2] == ["defense", "verdict"]
    for row in found[0].rows:
        beginning = f"{row.defense}{' (reference)' if row.reference else ''}"
        words = wrap(verdict_in_few_words(row), 17)[0]
        assert any(re.match(rf"{re.escape(beginning)} +{re.escape(words)}", line) for line in lines)


def test_a_wide_terminal_has_one_table_and_a_narrow_one_lists(found):
    heads = {width: printed(found, width).count("defense  ") for width in (40, 80, 200)}

    assert heads == {40: 0, 80: 2, 200: 1}


def test_the_legend_is_printed_on_request_alone(found):
    short_text, full = printed(found, 80), printed(found, 80, legend=True)
    flat = " ".join(full.split())

    assert all(" ".join(line.split()) in flat for line in notes())
    assert terminal.LEGEND in short_text and terminal.LEGEND not in full
    assert notes()[1][:40] not in short_text
    assert parser().parse_args(["rank", "--legend"]).legend and not parser().parse_args(["rank"]).legend


def test_a_run_says_the_verdict_before_the_table(monkeypatch):
    from harness.report import run_summary

    found = boards(complete("mix", 0.9))
    monkeypatch.setattr(run_summary, "board_of", lambda cells, limits: found)
    monkeypatch.setattr(run_summary, "rows_of", lambda cells, boards: found[0].rows)
    console = Console(file=io.StringIO(), width=80)

    run_summary.show([], [], console)

    text = console.file.getvalue()
    assert text.index("Passes: every part") < text.index("defense ")


def test_the_committed_board_fits_eighty_columns_in_two_tables():
    records = Records(ROOT / "leaderboards" / "fooled" / "records").all()
    text = printed(boards(records), 80)

    assert max(map(len, text.splitlines())) <= 80 and text.count("defense  ") == 2
