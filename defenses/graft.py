"""Grafting alone: every pixel from one of two images. Reference: Raynal et al. 2020, section 3.2."""

import torch

from harness.errors import HarnessError
from harness.images import choose, graft_mask
from harness.types import Generator, Mixture, Sources, Weights


def graft(sources: Sources, weights: Weights, rng: Generator, *, p: float, per: str) -> Mixture:
    """B x_i + (1 - B) x_j, with B binary. The shares are (p, 1 - p); the plan's weights have no part in it.

    sources  (N, 2, 3, H, W) float32 in [0, 1]
    weights  (N, 2)
    p        share of pixels from the first source
    per      "pixel" or "channel": whether a pixel's three channels are grafted together
    """
    if sources.shape[1] != 2:
        raise HarnessError(f"graft takes two sources, got {sources.shape[1]}; give two weights")
    kept = graft_mask(sources, p, per, rng)
    shares = torch.tensor([p, 1 - p], dtype=weights.dtype, device=weights.device).expand(weights.shape)
    return Mixture(choose(kept, sources[:, 0], sources[:, 1]), shares)
