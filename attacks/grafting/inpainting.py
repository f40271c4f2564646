"""A grafted release with its mixed pixels replaced, and the other source solved for from what they held.

With the share of unmixed pixels uncertain, every method weighs by belief. `shift` keeps a mixed pixel's own detail:
the mixture m = lambda a + (1 - lambda) b around its smooth surface M says of a - A what a Wiener estimate can take,
c (m - M) with c = lambda / (lambda^2 + (1 - lambda)^2) for sources of equal variance. Reference: Raynal et al. 2020,
section 3.2; Telea 2004 (inpainting).
"""

from __future__ import annotations

from torch import Tensor

from harness.plugins.attacks.grafting.masks_em import inpainted, median, normalised
from harness.types import Images

METHODS = ("look", "median", "convolve", "inpaint", "shift")
REST = (0.8, 1.5, 3.0)
"""Widths in pixels that the second source is smoothed by; one is chosen."""
_WIDTH = 1.0  # of a fill, in pixels


def dominant(images: Images, belief: Tensor, share: float, method: str) -> Images:
    """The dominant source.

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


def remainder(images: Images, belief: Tensor, share: float, found: Images, sigma: float) -> Images:
    """The other source, (m - lambda a) / (1 - lambda) at the mixed pixels, smoothed over a window of sigma pixels.

    found  the dominant source, as solved for
    """
    rest = (images - share * found) / max(1 - share, 1e-3)
    return normalised(rest.clamp_(-0.25, 1.25), 1 - belief, sigma).clamp_(0, 1)
