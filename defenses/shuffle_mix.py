"""Shuffling pixels in small blocks, then mixing. Reference: Raynal et al. 2020, section 3.3."""

from harness.images import average, shuffle_blocks
from harness.types import Generator, Images, Sources, Weights


def shuffle_mix(sources: Sources, weights: Weights, rng: Generator, *, block: int) -> Images:
    """Average the sources after shuffling the pixels inside every block.

    sources  (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights  (N, k), each row sums to 1
    block    side of a block (the paper's b), in pixels; must divide H and W
    """
    return average(shuffle_blocks(sources, block, rng), weights)
