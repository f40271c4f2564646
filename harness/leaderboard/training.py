"""The variance of a training, pooled over a board's figures of one kind, and figures whose intervals hold it.

Three seeds of one row show little about what another training would give. The same work on the board's other rows
(the same model on their releases, the same attack on them, their worst case by the same distance) is pooled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

from harness.statistics import paired_p, summarise
from harness.training_variance import (
    THIS_TRAINING,
    TRAININGS,
    Sample,
    TrainingVariance,
    decompose,
    interval,
    p_value,
    pool,
)

Kind: TypeAlias = tuple[Any, ...]
"""What figures have in common whose variance is pooled: an attack and a score, say. None of a figure that no training
enters."""
Variances: TypeAlias = dict[Kind, TrainingVariance | None]
"""By kind; filled by the board before a figure is asked for."""
HOLDS = "interval"
"""What the interval of a trained figure holds: its key in a figure's statistics."""


def pooled_variances(samples: Iterable[tuple[Kind, Sample]]) -> Variances:
    """The variance of a training for each kind of figure."""
    parts = defaultdict(list)
    for kind, sample in samples:
        parts[kind].append(decompose(sample))
    return {kind: pool(some) for kind, some in parts.items()}


def summarised(sample: Sample, proportion: bool | None, kind: Kind | None, variances: Variances) -> dict[str, Any]:
    """Mean, interval and the rest of `summarise`; of a trained figure, `kind`, the interval holds the training.

    It is never narrower than that over images alone, which knows how skewed they are, and stays within the range of the
    score: nothing is below 0, and no hit rate is above 1.
    """
    figure = summarise(sample.values, units=sample.units, proportion=proportion)
    if kind is None or figure["low"] is None:
        return figure
    part = decompose(sample)
    if part.seeds < 2:
        return {**figure, HOLDS: THIS_TRAINING}
    low, high = interval(part, variances.get(kind))
    low = max(low, 0.0)
    if proportion is None:  # a hit rate
        high = min(high, 1.0)
    return {**figure, "low": min(low, figure["low"]), "high": max(high, figure["high"]), HOLDS: TRAININGS}


def compared(sample: Sample, kind: Kind | None, variances: Variances, share: float | None = None) -> dict[str, Any]:
    """A paired difference: its mean, interval, number of originals and p-value, which hold the training of `kind`.

    share  by what the variance of one training is multiplied where it is not that of the difference (see `interval`)
    """
    figure = summarise(sample.values, units=sample.units, proportion=False)
    found = {name: figure[name] for name in ("mean", "low", "high", "n")}
    if kind is None:
        return found
    part = decompose(sample)
    if part.seeds < 2:
        return {**found, HOLDS: THIS_TRAINING}
    low, high = interval(part, variances.get(kind), share)
    if found["low"] is not None:
        found |= {"low": min(low, found["low"]), "high": max(high, found["high"])}
    return {**found, HOLDS: TRAININGS}


def p_of(sample: Sample, kind: Kind | None, variances: Variances, share: float | None = None) -> float:
    """Two-sided p-value of a paired difference being zero; with one training of a trained figure 1."""
    alone = paired_p(sample.values, np.zeros(len(sample.values)), units=sample.units)
    return alone if kind is None else max(alone, p_value(decompose(sample), variances.get(kind), share))
