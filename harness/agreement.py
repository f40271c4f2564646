"""Whether a cell that was run again agrees with its record: bit for bit where nothing that it depends on has changed.

Where code, libraries or settings differ, figures may move: each difference is paired over originals, with its interval
and a p-value corrected for the number of figures (Holm).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.attacked import READINGS
from harness.records import RunResult
from harness.statistics import holm, paired, paired_p, summarise
from harness.types import Array

LEVEL = 0.05
ROUNDING = 1e-6  # of one image: less is another order of adding
ABSENT = "nothing"
HITS = (*READINGS, "utility")


@dataclass(frozen=True)
class Moved:
    """One figure, then and now; `apart` is now less then."""

    name: str
    then: Mapping[str, Any]
    now: Mapping[str, Any]
    apart: Mapping[str, Any]
    equal: bool
    rounding: bool
    p: float

    @property
    def agrees(self) -> bool:
        ends = self.apart["low"], self.apart["high"]
        beyond = ends[0] is not None and ends[1] is not None and not ends[0] <= 0 <= ends[1]
        return self.equal or self.rounding or not (beyond and self.p < LEVEL)


@dataclass(frozen=True)
class Agreement:
    """A record beside the same cell run again.

    unlike   (name, then, now) of every input that differs
    moved    the figures that both have
    missing  figures of the record that are not there any more, or are of other images
    new      figures that the record has not
    """

    then: RunResult
    now: RunResult
    unlike: list[tuple[str, Any, Any]]
    moved: list[Moved]
    missing: list[str]
    new: list[str]

    @property
    def exact(self) -> bool:
        """Every per-image number, bit for bit."""
        same = self.then.status == self.now.status and not (self.missing or self.new)
        return same and all(figure.equal for figure in self.moved)

    @property
    def agrees(self) -> bool:
        """Exactly; or, where inputs differ, as far as the images can tell."""
        if self.exact:
            return True
        told_apart = not all(figure.agrees for figure in self.moved)
        return bool(self.unlike) and self.then.status == self.now.status and not self.missing and not told_apart


def compare(then: RunResult, now: RunResult) -> Agreement:
    """What differs between a record and its repetition. Figures of other images are not compared: they are missing."""
    units = then.arrays.get("units")
    alike = np.array_equal(then.arrays.get("units", ()), now.arrays.get("units", ()))
    figures = [
        name
        for name, values in then.arrays.items()
        if alike and name != "units" and name in now.arrays and len(values) == len(now.arrays[name])
    ]
    corrected = holm([paired_p(now.arrays[name], then.arrays[name], units=units) for name in figures])
    moved = [
        _moved(name, then.arrays[name], now.arrays[name], units, float(p))
        for name, p in zip(figures, corrected, strict=True)
    ]
    missing = [name for name in then.arrays if name not in figures and (name != "units" or not alike)]
    new = [name for name in now.arrays if name not in then.arrays]
    return Agreement(then, now, list(differing(then.inputs, now.inputs)), moved, missing, new)


def _moved(name: str, then: Array, now: Array, units: Array | None, p: float) -> Moved:
    equal = then.dtype == now.dtype and np.array_equal(then, now)
    most = float(np.abs(now.astype(float) - then.astype(float)).max(initial=0.0))
    share = None if name in HITS else False  # a distance may be 0 everywhere without being a proportion
    before, after = (summarise(values, units=units, proportion=share) for values in (then, now))
    return Moved(name, before, after, paired(now, then, units=units), equal, most <= ROUNDING, p)


def differing(then: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every value that is not the same, by its path: versions.torch, attack.params.train_epochs."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*then, *now)):
            yield from differing(then.get(key, ABSENT), now.get(key, ABSENT), f"{name}.{key}".lstrip("."))
    elif isinstance(then, list) and isinstance(now, list) and all(_is_entry(one) for one in (*then, *now)):
        before, after = ({one["name"]: one for one in side} for side in (then, now))
        yield from differing(before, after, name)
    elif then != now:
        yield name, then, now


def _is_entry(thing: Any) -> bool:
    return isinstance(thing, Mapping) and "name" in thing
