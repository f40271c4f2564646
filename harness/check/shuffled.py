"""Does the order of a release tell whose it is? Read from the records alone, and from the new run's only.

A release is shuffled anew each epoch; "if index i always held x_i, averaging epochs would undo everything" (Raynal et
al. 2020, section 2, as read here). A record lists the originals in the order of the release, so that an order that was
not shuffled shows as a rank correlation between an original's place in the set and its place in the release.

Reference: Spearman 1904; of a random order the correlation has mean 0 and variance 1 / (n - 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

from harness.records import RunResult
from harness.types import Array


def told_by_order(releases: Iterable[RunResult]) -> tuple[float, float]:
    """The mean rank correlation over seeds, and its two-sided p-value under a random order; (0, 1) where too few."""
    found = [(_correlation(record.arrays["units"]), len(record.arrays["units"])) for record in releases]
    counted = [(rho, n) for rho, n in found if n > 2]
    if not counted:
        return 0.0, 1.0
    far = sum(rho * math.sqrt(n - 1) for rho, n in counted) / math.sqrt(len(counted))
    return float(np.mean([rho for rho, _ in counted])), float(2 * ndtr(-abs(far)))


def _correlation(units: Array) -> float:
    """Spearman's, in [-1, 1]; 0 where all are one original's."""
    if len(units) < 2 or (units == units[0]).all():
        return 0.0
    return float(np.corrcoef(rankdata(units), np.arange(len(units)))[0, 1])
