"""Mixing, then grafting pixels of the dominant source back. Reference: Raynal et al. 2020, section 3.2."""

from harness.images import average, choose, graft_mask
from harness.types import Generator, Mixture, Sources, Weights


def graft_mix(sources: Sources, weights: Weights, rng: Generator, *, p: float, per: str) -> Mixture:
    """B x_i + (1 - B) mix, with B binary; the dominant source's share becomes p + (1 - p) lambda.

    sources  (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights  (N, k), each row sums to 1
    p        share of pixels that stay unmixed
    per      "pixel" or "channel": whether a pixel's three channels are grafted together
    """
    kept = graft_mask(sources, p, per, rng)
    shares = (1 - p) * weights
    shares[:, 0] += p
    return Mixture(choose(kept, sources[:, 0], average(sources, weights)), shares)
