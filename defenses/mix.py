"""Mixing: a weighted average of two or more images. Reference: Raynal et al. 2020, section 3.1; Zhang et al. 2018."""

from harness.images import average
from harness.types import Generator, Images, Sources, Weights


def mix(sources: Sources, weights: Weights, rng: Generator) -> Images:
    """Average the sources; with one source of weight 1 it is the undefended image.

    sources  (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights  (N, k), each row sums to 1
    """
    return average(sources, weights)
