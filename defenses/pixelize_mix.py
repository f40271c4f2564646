"""Pixelizing and mixing. Reference: Raynal et al. 2020, section 3.5."""

from harness.images import average, pixelize
from harness.types import Generator, Images, Sources, Weights


def pixelize_mix(sources: Sources, weights: Weights, rng: Generator, *, grid: int) -> Images:
    """Average the sources, then pixelize once: the two commute.

    sources  (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights  (N, k), each row sums to 1
    grid     cells along each side (the paper's s): fewer hide more
    """
    return pixelize(average(sources, weights), grid)
