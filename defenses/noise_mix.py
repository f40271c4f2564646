"""Adding Gaussian noise and mixing. Reference: Raynal et al. 2020, section 3.4."""

import torch

from harness.errors import HarnessError
from harness.images import add_noise, average
from harness.types import Generator, Images, Sources, Weights


def noise_mix(sources: Sources, weights: Weights, rng: Generator, *, sigma: float, noise_after: bool) -> Images:
    """sum of lambda_i (x_i + z_i), z_i ~ N(0, sigma^2) per pixel and channel.

    sources      (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights      (N, k), each row sums to 1
    sigma        standard deviation of the noise, in grey levels (0-255)
    noise_after  add one draw of sigma after mixing: the paper's privacy column fits this better than its formula

    The z_i are independent and enter through their sum alone, so one draw with the standard deviation
    sigma sqrt(sum of lambda_i^2) is the same distribution at a k-th of the cost.
    """
    if not sigma >= 0:
        raise HarnessError(
            f"sigma {sigma} is not a standard deviation; use 0 or more grey levels (the paper: 10 to 40)"
        )
    scale = torch.full_like(weights[:, 0], sigma / 255)
    if not noise_after:
        scale = scale * weights.square().sum(dim=1).sqrt()
    return add_noise(average(sources, weights), scale, rng)
