"""Intervals that hold the training stay within the range of their score."""

from __future__ import annotations

import numpy as np
import pytest

from harness.leaderboard.training import pooled_variances, summarised
from harness.training_variance import Sample


@pytest.mark.parametrize(("proportion", "value"), [(False, 0.001), (None, 0.999)])
def test_an_interval_reaches_no_impossible_value(proportion, value):
    """The variance of a training comes from a figure that varies by .2: half of that beside 0 or 1 is impossible."""
    units, seeds = np.tile(np.arange(30), 3), np.repeat(np.arange(3), 30)
    rng = np.random.default_rng(0)
    steady = Sample(value + rng.normal(0, 1e-5, 90), units, seeds)
    varied = Sample(0.5 + np.repeat([-0.2, 0, 0.2], 30) + rng.normal(0, 0.01, 90), units, seeds)
    variances = pooled_variances([(("kind",), varied), (("kind",), steady)])

    figure = summarised(steady, proportion, ("kind",), variances)

    assert figure["low"] <= figure["mean"] <= figure["high"]
    assert figure["high"] - figure["low"] > 0.1
    assert figure["low"] >= 0 and (proportion is False or figure["high"] == 1)
