"""Which original each number of a record belongs to, and the least distance per original with its null.

A record has three index arrays: `units`, the original that dominates each row of release 0; `originals`, those that
dominate any answered row of any release; `held`, those that any answered row holds as a source. Older records have
`units` alone: their worst case is the minimum over an original's rows of release 0, and they have no null.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.records import RunResult
from harness.scores import ATTACKED, INDEXES, NULL, UNSEEN, WORST, index_array
from harness.types import Array

UNITS, ORIGINALS, HELD = INDEXES


@dataclass(frozen=True)
class PerOriginal:
    """The least distance of each original over everything that one record answers.

    units   (m,) private rows, sorted
    values  (m,) over releases, rows and candidates
    null    (m, d) the same of what answers another original of the class, for each of d derangements, NaN where
            this one is in every such row; None where it was not measured
    """

    units: Array
    values: Array
    null: Array | None


def units_of(record: RunResult, array: str) -> Array:
    """(M,) the original of each number of an array; of a test image, its place."""
    return record.arrays.get(index_array(array), record.arrays.get(UNITS, np.arange(len(record.arrays[array]))))


def shown_scores(record: RunResult) -> list[str]:
    """The arrays of a release record that are scores of the release as is."""
    return [name for name in record.arrays if name not in INDEXES and not name.startswith((WORST, NULL, UNSEEN))]


def least(record: RunResult, metric: str) -> PerOriginal | None:
    """The least distance per original by a judged distance or its variant to the nearest source; None: not measured."""
    if WORST + metric in record.arrays:
        null = record.arrays.get(NULL + metric)
        columns = null.reshape(len(null), -1) if null is not None else None
        return PerOriginal(units_of(record, WORST + metric), record.arrays[WORST + metric], columns)
    array = metric if record.spec.kind == "release" else ATTACKED + metric
    if array not in record.arrays:
        return None
    units, rows = np.unique(record.arrays[UNITS], return_inverse=True)
    values = np.full(len(units), np.inf)
    np.minimum.at(values, rows, record.arrays[array])
    return PerOriginal(units, values, None)
