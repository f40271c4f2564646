"""Blurring and mixing. Reference: Raynal et al. 2020, section 3.6."""

from harness.images import average, blur
from harness.types import Generator, Images, Sources, Weights


def blur_mix(sources: Sources, weights: Weights, rng: Generator, *, kernel: int) -> Images:
    """Average the sources, then blur once: the two commute.

    sources  (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights  (N, k), each row sums to 1
    kernel   side of the Gaussian kernel (the paper's k), in pixels; odd; its sigma is 0.3 ((k - 1) / 2 - 1) + 0.8
    """
    return blur(average(sources, weights), kernel)
