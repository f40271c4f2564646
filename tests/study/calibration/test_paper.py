"""The paper's Tables 2 to 5 as data: whole, and in agreement with what else is said of them."""

from __future__ import annotations

import pytest

from harness.scores import SCORES
from harness.study.calibration.paper import paper_rows, rows_of
from harness.study.calibration.roc import CRITERIA


def test_four_tables_of_five_metrics_hold_rates_and_known_metrics():
    rows = paper_rows()

    assert [row.table for row in rows] == [f"Table {number}" for number in (2, 3, 4, 5) for _ in range(5)]
    assert {row.metric for row in rows} == {"mse", "fid", "dssim", "phash", "dhaar"} <= set(SCORES)
    for row in rows:
        assert 0.5 < row.auc < 1 and set(row.points) == set(CRITERIA)
        for point in row.points.values():
            assert 0 < point.fpr < point.tpr < 1 and point.threshold > 0


@pytest.mark.parametrize("name", ["dssim", "dhaar"])
def test_the_constants_of_boards_are_the_strictest_of_people(name):
    strictest = max(point.threshold for row in rows_of("person", name) for point in row.points.values())

    assert SCORES[name].threshold == strictest


def test_the_greatest_accuracy_is_no_less_accurate_than_the_cut_off():
    """TPR - FPR of four rates that are rounded to .01."""
    for row in paper_rows():
        acc, cut = (row.points[name] for name in CRITERIA)
        assert acc.tpr - acc.fpr >= cut.tpr - cut.fpr - 0.02, row


def test_other_judges_have_no_row_of_the_paper():
    assert rows_of("cnn", "dssim") == [] and len(rows_of("google_vision", "dssim")) == 2
