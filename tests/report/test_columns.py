"""Columns of boards are made from the table of scores: a score that is added there is on every board."""

from __future__ import annotations

import csv
import io
import json
import re
import sys

import pytest
import torch
from rich.console import Console

from harness import scores
from harness.cli import main
from harness.leaderboard.board import boards
from harness.records import Records
from harness.report import columns, terminal
from harness.report.attack_columns import attack_columns
from harness.report.collect import collect
from harness.report.columns import ELSEWHERE, NOTHING, Column, TableCell, displayed_of, row_columns
from harness.report.figures.draw import draw
from harness.report.html.page import render
from harness.report.markdown import page
from harness.report.table_data import as_json, csv_text, document
from harness.scores import Score
from tests.helpers.crossed import DEFENSES, cross, write
from tests.helpers.planted import picture_folder
from tests.helpers.rows import complete, rows

REGISTRY = """
metrics:
  brightness:
    use: tests.report.test_columns:brightness
    version: 1
    higher_is: farther
    cite: planted
"""


def brightness(images: torch.Tensor, originals: torch.Tensor) -> torch.Tensor:
    """How far apart the mean brightness of two images is."""
    return (images.mean((1, 2, 3)) - originals.mean((1, 2, 3))).abs()


@pytest.fixture
def measured(tmp_path, monkeypatch, capsys):
    """The records of a run that measures a score of its own, which the table of scores shows on boards."""
    added = Score("brightness", "brightness shift", "distance", ("brightness",), board=True)
    monkeypatch.setitem(scores.SCORES, "brightness", added)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine.yaml").write_text(REGISTRY)
    pictures = picture_folder(tmp_path / "stripes", each=12)
    command = ["run", "--dataset", pictures, "--registry", tmp_path / "mine.yaml", "--records", tmp_path / "records"]
    command += ["--defense", "noise_mix", "--attack", "look", "--no-utility", "--threads", 1]
    assert main([*map(str, command)]) == 0, capsys.readouterr().err
    return tmp_path / "records"


def test_a_score_added_to_the_table_and_measured_by_a_run_is_on_every_board(measured):
    """With no other edit: terminal, Markdown, CSV, JSON and the page."""
    found = boards(Records(measured).all())
    (row,) = [row for row in found[0].rows if row.defense == "noise_mix"]
    mean = f"{row.scores['brightness']['mean']:.3f}".removeprefix("0")
    console = Console(file=io.StringIO(), width=80)

    terminal.show(found, console)
    printed = console.file.getvalue()
    assert "brightness" in printed and mean in printed
    assert max(map(len, printed.splitlines())) <= 80

    _, _, section = page(found).partition("</a>noise_mix")
    (line,) = [line for line in section.splitlines() if line.startswith("| release brightness shift |")]
    assert line.split("|")[2].strip().startswith(f"[{mean} [")

    (line,) = [line for line in csv.DictReader(io.StringIO(csv_text(found))) if line["defense"] == "noise_mix"]
    assert float(line["brightness_mean"]) == row.scores["brightness"]["mean"] and line["brightness_records"]

    (data,) = [r for r in json.loads(as_json(document(found)))["boards"][0]["rows"] if r["defense"] == "noise_mix"]
    assert data["brightness_mean"] == row.scores["brightness"]["mean"] and data["records"]["brightness"]

    html = render(collect(measured))
    assert ">release brightness shift</button>" in html
    assert re.search(rf'data-v="{row.scores["brightness"]["mean"]}"><span class="figure">{re.escape(mean)}<', html)


def test_a_hit_rate_added_to_the_table_is_on_every_board(monkeypatch):
    """Of the attack that reaches most, with its chance."""
    monkeypatch.setitem(scores.SCORES, "top5", Score("top5", "recognised (top 5)", "hit_rate", board=True))
    records = cross(1, DEFENSES[:2])
    for record in records:
        if "top1" in record.arrays:
            record.arrays["top5"] = record.arrays["top1"]
            record.scores["top5"] = record.scores["top1"]

    found = boards(records)

    row = next(row for row in found[0].rows if row.defense == "mix")
    assert row.strongest["top5"]["attack"] in ("cnn", "linear")
    assert "recognised (top 5)" in page(found)
    line = next(csv.DictReader(io.StringIO(csv_text(found))))
    assert {"top5_mean", "top5_chance", "top5_attack", "top5_corrected", "top5_records"} <= line.keys()


def test_a_judged_distance_added_to_the_table_enters_the_worst_case_and_every_figure(monkeypatch, tmp_path):
    monkeypatch.setitem(scores.SCORES, "lpips", Score("lpips", "LPIPS", "distance", judged=True, board=True))
    records = cross(1, DEFENSES[:2])
    for record in records:
        for name in ("dssim", "any_dssim", "attacked_dssim", "attacked_any_dssim"):
            if name in record.arrays:
                record.arrays[name.replace("dssim", "lpips")] = record.arrays[name] / 2

    found = boards(records)

    row = next(row for row in found[0].rows if row.defense == "mix")
    assert row.worst["lpips"]["mean"] == pytest.approx(row.worst["dssim"]["mean"] / 2)
    assert set(row.passes) == {"dssim", "dhaar", "exposed", "reidentified"}  # nothing is judged without a threshold
    text = page(found)
    assert "| worst LPIPS |" in text and "| dSSIM | dHaar | LPIPS |" in text

    report = collect(write(tmp_path / "records", records))
    html = render(report)
    assert 'data-measure="lpips"' in html and ">LPIPS after attack</th>" in html
    draw(report, tmp_path)
    assert ">LPIPS after attack<" in (tmp_path / "spending.svg").read_text()


def test_every_column_has_its_own_name_and_head():
    (board,) = boards(cross(1, DEFENSES[:2]))

    for every in (row_columns(board.rows), attack_columns()):
        names, heads = [column.name for column in every], [column.head for column in every if column.head]
        assert (len(set(names)), len(set(heads))) == (len(names), len(heads))


def test_every_column_is_in_the_table_of_the_page_with_its_head_and_cells(monkeypatch, tmp_path):
    """Also one that is no score and that the page does not know; except those that it shows outside the table."""
    added = Column("camera", "camera model", lambda row: TableCell(f"camera of {row.defense}"))
    monkeypatch.setattr(columns, "row_columns", lambda rows: [*row_columns(rows), added])
    report = collect(write(tmp_path, cross(1, DEFENSES[:2])))
    rows = report.sections[0].board.rows

    head, body = re.search(r'<table class="rows">(.*?)<tbody>(.*?)</table>', render(report), re.DOTALL).groups()

    names = [name.strip() for name in re.findall(r'<(?:button[^>]*|span class="by")>([^<]+)', head)]
    assert sorted(names) == sorted(column.head for column in displayed_of(rows) if column.page != ELSEWHERE)
    lines = re.findall("<tr.*?</tr>", body, re.DOTALL)
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        cells = re.findall("<(?:th|td) .*?</(?:th|td)>", line, re.DOTALL)
        assert len(cells) == head.count("<th ")
        at = re.findall(r"<button[^>]*>([^<]+)", head).index("camera model")
        assert f">camera of {row.defense}<" in cells[at]


def test_a_floor_whose_record_lacks_the_score_is_an_empty_cell():
    """A foreign record may hold less than its kind has."""
    made = complete("mix", 0.8)
    for record in made:
        if record.inputs.get("attack", {}).get("name") == "linear":
            del record.arrays["top1"]
    (found,) = rows(*made)

    (floor,) = [column for column in row_columns([found]) if column.name == "top1_floor"]

    assert floor.cell(found) == NOTHING
