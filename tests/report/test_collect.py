"""The report of records: points, curves, provenance; names stay text."""

from __future__ import annotations

import hashlib
import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from harness.cli import main
from harness.leaderboard.format import settings, short
from harness.leaderboard.reported import table_7
from harness.records import Records
from harness.report.collect import collect, judgement, passing, sheets
from harness.report.html.chart_data import document
from harness.report.html.page import in_script, policy, render
from tests.helpers.crossed import DEFENSES, EPOCHS, EVIL, cross, write
from tests.helpers.paths import ROOT

# Points and curves


def test_only_judged_rows_are_ranked_and_the_others_are_marked(section, report):
    points = document(report)["boards"][0]["points"]

    for row, point in zip(section.board.rows, points, strict=True):
        assert (judgement(row) == "unjudged") == (row.passing is None)
        assert not (point["rank"] and not row.passing)
        assert (passing(row) == "not judged") == (row.passing is None)
    assert any(point["rank"] for point in points)


def test_a_row_passes_by_every_part(section):
    row = next(r for r in section.board.rows if (r.defense, r.epochs) == ("heavy_noise", 20))

    assert set(row.passes) == {"dssim", "dhaar", "exposed", "reidentified"}
    assert all(row.passes.values()) and passing(row) == "passes"


def test_rows_without_a_significant_difference_share_a_rank_and_name_each_other(tmp_path):
    """The same utility on the same images, twice: heavy noise under two names."""
    heavy = DEFENSES[4]
    records = cross(defenses=(heavy,))
    twin = [
        type(r)(
            type(r.spec)(r.spec.kind, {**r.inputs, "defense": {**r.inputs["defense"], "name": "twin"}}),
            r.status, arrays=r.arrays, scores=r.scores, facts=r.facts, finished=r.finished,
        )
        for r in records
    ]  # fmt: skip
    found = collect(write(tmp_path, [*records, *twin, *cross(defenses=DEFENSES[:1])]))

    points = [p for p in document(found)["boards"][0]["points"] if p["epochs"] == 20 and p["rank"]]
    page = Elements(render(found)).text
    assert [point["rank"] for point in points] == ["1=", "1="]
    assert (
        "tied with 1 row" in page
        and "does not differ significantly from that of twin (sigma=90 weights=0.5,0.5)" in page
    )


def test_a_curve_has_the_figures_of_the_attack_at_every_number_of_releases(section):
    curve = next(c for c in section.curves if (c.defense, c.attack) == ("mix", "multi_release"))

    assert [point.releases for point in curve.points] == list(EPOCHS)
    for point in curve.points:
        row = next(r for r in section.board.rows if (r.defense, r.epochs) == ("mix", point.releases))
        assert point.attack.distances == next(a for a in row.attacks if a.name == "multi_release").distances
        undefended = next(r for r in section.board.rows if (r.defense, r.epochs) == ("none", point.releases))
        assert point.undefended == undefended.utility


def test_a_reader_sees_the_most_releases_first_unless_that_hides_a_defense(section):
    assert section.shown == max(EPOCHS)
    hidden = [row for row in section.board.rows if (row.defense, row.epochs) == ("mix", 20)]
    section.board.rows.remove(hidden[0])
    try:
        assert section.shown is None
    finally:
        section.board.rows.append(hidden[0])


def test_the_paper_s_points_are_its_table_7():
    """As SCIENCE reads it: 16 rows, 15 of them with partners of the same class as well."""
    assert len(table_7()) == 31
    found = {
        (p.defense, settings(p.knobs), p.intra_class): (p.figures["dssim"], p.figures["utility"]) for p in table_7()
    }
    assert found["noise_mix", "sigma=20 weights=0.75,0.25", False] == (0.65, 0.913)
    assert found["shuffle_mix", "block=4 weights=0.5,0.5", True] == (0.56, 0.853)
    assert found["none", "", False] == (0.0, 0.9335)


def drawn_as(row):
    return {} if row.passing is None else dict.fromkeys(("dssim", "dhaar"), row.passing)


def test_what_the_charts_draw_is_the_board_s(report, section):
    drawn = document(report)["boards"][0]["points"]

    for point, row in zip(drawn, section.board.rows, strict=True):
        assert point["worst"]["dssim"]["mean"] == pytest.approx(row.worst["dssim"]["mean"], abs=1e-6)
        assert (point["judged"], point["passes"]) == (row.passing is not None, drawn_as(row))
        assert point["utility"] is None or point["utility"]["low"] <= point["utility"]["mean"]


def test_what_one_mean_image_scores_is_measured_where_the_control_was_run(report):
    assert document(report)["boards"][0]["blank"]["dssim"] == pytest.approx(0.81, abs=0.01)


# Provenance


def test_provenance_names_versions_data_seeds_threads_and_dates(section, folder):
    facts = dict(section.origins.facts)

    assert facts["libraries"] == "numpy 2.4.6, torch 2.15.0"
    assert facts["fingerprint"] == "0123456789abcdef" * 2
    assert (facts["seeds"], facts["threads"], facts["device"]) == ("0, 1, 2", "1", "cpu")
    dates = sorted(record.finished for record in Records(folder).all())
    assert facts["made"] == f"{dates[0]} to {dates[-1]}"
    assert sum(entry.records for entry in section.origins.entries) == len(
        {k for r in section.board.rows for k in r.records}
    )


def test_records_of_two_versions_are_remarked(tmp_path):
    records = cross(seeds=1, defenses=DEFENSES[:1])
    records[1].spec.inputs["versions"]["torch"] = "2.14.0"  # one dict for the cell

    other = cross(seeds=1, defenses=DEFENSES[1:2])

    (found,) = collect(write(tmp_path, [*records, *other])).sections
    assert any("2 versions of torch: 2.14.0, 2.15.0" in remark for remark in found.origins.remarks)


def test_a_release_that_could_not_be_made_is_named(tmp_path):
    records = cross(seeds=1, defenses=DEFENSES[:1])
    broken = cross(seeds=1, defenses=DEFENSES[1:2])[0]
    failed = type(broken)(broken.spec, "failed", "out of memory", finished=broken.finished)

    found = collect(write(tmp_path, [*records, failed]))

    assert found.missing == ["mix weights=0.5,0.5 on hand_made: failed: out of memory"]
    assert "out of memory" in render(found)


# The page as text


class Elements(HTMLParser):
    """Every element with its attributes, and the text that is no script or style."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self._inside, self.data = [], "", [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._inside.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tag, attributes = self._inside[-1] if self._inside else ("", {})
        if attributes.get("id") == "data":
            self.data += data
        elif tag not in ("script", "style"):
            self.text += data


def test_a_name_that_is_a_script_stays_text(page):
    found = Elements(page)

    scripts = [attributes for tag, attributes in found.elements if tag == "script"]
    assert len(scripts) == 5  # the data, plotly and three of the page's own
    assert EVIL in found.text
    assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)


def test_json_in_the_page_cannot_end_its_script(page):
    held = Elements(page).data

    assert not re.search("[<>&]", held)
    assert EVIL in {point["defense"] for point in json.loads(held)["boards"][0]["points"]}
    assert json.loads(in_script("\u2028</script><!--&")) == "\u2028</script><!--&"


def test_nothing_in_the_page_points_outside_of_it(page):
    """Plotly's own text names addresses; no element does, and the policy forbids them."""
    for tag, attributes in Elements(page).elements:
        for name in ("src", "href", "srcset", "action", "data"):
            value = attributes.get(name, "#")
            assert value.startswith(("#", "data:image/png")), (tag, name, value)
    assert "default-src 'none'" in policy([]) and "unsafe-eval" not in policy([])


def test_the_page_is_readable_without_scripts(page, section):
    found = Elements(page)
    worst = [short(row.worst["dssim"]["mean"]) for row in section.board.rows if row.defense in ("heavy_noise", "mix")]

    assert sum(tag == "noscript" for tag, _ in found.elements) == 3
    for figure in (*worst, "does not apply", "not judged", "denoise: this defense adds no noise"):
        assert figure in found.text


def test_the_page_is_the_same_for_the_same_records_and_code(folder, page):
    assert render(collect(folder)) == page


def test_every_id_is_unique_and_every_link_on_the_page_arrives(page):
    elements = Elements(page).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]

    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in elements if tag == "a"} <= set(ids)
    assert {a["for"] for tag, a in elements if tag == "label" and "for" in a} <= set(ids)


# The command


def call(capsys, *arguments):
    code = main(["report", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_report_writes_one_page_and_says_where(small, tmp_path, capsys):
    code, out, err = call(capsys, "--records", small, "--out", tmp_path / "page.html")

    assert (code, out) == (0, "")
    assert f"wrote {tmp_path / 'page.html'}" in err
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_report_json_is_one_document(small, tmp_path, capsys):
    code, out, _ = call(capsys, "--records", small, "--out", tmp_path / "page.html", "--json")

    assert code == 0 and json.loads(out)["page"] == str(tmp_path / "page.html")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "page.pdf"], "ends in .html"),
        (["--out", "nowhere/page.html"], "no folder nowhere"),
        (["--records", "empty"], "no records in empty"),
        (["--sheet", "missing.png"], "missing.png"),
        (["--sheet", "text.png"], "not a sound PNG"),
        (["--figures", "text.png"], "figures folder text.png"),
    ],
)
def test_wrong_input_is_one_line_with_its_fix(small, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    given = arguments if "--records" in arguments else ["--records", small, *arguments]

    code, _, err = call(capsys, *given)

    assert code == 2 and words in err and err.count("\n") == 1
    assert not list(tmp_path.glob("*.html"))


def test_sheets_beside_the_records_are_shown_and_curves_that_a_run_drew_are_not(tmp_path, caplog):
    write(tmp_path, cross(seeds=1, defenses=DEFENSES[:1]))
    for name in ("sheet.png", "spending_mix_multi_release.png"):
        Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")

    found = collect(tmp_path)

    assert [(sheet.name, sheet.width, sheet.height) for sheet in found.sheets] == [("sheet.png", 3, 2)]
    assert "broken.png" in caplog.text
    assert 'src="data:image/png;base64,' in render(found)


def test_a_pipe_beside_the_records_is_left_out(tmp_path, caplog):
    os.mkfifo(tmp_path / "sheet.png")

    assert sheets(tmp_path, []) == [] and "no regular file" in caplog.text


def test_without_a_sheet_the_page_has_no_section_for_one(page):
    assert 'id="sheets"' not in page and 'href="#sheets"' not in page


def test_the_page_of_the_committed_boards_is_below_two_megabytes():
    found = collect(ROOT / "leaderboards" / "records")

    assert len(found.sections) > 1 and len(render(found).encode()) < 2e6


def test_the_charts_are_drawn_by_the_bundle_that_npm_has():
    """plotly.js-basic-dist-min 4.1.1: `npm pack plotly.js-basic-dist-min@4.1.1`."""
    text = (ROOT / "harness" / "report" / "html" / "plotly-basic.min.js").read_bytes()

    assert hashlib.sha256(text).hexdigest() == "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"
