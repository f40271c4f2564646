"""How numbers are written on boards."""

from __future__ import annotations

import pytest

from harness.leaderboard.format import short


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.7104, ".710"), (-0.5, "-.500"), (1.0, "1.000"), (0.0, ".000"), (-0.0001, ".000"), (None, "-")],
)
def test_a_figure_has_three_digits_and_never_a_negative_zero(value, text):
    assert short(value) == text
