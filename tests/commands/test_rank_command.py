"""`harness rank`: a page, a table, one document."""

from __future__ import annotations

import csv
import json

import pytest

from tests.helpers.answers import refused


def test_rank_writes_a_page_and_a_table(run, harness, place):
    run("--defense", "none,mix", "--attack", "same", "--no-utility")

    code, out, err = harness("rank")

    assert code == 0
    assert "mix" in out and "wrote" in err
    read = list(csv.DictReader((place / "leaderboards" / "stripes.csv").read_text().splitlines()))
    assert [line["defense"] for line in read] == ["none", "mix"]
    assert float(read[0]["dssim_mean"]) == pytest.approx(0, abs=1e-6) and float(read[1]["dssim_mean"]) > 0.1
    assert (place / "leaderboards" / "stripes.md").read_text().startswith("# stripes")


def test_rank_prints_one_document(run, harness, place):
    run("--defense", "mix", "--attack", "same", "--no-utility")

    code, out, _ = harness("rank", "--json", "--out", "boards")

    (board,) = json.loads(out)["boards"]
    assert code == 0 and {line["defense"] for line in board["rows"]} == {"none", "mix"}
    assert sorted(path.name for path in (place / "boards").iterdir()) == ["stripes.csv", "stripes.json", "stripes.md"]


def test_rank_without_records_is_refused(harness, place):
    assert refused(harness("rank"), "no records in results", "harness run")
    assert list(place.iterdir()) == []


def test_rank_into_a_folder_that_cannot_be_made_is_refused(run, harness, place):
    run("--defense", "none", "--attack", "same", "--no-utility")
    (place / "taken").write_text("")

    assert refused(harness("rank", "--out", "taken"), "taken", "--out")
