"""Figures for a paper; records that lack a kind or a figure are a page all the same."""

from __future__ import annotations

import matplotlib.font_manager  # noqa: F401  finds its fonts now, not anew for every cache folder of a test
import numpy as np
import pytest
from PIL import Image

from harness.leaderboard.format import short
from harness.leaderboard.summary import short_label
from harness.records import Records
from harness.report.collect import collect
from harness.report.html.page import render
from tests.helpers.crossed import DEFENSES, EPOCHS, EVIL, cross, write


@pytest.fixture(scope="module")
def figures(folder, tmp_path_factory):
    from harness.report.figures.draw import draw

    out = tmp_path_factory.mktemp("figures")
    return draw(collect(folder), out)


def test_the_three_figures_are_png_and_svg(figures):
    names = {path.name for path in figures}

    assert names == {f"{name}.{kind}" for name in ("privacy_utility", "attacks", "spending") for kind in ("png", "svg")}
    for path in figures:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert min(picture.size) > 600
                assert np.asarray(picture.convert("L")).std() > 5  # something is on it


def test_svg_holds_text_as_text_and_names_as_names(figures, section):
    worst = [row.worst["dssim"]["mean"] for row in section.board.rows if row.defense == "heavy_noise"]
    text = next(path for path in figures if path.name == "attacks.svg").read_text()

    assert any(f">{short(mean)}<" in text for mean in worst) and ">noise_mix (not judged)<" in text
    assert "&lt;script&gt;" in text and "<script" not in text


def test_every_row_of_the_most_epochs_is_named_with_its_settings_in_the_figure(figures, section):
    text = next(path for path in figures if path.name == "privacy_utility.svg").read_text()
    rows = [row for row in section.board.rows if row.releases == max(EPOCHS)]

    labels = [f">{short_label(row, rows)}<" for row in rows]
    assert len(labels) == len(DEFENSES) + 1 and ">noise_mix sigma=20 .75/.25<" in labels
    assert [label for label in labels if EVIL not in label and text.count(label) != 1] == []


def test_svg_is_the_same_file_for_the_same_records(small, tmp_path):
    from harness.report.figures.draw import draw

    one, other = (draw(collect(small), tmp_path / name) for name in ("one", "other"))

    assert len(one) == 6
    for first, second in zip(one, other, strict=True):
        assert first.suffix != ".svg" or first.read_bytes() == second.read_bytes()


def test_figures_of_two_boards_have_two_names(tmp_path):
    from harness.report.figures.draw import draw
    from tests.helpers.crossed import DATASET

    other = {**DATASET, "name": "other/../$set", "fingerprint": "e" * 32}
    records = [*cross(1, DEFENSES[:2]), *cross(1, DEFENSES[:2], other)]

    drawn = draw(collect(write(tmp_path / "records", records)), tmp_path / "figures")

    assert len({path.name for path in drawn}) == 12
    assert {path.parent for path in drawn} == {tmp_path / "figures"}


def test_a_board_without_utility_or_attacks_is_a_page_and_no_figure(tmp_path):
    """The first thing that a run leaves behind."""
    from harness.report.figures.draw import draw

    only = [record for record in cross(1, DEFENSES[1:2]) if record.spec.kind == "release"]
    found = collect(write(tmp_path / "records", only))

    page = render(found)

    assert "No model was trained" in page and "No attack was run" in page and "Privacy by releases" not in page
    assert draw(found, tmp_path / "figures") == []


def test_records_of_before_there_were_reconstructions_are_a_page(tmp_path):
    records = [r for r in cross(1, DEFENSES[:2]) if r.inputs.get("attack", {}).get("name") in (None, "cnn")]

    page = render(collect(write(tmp_path, records)))

    assert "recognised (top 1)" in page and '<div class="grid" data-measure="dssim"' not in page


def test_records_without_chance_or_interval_are_a_page(tmp_path):
    """One original has no interval; an old recogniser recorded no chance."""
    records = cross(1, DEFENSES[1:2])
    for record in records:
        for name in record.arrays:
            record.arrays[name] = record.arrays[name][:1]
        for score in record.scores.values():
            score.pop("chance")

    assert "hand_made" in render(collect(write(tmp_path, records)))


def test_the_folder_of_records_is_left_as_it_was(small):
    before = sorted(path.name for path in small.iterdir())

    collect(small)

    assert sorted(path.name for path in small.iterdir()) == before
    assert len(list(Records(small).all())) * 2 >= len(before)
