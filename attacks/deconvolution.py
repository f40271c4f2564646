"""Wiener deconvolution of a known Gaussian blur, with the blur's own mirrored borders.

Reference: Wiener 1949; the deconvolution that Raynal et al. 2020, section 4.4, describe. It is computed in the basis of
the cosine transform (attacks/common/gaussian_blur.py). Difference to the original: noise over signal is a constant
times the squared frequency, chosen on rehearsals, instead of measured spectra.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.images import to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.common.gaussian_blur import deconvolved, known_kernel
from harness.types import Bytes, Generator, Guess


def deconvolution(observation: Observation, rng: Generator, *, noise: Sequence[float]) -> Guess:
    """The releases with the blur divided out, as far as their rounding allows.

    noise  noise-to-signal ratios to try, at the highest frequency: rehearsals on public images choose
    """
    kernel = known_kernel(observation)

    def sharpened(releases: Bytes, ratio: float) -> Bytes:
        return to_bytes(deconvolved(to_images(releases), kernel, ratio).clamp_(0, 1))

    ratio, scores = rehearse.best_setting(observation, sorted(map(float, noise), reverse=True), sharpened)
    return Guess(
        candidates=rehearse.restore(observation, lambda releases: sharpened(releases, ratio)),
        report=rehearse.report_of(ratio, scores),
    )
