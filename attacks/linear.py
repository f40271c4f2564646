"""Recognition by logistic regression on colour thumbnails and HOG: what a network has to beat.

Trained on rehearsals like `cnn`. A network that reads no more than this has not shown what a defense hides.
References: Cox 1958; Dalal and Triggs 2005; Torralba, Fergus and Freeman 2008 (what thumbnails tell).
"""

from __future__ import annotations

from functools import partial

from harness.errors import HarnessError
from harness.observation import Observation
from harness.plugins.attacks.common.features import thumbnails_and_hog
from harness.plugins.attacks.common.linear_classifier import Trained, fit_classifier, fit_or_any_source
from harness.train.memo import memoised
from harness.types import Array, Generator, Guess, Labels, Release, Secret


def linear(observation: Observation, rng: Generator, *, grid: int, orientations: int, rehearsals: int) -> Guess:
    """Class scores of a classifier that is trained on rehearsals, its penalty chosen by cross-validation.

    grid          cells a side of a thumbnail
    orientations  bins of a histogram of gradients
    rehearsals    of each of the adversary's images, every other time mirrored
    """
    if min(grid, orientations, rehearsals) < 1:
        raise HarnessError(
            f"linear: grid {grid}, orientations {orientations}, rehearsals {rehearsals}; use 1 or more of each"
        )

    def answer(release: Release, secret: Secret, rows: Array) -> Labels:
        return release.labels

    def train(_: bytes) -> Trained:
        kinds = {"thumbnails and HOG": [partial(thumbnails_and_hog, grid=grid, orientations=orientations)]}
        fit = partial(fit_classifier, featurisers=kinds, classes=len(observation.classes))
        return fit_or_any_source(observation, rehearsals, answer, fit)

    classifier, report = memoised(observation, "linear", (grid, orientations, rehearsals), train)
    return Guess(scores=classifier.predict(observation.images[observation.targets]), report=report)
