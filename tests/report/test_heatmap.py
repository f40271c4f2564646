"""Defenses by attacks: every cell has its figure, its shade and its reason."""

from __future__ import annotations

import pytest

from harness.leaderboard.board import boards
from harness.report.heatmap import grids
from tests.helpers.crossed import DEFENSES, EPOCHS, N, cross


def grid(section, measure="dssim"):
    return next(each for each in section.grids if each.measure.name == measure)


def mark(section, defense, attack, measure="dssim", epochs=EPOCHS[-1]):
    found = grid(section, measure)
    row, marks = next((row, marks) for row, marks in found.lines if (row.defense, row.epochs) == (defense, epochs))
    assert row.defense == defense
    return marks[1 + [column.name for column in found.columns].index(attack)]


def test_a_cell_is_the_attack_alone_with_its_interval_and_n(section):
    row = next(r for r in section.board.rows if (r.defense, r.epochs) == ("mix", 20))
    smooth = next(attack for attack in row.attacks if attack.name == "smooth")

    found = mark(section, "mix", "smooth")

    assert found.score == smooth.distances["dssim"] and found.state == "ok"
    assert f"n = {N}" in found.title and found.interval


@pytest.mark.parametrize(
    ("defense", "attack", "state", "reason"),
    [
        ("grey", "denoise", "inapplicable", "adds no noise"),
        ("mix", "denoise", "skipped", "no weights here"),
        ("shuffle_mix", "inversion", "failed", "did not converge"),
    ],
)
def test_a_cell_without_a_figure_has_a_reason_and_no_shade(section, defense, attack, state, reason):
    found = mark(section, defense, attack)

    assert (found.state, found.shade, found.score) == (state, None, None)
    assert reason in found.title
    assert reason in grid(section).reasons[found.note - 1]


def test_a_cell_that_failed_on_one_seed_says_so_beside_its_figure(section):
    found = mark(section, "noise_mix", "denoise")

    assert found.state == "partial" and found.score and "on 2 of 3 seeds" in found.title and found.note


def test_an_attack_that_was_not_run_is_distinguished_from_one_that_failed(section):
    assert mark(section, "none", "random_other").text == "not run"


def test_the_shade_changes_its_side_at_the_threshold(section):
    shades = {
        (m.score["mean"] >= 0.66, m.shade >= 0)
        for _, marks in grid(section).lines
        for m in marks
        if m.shade is not None
    }
    assert shades == {(True, True), (False, False)}


def test_controls_are_after_every_attack_that_counts(section):
    control = [column.control for column in grid(section).columns]

    assert control == sorted(control) and any(control)


def test_recognisers_have_a_grid_of_their_own_with_chance_unshaded(section):
    assert [column.name for column in grid(section, "top1").columns] == ["cnn", "linear"]
    assert "chance .100" in mark(section, "mix", "cnn", "top1").title
    assert all(m.shade is None or m.shade <= 0 for _, marks in grid(section, "top1").lines for m in marks)


def test_one_attack_with_two_settings_is_two_columns_that_say_which():
    records = cross(seeds=1, defenses=DEFENSES[1:2])
    other = [r for r in records if r.inputs.get("attack", {}).get("name") == "smooth"]
    again = [
        type(r)(
            type(r.spec)("attack", {**r.inputs, "attack": {**r.inputs["attack"], "params": {"width": 3}}}),
            r.status, arrays=r.arrays, scores=r.scores, finished=r.finished,
        )
        for r in other
    ]  # fmt: skip

    (board,) = boards([*records, *again])

    words = {column.settings for column in grids(board)[0].columns if column.name == "smooth"}
    assert words == {"", "width=3"}
