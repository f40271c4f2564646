"""Filling the mixed pixels of a grafted release, and solving for the other source from the mixed pixels.

Which pixels are unmixed is uncertain, so every method weighs by the probability. `shift` keeps a mixed pixel's own
detail: where the mixture is m = lambda a + (1 - lambda) b and A, M are the smooth surfaces of a and m, the Wiener
estimate of a - A is c (m - M) with c = lambda / (lambda^2 + (1 - lambda)^2) for sources of equal variance.
References: Raynal et al. 2020, section 3.2; Telea 2004 (inpainting).
"""

from __future__ import annotations

from torch import Tensor

from harness.plugins.attacks.grafting.masks_em import inpainted, median, normalised
from harness.types import Images

METHODS = ("look", "median", "convolve", "inpaint", "shift")
REST = (0.8, 1.5, 3.0)
"""Widths of the window that smooths the second source, in pixels; rehearsals choose one."""
_WIDTH = 1.0  # of the window that fills, in pixels


def dominant(images: Images, belief: Tensor, share: float, method: str) -> Images:
    """The dominant source, (N, 3, H, W) in [0, 1].

    images  (N, 3, H, W) grafted releases in [0, 1]
    belief  (N, 1 or 3, H, W) probability of a pixel to be unmixed
    share   of the dominant source in a mixed pixel (lambda), 0 to 1
    method  look (the release), median (3x3), convolve (normalised convolution), inpaint (OpenCV), shift
    """
    if method == "look":
        return images
    if method == "median":
        return median(images, 3)
    if method == "inpaint":
        return inpainted(images, belief >= 0.5)
    fill = normalised(images, belief, _WIDTH)
    if method == "shift":
        mixed = normalised(images, 1 - belief, _WIDTH)
        fill = fill + (images - mixed) * (share / (share**2 + (1 - share) ** 2))
    return (belief * images + (1 - belief) * fill).clamp_(0, 1)


def remainder(images: Images, belief: Tensor, share: float, first: Images, sigma: float) -> Images:
    """The other source, (m - lambda a) / (1 - lambda) at the mixed pixels, smoothed over a window of sigma pixels.

    images, belief, share  as for `dominant`
    first                  (N, 3, H, W) estimate of the dominant source
    """
    rest = (images - share * first) / max(1 - share, 1e-3)
    return normalised(rest.clamp_(-0.25, 1.25), 1 - belief, sigma).clamp_(0, 1)
