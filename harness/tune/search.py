"""The least value that reaches a target, by bisection over values in their order; no more tries than are allowed.

The order is from the least to the most obfuscating. Where a figure falls along it, bisection still ends at a value
that reaches beside one that does not, but another such place may have been passed over: `falls` says where that showed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

QUARTERS = 4
DOUBLINGS = 10
_NO_GAIN = 1 / 5  # of what is near enough: a maximum that grows by less is taken


class BudgetExceeded(Exception):  # noqa: N818  (a limit, not an error)
    """As many values have been tried as are allowed."""


class Memo:
    """`evaluate`, remembered, for at most `most` different values."""

    def __init__(self, evaluate: Callable[[float], float], most: int):
        self._evaluate, self._most = evaluate, most
        self.figures: dict[float, float] = {}

    def __call__(self, value: float) -> float:
        if value not in self.figures:
            if len(self.figures) >= self._most:
                raise BudgetExceeded
            self.figures[value] = self._evaluate(value)
        return self.figures[value]


class SearchResult(NamedTuple):
    """What a search ended with.

    value  the least that reaches; None where none that was tried does
    whole  whether the search came to its end, and not to the end of what it was allowed
    """

    value: float | None
    whole: bool


def least(tried: Memo, values: Sequence[float], target: float, enough: float | None = None) -> SearchResult:
    """The first of `values` that reaches the target, if figures rise along them.

    enough  a figure at most so far above the target ends the search (a continuous knob); None: to the very value
    Both ends are tried first. Where the far end falls short, the figures have a maximum somewhere: it is looked for,
    from the quarters inwards, until a value reaches or the maximum grows no more.
    """
    figures: dict[int, float] = {}  # by place among the values

    def figure(place: int) -> float:
        figures[place] = tried(values[place])
        return figures[place]

    whole = True
    try:
        for place in (len(values) - 1, 0):
            figure(place)
        if max(figures.values()) < target:
            _climb(figure, figures, target, enough)
        _halve(figure, figures, target, enough)
    except BudgetExceeded:
        whole = False
    reaching = [place for place, found in figures.items() if found >= target]
    return SearchResult(values[min(reaching)] if reaching else None, whole)


def _halve(figure: Callable[[int], float], figures: dict[int, float], target: float, enough: float | None) -> None:
    """Halve what lies between the least place that reaches and the next before it that does not."""
    while reaching := [place for place, found in figures.items() if found >= target]:
        high = min(reaching)
        low = max((place for place in figures if place < high), default=high)
        if high - low < 2 or (enough is not None and figures[high] <= target + enough):
            return
        figure((low + high) // 2)


def _climb(figure: Callable[[int], float], figures: dict[int, float], target: float, enough: float | None) -> None:
    """Look for the maximum, and end at the first place that reaches the target."""
    last = max(figures)
    for quarter in range(1, QUARTERS):
        if figure(last * quarter // QUARTERS) >= target:
            return
    while True:
        best = max(figures, key=lambda place: figures[place])
        before = max((place for place in figures if place < best), default=best)
        after = min((place for place in figures if place > best), default=best)
        middles = {(before + best) // 2, (best + after) // 2} - set(figures)
        height = figures[best]
        for place in sorted(middles):
            if figure(place) >= target:
                return
        if not middles or (enough is not None and max(figures.values()) - height < enough * _NO_GAIN):
            return


def doubled(tried: Memo, start: float, suiting: Callable[[float], float | None], target: float) -> tuple[float, float]:
    """Of a knob of which nothing is known: two values, the less obfuscating first, by doubling and halving the start.

    Between them the target is reached, unless it is by every value that was tried or by none: then they are the ends.
    suiting  the value itself, or the nearest that can be tried instead; None where there is none
    """
    upwards = _others(start, [suiting(start * 2**step) for step in range(1, DOUBLINGS + 1)])
    downwards = _others(start, [suiting(start / 2**step) for step in range(1, DOUBLINGS + 1)])
    up = tried(upwards[0]) >= tried(start) if upwards else not downwards or tried(downwards[0]) < tried(start)
    more, less = (upwards, downwards) if up else (downwards, upwards)
    reaches = tried(start) >= target
    here = start
    for value in less if reaches else more:
        if (tried(value) >= target) != reaches:
            return (value, here) if reaches else (here, value)
        here = value
    return (here, start) if reaches else (start, here)


def _others(start: float, values: Sequence[float | None]) -> list[float]:
    return [value for value in dict.fromkeys(values) if value is not None and value != start]


def falls(figures: Sequence[float], slack: float) -> list[int]:
    """Places whose figure is lower than the one before it by more than the slack."""
    return [place for place in range(1, len(figures)) if figures[place - 1] - figures[place] > slack]
