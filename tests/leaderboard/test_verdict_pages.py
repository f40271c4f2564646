"""Pages, documents and tables show every attack and the verdict on each row."""

from __future__ import annotations

import io
import json
import re
from itertools import takewhile

import numpy as np
import pytest
from rich.console import Console

from harness.leaderboard import verdict
from harness.leaderboard.board import boards
from harness.report import table_data, terminal
from harness.report.markdown import page
from tests.helpers.rows import MULTI, RELEASED, N, attacked, complete

SEEDS = (0, 1, 2)
REID = np.arange(N) % 2


@pytest.fixture(scope="module")
def judged():
    kept = complete("mix", 0.9, seeds=1)
    odd = [attacked("a|b", dssim=RELEASED - 0.1), attacked("google_vision", status="skipped")]
    return boards([*kept, *odd])


def test_the_page_lists_every_attack_under_the_heads(judged):
    lines = page(judged).splitlines()

    start = next(at for at, text in enumerate(lines) if text.startswith("| attack |"))
    grid = list(takewhile(lambda text: text.startswith("|"), lines[start:]))
    assert len({len(re.findall(r"(?<!\\)\|", text)) for text in grid}) == 1
    names = [re.sub(r"[][|]|\(records/\w+\.json\)", "", text.split(" | ")[0]).strip() for text in grid[2:]]
    assert names[0] == "no attack" and {MULTI, "smooth", "oracle (control)", "cnn"} <= set(names)
    assert "google_vision" not in names and "* google_vision: skipped: why it failed" in lines


def test_documents_hold_the_attacks_in_full(judged):
    (found,) = judged[0].rows

    read = json.loads(table_data.as_json(table_data.document(judged)))["boards"][0]["rows"][0]
    said = json.loads(table_data.as_json(table_data.verdict_document(found)))

    assert [each["attack"] for each in read["attacks"]] == [each.name for each in found.attacks]
    assert said["worst"]["dssim"].keys() >= {"mean", "low", "high", "p5", "min", "n", "below", "attack"}
    assert said["text"] == verdict.on_row(found)


def test_the_csv_holds_p5_and_the_minimum_of_the_worst_case(judged):
    text = table_data.csv_text(judged)

    assert {"worst_dssim_p5", "worst_dssim_min", "worst_dhaar_p5", "unjudged", "warnings"} <= set(
        text.splitlines()[0].split(",")
    )


def test_verdicts_fit_eighty_columns_without_trailing_blanks(judged):
    console = Console(file=io.StringIO(), width=80)

    terminal.verdicts(judged[0].rows, console)

    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and all(text == text.rstrip() for text in lines)
