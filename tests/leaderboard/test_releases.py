"""Rows by T, R and training; records of before R was counted."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from harness.check.series import match_series
from harness.leaderboard.board import boards
from harness.leaderboard.verdict import headline
from harness.records import RunSpec
from harness.report.table_data import csv_text, document
from tests.helpers.rows import MULTI, RELEASED, N, attacked, release, row, rows, trained


def measured(number, **given):
    """The record of so many releases."""
    return _with(release(**given), releases=number)


def linked(number, left, **given):
    """A multi-release attack on so many releases that leaves this dSSIM of every image."""
    return attacked(MULTI, dssim=np.full(N, left), granted=("releases",), releases=number, **given)


def older(record):
    """The same record without R: a release for each of T epochs."""
    known = {name: value for name, value in record.inputs.items() if name != "releases"}
    if record.spec.kind == "attack" and "releases" in record.inputs:
        known["epochs"] = record.inputs["releases"]
    return replace(record, spec=RunSpec(record.spec.kind, known))


def _with(record, **more):
    return replace(record, spec=RunSpec(record.spec.kind, {**record.inputs, **more}))


def test_one_release_trained_on_ten_times_is_another_row_than_ten_releases():
    """The same accuracy, bought with one release and with ten."""
    records = [trained(0.9, epochs=10, releases=number) for number in (1, 10)]
    records += [measured(1), measured(10), linked(1, 0.6), linked(10, 0.1), attacked("smooth", dssim=np.full(N, 0.5))]

    found = {(each.epochs, each.releases): each for each in rows(*records)}

    assert set(found) == {(10, 1), (10, 10)}
    assert found[10, 1].worst["dssim"]["mean"] == pytest.approx(0.5)
    assert found[10, 10].worst["dssim"]["mean"] == pytest.approx(0.1)
    assert all(each.utility["mean"] == pytest.approx(0.9) for each in found.values())
    assert headline(found[10, 1]) == f"mix (weights=0.5,0.5), 10 epochs, 1 release, {N} originals, 1 seed"


def test_the_drop_is_from_an_undefended_model_of_the_same_releases():
    plain = [_with(release("none", dssim=np.zeros(N)), releases=number) for number in (1, 10)]
    models = [trained(accuracy, "none", epochs=10, releases=number) for number, accuracy in ((1, 0.8), (10, 1.0))]
    mine = [each for number in (1, 10) for each in (measured(number), trained(0.6, epochs=10, releases=number))]

    drops = {
        each.releases: each.accuracy_drop["mean"] for each in rows(*plain, *models, *mine) if each.defense == "mix"
    }

    assert drops == {1: pytest.approx(0.2), 10: pytest.approx(0.4)}


def test_what_five_releases_show_is_not_pooled_with_what_one_shows():
    found = {each.releases: each for each in rows(measured(1), measured(5, dssim=RELEASED - 0.3))}

    assert {number: each.scores["dssim"]["mean"] for number, each in found.items()} == {
        1: pytest.approx(RELEASED.mean()),
        5: pytest.approx(RELEASED.mean() - 0.3),
    }
    assert all(each.epochs is None for each in found.values())


def test_an_attack_on_releases_that_were_not_measured_is_left_out_and_counted():
    (board,) = boards([measured(1), linked(1, 0.5), linked(5, 0.1)])

    assert [each.releases for each in board.rows] == [1]
    assert board.left_out == ["1 record of mix left out: of other numbers of releases than were measured"]


def test_older_records_have_a_release_for_every_epoch():
    records = [release(), trained(0.9, epochs=10), linked(10, 0.1), linked(2, 0.4)]

    found = {(each.epochs, each.releases): each for each in rows(*map(older, records))}

    assert set(found) == {(10, 10), (None, 2)}
    assert found[10, 10].worst["dssim"]["mean"] == pytest.approx(0.1)


def test_a_seed_with_a_record_of_all_releases_does_not_show_the_older_one():
    """The older record of the same seed measured release 0 alone."""
    both = [older(release(dssim=RELEASED - 0.5)), measured(10), older(release(seed=1)), trained(0.9, epochs=10)]

    found = row(*both)

    assert found.seeds == 2
    assert found.scores["dssim"]["mean"] == pytest.approx(RELEASED.mean())


def test_tables_have_a_column_of_releases():
    found = boards([measured(2), trained(0.9, epochs=10, releases=2)])

    (line,) = csv.DictReader(io.StringIO(csv_text(found)))
    (kept,) = document(found)["boards"][0]["rows"]
    assert (line["epochs"], line["releases"]) == ("10", "2")
    assert (kept["epochs"], kept["releases"]) == (10, 2)


@pytest.mark.parametrize("record", [measured(4), linked(4, 0.1), trained(0.9, epochs=4)])
def test_a_baseline_of_before_stays_comparable(record):
    (match,) = match_series([older(record)], [record])

    assert match.before and match.after and match.not_comparable is None


def test_other_numbers_of_releases_are_not_compared():
    (match,) = match_series([measured(4)], [measured(2)])

    assert "number of releases" in str(match.not_comparable)
