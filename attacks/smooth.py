"""Smoothing the release: a Gaussian or a median, its width chosen on rehearsals.

The least that an adversary does, and a reference: SSIM favours smooth guesses, so what another attack contributes is
what it gains beyond this one.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.common.filters import smoothed
from harness.types import Generator, Guess


def smooth(observation: Observation, rng: Generator, *, gaussians: Sequence[float], medians: Sequence[int]) -> Guess:
    """The filter that brings rehearsed releases nearest to their dominant sources; none, where none does.

    gaussians  standard deviations to try, in pixels
    medians    sides of median windows to try, in pixels; odd
    """
    widths = [("gaussian", float(sigma)) for sigma in gaussians] + [("median", int(side)) for side in medians]
    settings: list[tuple[str, float]] = [("gaussian", 0.0), *widths]
    setting, scores = rehearse.best_setting(observation, settings, smoothed)
    return Guess(
        candidates=rehearse.restore(observation, lambda releases: smoothed(releases, setting)),
        report=rehearse.report_of(setting, scores),
    )
