"""Find the smallest value that reaches a target: bisection over ordered values, with at most so many evaluations.

Values are ordered from the least to the most obfuscating. Where the figure decreases along them, bisection still ends
at a value that reaches the target beside one that does not, but it may have missed another such place: `decreases`
lists where that shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

QUARTERS = 4
DOUBLINGS = 10
_NO_GAIN = 1 / 5  # of the slack: the search for a maximum ends where it grows by less


class BudgetExceeded(Exception):  # noqa: N818  (a limit, not an error)
    """As many values have been evaluated as are allowed."""


class Memo:
    """`evaluate` with its results kept, for at most `max_values` different values."""

    def __init__(self, evaluate: Callable[[float], float], max_values: int):
        self._evaluate, self._max_values = evaluate, max_values
        self.figures: dict[float, float] = {}

    def __call__(self, value: float) -> float:
        if value not in self.figures:
            if len(self.figures) >= self._max_values:
                raise BudgetExceeded
            self.figures[value] = self._evaluate(value)
        return self.figures[value]


class SearchResult(NamedTuple):
    """The end of a search.

    value     the smallest evaluated value that reaches the target; None where none does
    complete  False where the budget ended the search
    """

    value: float | None
    complete: bool


def smallest_reaching(
    evaluate: Memo, values: Sequence[float], target: float, slack: float | None = None
) -> SearchResult:
    """The first of `values` that reaches the target, if the figure increases along them.

    Both ends are evaluated first. Where the last value falls short, the figure has a maximum somewhere: it is searched
    for, starting with the quarters, until a value reaches the target or the maximum stops growing.

    slack  a figure at most so far above the target ends the search (continuous knobs); None: to the exact value
    """
    figures: dict[int, float] = {}  # by position in values

    def figure(position: int) -> float:
        figures[position] = evaluate(values[position])
        return figures[position]

    complete = True
    try:
        for position in (len(values) - 1, 0):
            figure(position)
        if max(figures.values()) < target:
            _find_maximum(figure, figures, target, slack)
        _bisect(figure, figures, target, slack)
    except BudgetExceeded:
        complete = False
    reaching = [position for position, reached in figures.items() if reached >= target]
    return SearchResult(values[min(reaching)] if reaching else None, complete)


def _bisect(figure: Callable[[int], float], figures: dict[int, float], target: float, slack: float | None) -> None:
    """Halve the gap between the first position that reaches the target and the evaluated one before it."""
    while reaching := [position for position, reached in figures.items() if reached >= target]:
        high = min(reaching)
        low = max((position for position in figures if position < high), default=high)
        if high - low < 2 or (slack is not None and figures[high] <= target + slack):
            return
        figure((low + high) // 2)


def _find_maximum(
    figure: Callable[[int], float], figures: dict[int, float], target: float, slack: float | None
) -> None:
    """Search for the maximum; end at the first position that reaches the target."""
    last = max(figures)
    for quarter in range(1, QUARTERS):
        if figure(last * quarter // QUARTERS) >= target:
            return
    while True:
        best = max(figures, key=lambda position: figures[position])
        before = max((position for position in figures if position < best), default=best)
        after = min((position for position in figures if position > best), default=best)
        middles = {(before + best) // 2, (best + after) // 2} - set(figures)
        maximum = figures[best]
        for position in sorted(middles):
            if figure(position) >= target:
                return
        if not middles or (slack is not None and max(figures.values()) - maximum < slack * _NO_GAIN):
            return


def bracket_by_doubling(
    evaluate: Memo, start: float, nearest_valid: Callable[[float], float | None], target: float
) -> tuple[float, float]:
    """Two values of a knob without a known range, the less obfuscating first, by doubling and halving the start.

    The target is reached between them. Where every value that was tried reaches it, or none does, they are the ends.

    nearest_valid  the value itself, or the nearest one that the defense takes; None where there is none
    """
    upwards = _without(start, [nearest_valid(start * 2**step) for step in range(1, DOUBLINGS + 1)])
    downwards = _without(start, [nearest_valid(start / 2**step) for step in range(1, DOUBLINGS + 1)])
    increases = (
        evaluate(upwards[0]) >= evaluate(start)
        if upwards
        else not downwards or evaluate(downwards[0]) < evaluate(start)
    )
    more, less = (upwards, downwards) if increases else (downwards, upwards)
    reaches = evaluate(start) >= target
    current = start
    for value in less if reaches else more:
        if (evaluate(value) >= target) != reaches:
            return (value, current) if reaches else (current, value)
        current = value
    return (current, start) if reaches else (start, current)


def _without(start: float, values: Sequence[float | None]) -> list[float]:
    return [value for value in dict.fromkeys(values) if value is not None and value != start]


def decreases(figures: Sequence[float], slack: float) -> list[int]:
    """Positions whose figure is lower than the one before it by more than the slack."""
    return [position for position in range(1, len(figures)) if figures[position - 1] - figures[position] > slack]
