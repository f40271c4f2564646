"""Bisection against a linear search and closed forms; where figures are not monotone it ends at a correct pair."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tune.search import Memo, bracket_by_doubling, decreases, smallest_reaching

FIGURES = st.lists(st.integers(0, 20).map(lambda tenth: tenth / 10), min_size=1, max_size=60)
TARGETS = st.integers(0, 20).map(lambda tenth: tenth / 10)


def memo(figure, max_values=1000):
    return Memo(figure, max_values)


def first_of(figures, target):
    """The linear search."""
    return next((place for place, figure in enumerate(figures) if figure >= target), None)


@given(FIGURES.map(sorted), TARGETS)
def test_of_rising_figures_the_first_that_reaches_is_found_on_plateaus_too(figures, target):
    asked = memo(lambda place: figures[place])

    found = smallest_reaching(asked, range(len(figures)), target)

    assert found == (first_of(figures, target), True)


@given(st.integers(2, 4000), st.floats(0, 1, exclude_max=True))
def test_a_bisection_tries_no_more_than_the_ends_and_the_logarithm(count, share):
    first = int(share * count)
    asked = memo(lambda place: float(place >= first))

    assert smallest_reaching(asked, range(count), 1.0) == (first, True)
    assert len(asked.figures) <= 2 + math.ceil(math.log2(count))


@given(FIGURES, TARGETS)
def test_of_any_figures_it_ends_at_one_that_reaches_beside_one_that_does_not(figures, target):
    asked = memo(lambda place: figures[place])

    value, complete = smallest_reaching(asked, range(len(figures)), target)

    assert complete
    if value is None:
        assert max(asked.figures.values()) < target
    else:
        assert figures[value] >= target
        assert value == 0 or figures[value - 1] < target


@pytest.mark.parametrize(
    ("figure", "truth"),
    [
        (lambda x: x / (1 + x), 2.0),  # 2/3 at 2
        (lambda x: 1 - math.exp(-x), math.log(3)),
        (lambda x: x**2 / 6, 2.0),
    ],
)
def test_a_continuous_knob_ends_right_above_the_closed_form(figure, truth):
    values = [8 * step / 4096 for step in range(4097)]

    value, complete = smallest_reaching(memo(figure), values, 2 / 3, slack=0.005)

    assert complete
    assert value >= truth - 1e-9
    assert 2 / 3 <= figure(value) <= 2 / 3 + 0.005


def test_a_knob_that_hides_more_downwards_is_searched_from_its_upper_end():
    grids = list(range(96, 0, -1))

    assert smallest_reaching(memo(lambda grid: 100 - grid), grids, 66) == (34, True)


def test_where_all_values_reach_it_is_the_first():
    asked = memo(lambda value: 0.9)

    assert smallest_reaching(asked, [1, 2, 3, 4], 0.5) == (1, True)
    assert set(asked.figures) == {1, 4}  # the ends and no more


def test_a_jump_past_the_target_ends_at_the_finest_step():
    values = [step / 4096 for step in range(4097)]

    value, complete = smallest_reaching(memo(lambda x: 0.9 if x > 0.3 else 0.1), values, 0.5, slack=0.005)

    assert (value, complete) == (1229 / 4096, True)  # the first above .3: 1228.8 / 4096
    assert 1228 / 4096 <= 0.3


@given(st.integers(0, 200), st.integers(1, 200))
def test_of_figures_with_one_peak_below_the_target_the_peak_is_found(peak, beyond):
    """Rising to the peak and falling from it, anywhere on the line: 'cannot reach' comes with the true maximum."""
    asked = memo(lambda place: 1 - abs(place - peak) / 400)

    found = smallest_reaching(asked, range(peak + beyond), 1.5)

    assert found == (None, True)
    assert max(asked.figures, key=asked.figures.get) == peak


def test_the_maximum_of_a_continuous_knob_is_found_within_the_slack():
    values = [step / 4096 for step in range(4097)]
    asked = memo(lambda x: 0.52 - (x - 0.29) ** 2)

    found = smallest_reaching(asked, values, 0.66, slack=0.005)

    assert found == (None, True)
    assert max(asked.figures.values()) == pytest.approx(0.52, abs=0.005)


def test_a_peak_inside_that_reaches_is_found_although_both_ends_fall_short():
    found = smallest_reaching(memo(lambda place: 1 - abs(place - 20) / 40), range(100), 0.8)

    assert found == (12, True)  # 1 - 8/40


@given(FIGURES, TARGETS, st.integers(1, 6))
def test_no_more_values_are_tried_than_allowed(figures, target, most):
    asked = memo(lambda place: figures[place], most)

    value, complete = smallest_reaching(asked, range(len(figures)), target)

    assert len(asked.figures) <= most
    assert value is None or figures[value] >= target
    if not complete:
        assert len(asked.figures) == most


def every_value(value):
    return value


@pytest.mark.parametrize("start", [0.01, 0.7, 3, 900])
def test_doubling_brackets_a_knob_that_hides_more_upwards(start):
    less, more = bracket_by_doubling(memo(lambda x: x / (1 + x)), start, every_value, 0.66)

    assert less / (1 + less) < 0.66 <= more / (1 + more)
    assert more == 2 * less


@pytest.mark.parametrize("start", [0.01, 0.7, 3, 400])
def test_doubling_brackets_a_knob_that_hides_more_downwards(start):
    less, more = bracket_by_doubling(memo(lambda x: 1 / (1 + x)), start, every_value, 0.66)

    assert 1 / (1 + less) < 0.66 <= 1 / (1 + more)
    assert less == 2 * more


def test_doubling_skips_refused_values():
    def share(value):
        return value if value <= 1 else None

    less, more = bracket_by_doubling(memo(lambda p: 1 - p), 0.6, share, 0.66)

    assert (less, more) == (0.6, 0.3)


def test_doubling_a_knob_that_never_reaches_ends_after_ten_steps():
    asked = memo(lambda x: 0.1 + x / 1e6)

    less, more = bracket_by_doubling(asked, 1, every_value, 0.66)

    assert (less, more) == (1, 2**10)
    assert len(asked.figures) == 11


def test_decreases_larger_than_the_slack_are_listed():
    assert decreases([0.1, 0.5, 0.48, 0.6, 0.2], 0.005) == [2, 4]
    assert decreases([0.1, 0.5, 0.496, 0.6], 0.005) == []
