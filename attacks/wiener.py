"""SciPy's `wiener`, as the paper ran it against blur: a smoothing filter, not a deconvolution.

It moves every value towards the mean of its window, the more so the less the window varies compared with the average
window. It knows no kernel and removes no blur. On an (H, W, 3) array the default window is 3x3x3, so it also averages
the three colours and pads that axis with zeros: red and blue lose a third of their weight.
References: Lim 1990, Two-dimensional signal and image processing, p. 548; Raynal et al. 2020, section 4.4. The
deconvolution by Wiener's filter is attacks/deconvolution.py.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.common.filters import per_image
from harness.types import Array, Generator, Guess


def wiener(observation: Observation, rng: Generator) -> Guess:
    """Every release through `scipy.signal.wiener` with its default window."""
    return Guess(candidates=rehearse.restore(observation, lambda releases: per_image(releases, local_wiener)))


def local_wiener(image: Array) -> Array:
    """SciPy's filter on an (H, W, 3) uint8 image; where a window does not vary (0 / 0) the value stays."""
    values = image.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        filtered = signal.wiener(values)
    return np.where(np.isfinite(filtered), filtered, values).round().clip(0, 255).astype(np.uint8)
