"""Calibrated thresholds: of the boards of one data set and size, named there, and of nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.cli import main
from harness.leaderboard import verdict
from harness.leaderboard.board import boards
from harness.leaderboard.limits import calibrated, paper_limits
from harness.leaderboard.summary import findings
from harness.records import Records
from harness.registry.thresholds import Thresholds
from harness.report import collect, heatmap, table_data
from harness.report.html.chart_data import document
from harness.report.html.page import render
from harness.report.markdown import page
from tests.helpers.rows import DATASET, N, complete, release

SOURCE = "8 people; stripes_16 in mine.yaml"


def limits(dataset="stripes", size=16, **values):
    values = values or {"dssim": 0.75}
    return calibrated([Thresholds("stripes_16", dataset, size, size, values, "8 people", "mine.yaml")])


RECORDS = complete("mix", 0.9, np.full(N, 0.7))  # at or above the paper's .66, below .75


def mix(found):
    (board,) = boards(RECORDS, limits=found)
    return board, next(row for row in board.rows if row.defense == "mix")


def test_a_calibrated_threshold_decides_what_is_hidden():
    paper, here = mix(None)[1], mix(limits())[1]

    assert paper.passes["dssim"] is True and here.passes["dssim"] is False
    assert paper.worst["dssim"]["below"] == 0.0 and here.worst["dssim"]["below"] == 1.0
    assert "threshold .75" in here.judgements["dssim"].words
    assert any("below .75 for 100%" in line for line in verdict.on_row(here))


def test_what_is_not_named_keeps_the_papers_threshold():
    board, row = mix(limits())

    assert board.limits.values == {**paper_limits().values, "dssim": 0.75}
    assert row.passes["dhaar"] is mix(None)[1].passes["dhaar"]
    assert board.limits.of("worst_any_dssim") == 0.75 and board.limits.of("mse") is None


@pytest.mark.parametrize("others", [limits(dataset="photos"), limits(size=32)])
def test_another_data_set_or_size_keeps_the_constants(others):
    board, row = mix(others)

    assert board.limits == paper_limits() and row.passes["dssim"] is True
    assert page([board]) == page([mix(None)[0]])


def test_the_board_says_which_thresholds_are_used_and_where_from():
    board, _ = mix(limits())
    said = f"Thresholds of these images: dSSIM .75 ({SOURCE}); dHaar .62 (Raynal et al. 2020)."

    assert said in findings(board)
    assert "16 in mine.yaml); dHaar .62" in page([board]) and "at or above .75 (dSSIM)" in page([board])
    (shown,) = table_data.document([board])["boards"]
    assert shown["thresholds"]["dssim"] == 0.75 and shown["threshold_sources"] == {"dssim": SOURCE}
    (plain,) = table_data.document([mix(None)[0]])["boards"]
    assert "thresholds" not in plain
    assert next(measure.threshold for measure in heatmap.measures(board.limits)) == 0.75


def test_a_size_too_small_for_a_calibrated_threshold_is_judged_by_the_null():
    (board,) = boards([release(dssim=np.full(N, 0.7), null=0.76)], limits=limits())

    assert "cannot be judged by the calibrated threshold .75" in board.rows[0].judgements["dssim"].words


def test_rank_and_report_take_the_file(tmp_path, capsys):
    folder = Records(tmp_path / "records")
    for record in RECORDS:
        folder.write(record)
    entry = f"{{dataset: {DATASET['name']}, height: 16, width: 16, dssim: 0.75, source: 8 people}}"
    (tmp_path / "mine.yaml").write_text(f"thresholds: {{stripes_16: {entry}}}\n")
    options = ["--records", str(tmp_path / "records"), "--registry", str(tmp_path / "mine.yaml")]

    assert main(["rank", *options, "--out", str(tmp_path / "lb"), "--json"]) == 0
    (board,) = json.loads(capsys.readouterr().out)["boards"]
    assert board["threshold_sources"] == {"dssim": SOURCE}
    assert main(["rank", *options, "--out", str(tmp_path / "lb"), "--verify"]) == 0
    assert main(["rank", *options[:2], "--out", str(tmp_path / "lb"), "--verify"]) == 3  # boards of other thresholds

    report = collect.collect(tmp_path / "records", None, None, (), limits())
    assert document(report)["boards"][0]["thresholds"]["dssim"] == 0.75
    text = render(report)
    assert SOURCE in text and "or the thresholds that a board names" in text
    assert "or the thresholds that a board names" not in render(collect.collect(tmp_path / "records", None))
