"""A distance as a classifier of "not recognised": its ROC curve, AUC with the paper's grade, and two thresholds.

Raynal et al. 2020, section 4.2.3. A true positive: the distance is at or above the threshold and the source was not
recognised; a false positive: it is, and the source was recognised. t_acc maximises TPR - FPR, which the paper calls the
greatest accuracy (Youden's index); t_cut-off is the point nearest the corner (0, 1). Where several thresholds are
equally good, the largest is taken: it hides more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from harness.types import Array

ACC, CUT_OFF = "t_acc", "t_cut_off"
ACCEPTABLE = 0.7
CRITERIA = {ACC: "greatest TPR - FPR", CUT_OFF: "nearest to (0, 1)"}
"""The thresholds, and what each is chosen by."""


@dataclass(frozen=True)
class Point:
    """A threshold on a curve, with the rates of what is at or above it."""

    threshold: float
    fpr: float
    tpr: float


@dataclass(frozen=True)
class Curve:
    """Every point of a ROC curve, from (0, 0) to (1, 1).

    thresholds  (k,) falling; the first is infinite, the others are distances that occur
    fpr, tpr    (k,) rising, in [0, 1]
    auc         area under the curve: the chance that a pair that was not recognised is farther than one that was, where
                ties count half
    """

    thresholds: Array
    fpr: Array
    tpr: Array
    auc: float

    def point(self, criterion: str) -> Point:
        """The point of ACC or CUT_OFF; of several that are equally good, the one with the largest threshold."""
        at = _best(self.fpr[1:], self.tpr[1:], criterion) + 1
        return Point(float(self.thresholds[at]), float(self.fpr[at]), float(self.tpr[at]))

    def rates_at(self, thresholds: Array) -> tuple[Array, Array]:
        """(m,) FPR and TPR of any thresholds: the shares at or above."""
        at = len(self.thresholds) - 1 - np.searchsorted(self.thresholds[::-1], thresholds, side="left")
        at = np.clip(at, 0, len(self.thresholds) - 1)
        return self.fpr[at], self.tpr[at]


def _best(fpr: Array, tpr: Array, criterion: str) -> int:
    badness = fpr - tpr if criterion == ACC else np.hypot(fpr, 1 - tpr)
    return int(np.flatnonzero(badness <= badness.min() + 1e-12)[0])


def curve(distances: Array, hidden: Array) -> Curve:
    """The ROC curve of scikit-learn, no point left out.

    distances  (n,) finite
    hidden     (n,) bool, whether the pair was not recognised; both must occur
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    fpr, tpr, thresholds = roc_curve(hidden, distances, drop_intermediate=False)
    return Curve(thresholds, fpr, tpr, float(roc_auc_score(hidden, distances)))


def influence(distances: Array, hidden: Array) -> Array:
    """(n,) what each judgement adds to the AUC's deviation from its expectation; they sum to 0.

    The placement values of DeLong, DeLong and Clarke-Pearson 1988: of a pair that was not recognised the share of the
    recognised ones that are nearer, of a recognised one the share of the others that are farther, each less the AUC and
    over its number.
    """
    ranks, placed = rankdata(distances), np.empty(len(distances))
    for mine in (hidden, ~hidden):
        nearer = (ranks[mine] - rankdata(distances[mine])) / (~mine).sum()
        placed[mine] = nearer if mine is hidden else 1 - nearer
    area = placed[hidden].mean()
    centred: Array = (placed - area) / np.where(hidden, hidden.sum(), (~hidden).sum())
    return centred


def grade(auc: float) -> str:
    """The paper's words for an AUC (section 4.2.3, after Hosmer and Lemeshow 2000)."""
    if auc > 0.9:
        return "outstanding"
    if auc >= 0.8:
        return "excellent"
    if auc >= ACCEPTABLE:
        return "acceptable"
    return "below acceptable" if auc > 0.5 else "guessing"
