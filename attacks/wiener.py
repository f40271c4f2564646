"""SciPy's `wiener`, as the paper ran it against blur: a smoother, not a deconvolution.

It draws every value towards the mean of its window, the more the less the window varies beside the average window. It
knows no kernel and undoes no blur. On an (H, W, 3) array the default window is 3x3x3, so it averages the three colours
as well, and at the ends of that axis pads with zeros: red and blue lose a third of their colour's weight.
Reference: Lim 1990, Two-dimensional signal and image processing, p. 548; Raynal et al. 2020, section 4.4. The true
Wiener deconvolution is attacks/deconvolution.py.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.smooth import each
from harness.types import Array, Generator, Guess


def wiener(observation: Observation, rng: Generator) -> Guess:
    """Every release through `scipy.signal.wiener` with its default window."""
    return Guess(candidates=rehearse.restore(observation, lambda releases: each(releases, local_wiener)))


def local_wiener(picture: Array) -> Array:
    """(H, W, 3) uint8 to the same."""
    values = picture.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # where nothing varies, 0 / 0
        found = signal.wiener(values)
    return np.where(np.isfinite(found), found, values).round().clip(0, 255).astype(np.uint8)
