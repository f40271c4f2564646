"""The Markdown pages as GitHub shows them: few columns, one line a row, a number leads to one record at most."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from harness.leaderboard.board import boards
from harness.leaderboard.format import brief_settings, percent, short
from harness.leaderboard.summary import findings, verdict_in_few_words
from harness.report.markdown import WIDEST, page
from tests.helpers.browser import needs_chromium, size, start
from tests.helpers.crossed import DEFENSES, cross
from tests.helpers.paths import ROOT
from tests.helpers.rows import N, attacked, complete, release

COMMITTED = [ROOT / "leaderboards" / name for name in ("photos.md", "imagenette10_96.md", "fooled/imagenette10_96.md")]
HIGHEST = 60  # pixels of a row: one line is 37, two are 61


@pytest.fixture(scope="module")
def crossed():
    return boards(cross(1, DEFENSES))


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a page, each a list of lines of cells, without the line under the head."""
    grouped = groupby(text.splitlines(), lambda line: line.startswith("|"))
    found = [list(lines) for is_table, lines in grouped if is_table]
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for at, line in enumerate(lines) if at != 1] for lines in found]


def name_of(cell: str) -> str:
    return re.sub(r"\*?\[([^]]*)\]\([^)]*\)\*?", r"\1", cell).strip()


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: str(path.relative_to(ROOT / "leaderboards")))
def test_a_committed_page_has_narrow_tables_whose_cells_lead_to_one_place_at_most(path):
    found = tables(path.read_text(encoding="utf-8"))

    assert len(found) > 3
    assert max(len(line) for table in found for line in table) <= WIDEST == 8
    assert all(cell.count("](") <= 1 for table in found for line in table for cell in line)


def test_the_table_of_rows_says_what_the_rows_hold(crossed):
    text = page(crossed)
    lines = {(name_of(line[0]), *line[1:]) for table in tables(text) for line in table if len(line) == 6}

    for row in crossed[0].rows:
        (line,) = [line for line in lines if line[0].split()[0] == row.defense and _of(row, line[0], crossed[0].rows)]
        privacy, exposed, found, accuracy, verdict = (name_of(cell) for cell in line[1:])
        worst = row.worst["dssim"]
        reach = max(worst["mean"] - worst["low"], worst["high"] - worst["mean"])
        assert privacy == f"{short(row.scores['dssim']['mean'])} → {short(worst['mean'])} ±{short(reach)}"
        assert exposed == percent(row.exposed["share"])
        assert found == (short(row.reidentified["share"]) if row.reidentified["above_chance"] else "nobody")
        assert accuracy.startswith(f"{short(row.utility['mean'])} (")
        assert verdict == verdict_in_few_words(row)


def _of(row, words, rows):
    """Whether these words name a row: its settings, and T and R, in which rows of this cross differ."""
    return words == f"{row.defense} {brief_settings(row.settings)} T={row.epochs}".replace("  ", " ")


def test_what_was_released_stands_once_beside_the_attacks():
    """`look` is the release as is, which has a line of its own."""
    made = boards([*complete("mix", 0.9, seeds=1), attacked("look", dssim=np.full(N, 0.7))])

    (attacks,) = [table for table in tables(page(made)) if table[0][0].strip() == "attack"]

    assert [line[0].strip() for line in attacks].count("no attack") == 1
    assert not any("look" in cell for line in attacks for cell in line)


def test_attacks_without_a_figure_are_told_with_their_reason_and_have_no_line():
    made = boards([*complete("mix", 0.9, seeds=1), attacked("denoise", status="inapplicable")])
    text = page(made)

    (attacks,) = [table for table in tables(text) if table[0][0].strip() == "attack"]

    assert not any("denoise" in line[0] for line in attacks)
    assert re.search(r"^\* denoise: inapplicable: .+$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("failed", "words"),
    [
        ("dssim dhaar exposed reidentified", "fails all four"),
        ("dssim exposed reidentified", "fails 3 of 4"),
        ("dssim dhaar exposed", "fails: not hidden, exposed"),
        ("exposed reidentified", "fails: exposed, re-identified"),
        ("dhaar", "fails: dHaar"),
        ("", "passes, rank 1"),
    ],
)
def test_the_verdict_in_few_words_names_the_parts_that_fail(failed, words):
    (row,) = boards(complete("mix", 0.9))[0].rows
    row.judgements = {name: _judged(name not in failed.split()) for name in row.judgements}
    row.missing, row.rank = [], None if failed else 1

    assert verdict_in_few_words(row) == words


def _judged(passes):
    from harness.leaderboard.judgement import Judgement

    return Judgement(passes, "")


def test_what_is_said_of_a_data_set_comes_from_its_figures():
    """Two data sets of the same defenses: the null of one is below the threshold, that of the other above it."""
    far = cross(1, DEFENSES[:2])
    near = cross(1, DEFENSES[:2])
    for record in near:
        for name in [name for name in record.arrays if name.startswith("null_")]:
            record.arrays[name] = record.arrays[name] * 0 + 0.5

    said = [" ".join(findings(boards(records)[0])) for records in (far, near)]

    assert "dSSIM .900 to .900: the threshold .66 applies" in said[0]
    assert "dSSIM .500 to .500: too low for the threshold .66, so rows are judged by their null - .05" in said[1]
    (mix,) = [row for row in boards(far)[0].rows if (row.defense, row.epochs) == ("mix", 2)]
    assert f"mix (weights=0.5,0.5), {short(mix.worst['dssim']['mean'])} [" in said[0]


def test_settings_in_short_tell_rows_apart():
    given = [
        {"sigma": 20, "noise_after": False, "weights": [0.75, 0.25]},
        {"sigma": 20, "noise_after": True, "weights": [0.75, 0.25]},
        {"weights": [[0.5, 0.5], [0.6, 0.4]]},
        {"weights": {"beta": 0.4}, "label": "soft"},
        {"grid": 16, "weights": [1.0]},
    ]

    assert [brief_settings(each) for each in given] == [
        "sigma=20 .75/.25", "sigma=20 noise_after=true .75/.25", ".5/.5 or .6/.4", "label=soft beta:0.4", "grid=16",
    ]  # fmt: skip


@needs_chromium
def test_no_row_of_a_committed_page_is_higher_than_a_line_nor_wider_than_github_s_column(tmp_path_factory):
    style = (Path(__file__).parent / "github.css").read_text()
    browser = start(tmp_path_factory)
    try:
        size(browser, 1100, 900)
        for path in COMMITTED:
            html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(path.read_text(encoding="utf-8"))
            out = tmp_path_factory.mktemp("github") / "page.html"
            opened = html.replace("<details>", "<details open>")
            out.write_text(f"<!doctype html><meta charset=utf-8><style>{style}</style><article>{opened}</article>")
            browser.get(out.as_uri())
            high, wide = browser.execute_script(
                "const rows = [...document.querySelectorAll('tr')], tables = [...document.querySelectorAll('table')];"
                "return [rows.map(r => r.getBoundingClientRect().height),"
                " tables.map(t => t.scrollWidth - t.clientWidth)]"
            )
            assert len(high) > 50 and max(high) <= HIGHEST, path
            assert max(wide) <= 0, path
    finally:
        browser.quit()


def test_a_name_that_is_markup_stays_text_in_the_table():
    (line,) = [
        line for table in tables(page(boards([release("<b>x</b>|[y](z)", knob=1)]))) for line in table if "x" in line[0]
    ][:1]

    assert "<b>" not in line[0] and "[y](z)" not in line[0]
