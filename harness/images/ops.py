"""Operations on stacks of images that several plugins need.

Every spatial operation here is linear and separable, so it is a pair of small matrices applied to all images together,
borders included. Random operations are pure functions of images and a tensor of draws. Where a CPU has a faster way to
the same result it is in `harness.images.cpu`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.images import cpu
from harness.images.draws import Draws
from harness.types import Array, Bytes, Generator, Images, Sources, Weights


def to_images(stored: Bytes) -> Images:
    """uint8 0-255 -> float32 in [0, 1], any shape."""
    return stored.to(torch.float32, copy=True).div_(255.0)


def to_bytes(images: Images) -> Bytes:
    """float in [0, 1] -> uint8 0-255, clipped and rounded; any shape. What leaves the client is an image file."""
    if _for_kernels(images) and images.numel():
        return torch.from_numpy(cpu.rounded(images.contiguous().numpy()))
    return images.mul(255.0).round_().clamp_(0, 255).to(torch.uint8)


def gather(images: Array | Bytes, rows: Array, device: str) -> Images:
    """Rows of (N, 3, H, W) uint8 images as floats on the device; rows of any shape (...,) -> (..., 3, H, W)."""
    if device == "cpu" and (not isinstance(images, Tensor) or images.device.type == "cpu"):
        return torch.from_numpy(cpu.gathered(images.numpy() if isinstance(images, Tensor) else images, rows))
    if isinstance(images, Tensor):
        picked = images[torch.from_numpy(rows).to(images.device)]
    else:
        picked = torch.from_numpy(images[rows])
    return to_images(picked.to(device))


def round_and_check(images: Images, levels: Bytes) -> bool:
    """Whether all images are finite; if so, `levels` (uint8, of their shape, on any device) gets `to_bytes(images)`."""
    if not images.numel():
        return True
    if _for_kernels(images) and levels.device.type == "cpu":
        return cpu.round_and_check(images.contiguous().numpy(), levels.numpy())
    if not all_finite(images):
        return False
    levels.copy_(to_bytes(images))
    return True


def all_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite."""
    return not values.numel() or bool(torch.isfinite(torch.stack(values.aminmax())).all())  # NaN is its own minimum


def average(sources: Sources, weights: Weights) -> Images:
    """Weighted average of the sources, sum over i of weights_i sources_i.

    sources  (N, k, ..., H, W)
    weights  (N, k)
    returns  (N, ..., H, W)
    """
    mixed = torch.bmm(weights.to(sources.dtype).unsqueeze(1), sources.flatten(2))
    return mixed.view(sources.shape[0], *sources.shape[2:])


def shuffle_blocks(images: Images, block: int, rng: Generator) -> Images:
    """Shuffle the pixels inside every block x block square, a fresh permutation for every block of every image.

    images  (..., 3, H, W); the channels of a pixel stay together
    block   side of a square, in pixels; must divide H and W
    """
    height, width = images.shape[-2:]
    if block < 1 or height % block or width % block:
        sides = [b for b in (2, 4, 8, 16, 32) if not (height % b or width % b)]
        raise HarnessError(
            f"block {block} does not divide {height}x{width} images; use {_either(sides) or 'another image size'}"
        )
    blocks = (height // block) * (width // block)
    draws = Draws(rng).words((*images.shape[:-3], blocks, block * block))
    return shuffle_by(images, draws, block)


def shuffle_by(images: Images, draws: Tensor, block: int) -> Images:
    """Shuffle every block by its draws: a pure function. Fisher and Yates 1938, in the form of Durstenfeld 1964.

    draws   (..., blocks, block * block) integers in [0, 2^32): the i-th of a block picks one of its first i + 1 pixels
            as floor(draw (i + 1) / 2^32), to be exchanged with the i-th

    Every order of n pixels is equally likely, up to n^2 / 2^33 in total variation (5e-7 for blocks of 8 x 8).
    """
    *stack, channels, height, width = images.shape
    rows, columns, size = height // block, width // block, block * block
    images, draws = images.reshape(-1, channels, height, width), draws.reshape(-1, rows * columns, size)
    if _for_kernels(images) and cpu.loops():
        shuffled = cpu.shuffled(images.contiguous().numpy(), draws.numpy().astype(np.uint32, copy=False), block)
        return torch.from_numpy(shuffled).view(*stack, channels, height, width)
    picks = draws.reshape(-1, size).T.long() * torch.arange(1, size + 1, device=draws.device).unsqueeze(1) >> 32
    order = torch.arange(size, device=draws.device).unsqueeze(1).repeat(1, picks.shape[1])  # a column for each block
    for last in range(size - 1, 0, -1):
        picked = order.gather(0, picks[last : last + 1])
        order.scatter_(0, picks[last : last + 1], order[last : last + 1].clone())
        order[last : last + 1] = picked
    order = order.T.reshape(draws.shape)
    cut = images.view(-1, channels, rows, block, columns, block).transpose(3, 4).reshape(*images.shape[:2], -1, size)
    cut = cut.gather(-1, order.unsqueeze(1).expand(-1, channels, -1, -1))
    cut = cut.view(-1, channels, rows, columns, block, block).transpose(3, 4)
    return cut.reshape(*stack, channels, height, width)


def add_noise(images: Images, deviations: Tensor, rng: Generator) -> Images:
    """Add independent Gaussian noise to every value; `deviations` (N,) are its standard deviations, image by image."""
    noise = Draws(rng).normal(images.shape)
    return torch.addcmul(images, noise, deviations.view(-1, *[1] * (images.ndim - 1)))


def separable(images: Images, rows: Tensor, columns: Tensor) -> Images:
    """rows @ image @ columns^T for every channel of every image: (..., H, W) -> (..., rows, columns).

    In float64, because a float32 product depends on how many threads share it: a release must not.
    """
    rows, columns = rows.to(images.device), columns.to(images.device)
    return torch.matmul(torch.matmul(rows, images.double()), columns.T).to(images.dtype)


def pixelize(images: Images, grid: int) -> Images:
    """Area-average down to grid x grid cells, then enlarge by nearest neighbour (Raynal et al. 2020, section 3.5).

    `grid` is the resolution of the grid (the paper's s), not the side of a cell; it need not divide the size.
    """
    height, width = images.shape[-2:]
    if not 1 <= grid <= min(height, width):
        raise HarnessError(f"grid {grid} does not fit {height}x{width} images; use 1 to {min(height, width)}")
    if _for_kernels(images):
        return torch.from_numpy(cpu.pixelized(_planes(images), grid)).view(images.shape)
    return separable(images, _pixelize_matrix(height, grid), _pixelize_matrix(width, grid))


def blur(images: Images, kernel: int) -> Images:
    """Gaussian blur with OpenCV's borders (reflect 101) and its sigma = 0.3 ((kernel - 1) / 2 - 1) + 0.8.

    The formula holds at every size; OpenCV itself takes a fixed table for kernels up to 9 when it is given no sigma.

    kernel  side of the kernel, in pixels; odd
    """
    height, width = images.shape[-2:]
    if kernel < 1 or kernel % 2 == 0 or kernel // 2 >= min(height, width):
        raise HarnessError(
            f"kernel {kernel} does not suit {height}x{width} images; "
            f"use an odd number up to {2 * min(height, width) - 1}"
        )
    if _for_kernels(images):
        return torch.from_numpy(cpu.blurred(_planes(images), _window(kernel))).view(images.shape)
    return separable(images, _blur_matrix(height, kernel), _blur_matrix(width, kernel))


def exact_mask(draws: Tensor, p: float) -> Tensor:
    """Ones where an image's draws are among its smallest: exactly round(p n) of n, shape as the draws (N, ...)."""
    flat = draws.flatten(1)
    ones = round(p * flat.shape[1])
    if ones == 0:
        return torch.zeros_like(draws, dtype=torch.bool)
    if flat.device.type == "cpu":
        return torch.from_numpy(cpu.smallest(flat.numpy(), ones)).view(draws.shape)
    return (flat <= flat.kthvalue(ones, dim=1, keepdim=True).values).view(draws.shape)


def choose(kept: Tensor, ones: Images, zeros: Images) -> Images:
    """The values of `ones` where the mask is true and of `zeros` elsewhere: exact, since the weights are 1 and 0.

    Several times as fast as torch.where on a CPU, where a random mask defeats the branch prediction.

    kept  (N, 1 or 3, H, W) bool
    """
    return torch.lerp(zeros, ones, kept.to(zeros.dtype))


def graft_mask(sources: Sources, p: float, per: str, rng: Generator) -> Tensor:
    """The binary B of Raynal et al. 2020, section 3.2: (N, 1 or 3, H, W), a ratio p of ones.

    p    share of ones, 0 to 1
    per  "pixel" (a pixel's channels go together) or "channel" (every entry on its own)
    """
    if not 0 <= p <= 1:
        raise HarnessError(f"p {p} is not a share; use 0 to 1 (the paper: 0.5 to 0.8)")
    if per not in ("pixel", "channel"):
        raise HarnessError(f"per {per!r} is unknown; use pixel or channel")
    n, _, channels, height, width = sources.shape
    shape = (n, channels if per == "channel" else 1, height, width)
    draws, ones = Draws(rng), n * round(p * math.prod(shape[1:]))
    while True:
        mask = exact_mask(draws.words(shape), p)
        if int(mask.count_nonzero()) == ones:  # else two draws at the limit are equal: one in 10^4 to 10^6 images
            return mask


def gaussian_window(kernel: int) -> Tensor:
    """(kernel,) float64 weights that sum to 1, sigma as OpenCV derives it from the size."""
    sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8
    offsets = torch.arange(kernel, dtype=torch.float64) - kernel // 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return weights / weights.sum()


def _for_kernels(images: Images) -> bool:
    """Whether `harness.images.cpu` applies: only to float32 on the CPU without gradients."""
    return images.device.type == "cpu" and images.dtype == torch.float32 and not images.requires_grad


def _planes(images: Images) -> Array:
    """(..., H, W) -> (n, H, W)."""
    return images.reshape(-1, *images.shape[-2:]).contiguous().numpy()


@lru_cache(maxsize=32)
def _window(kernel: int) -> Array:
    window: Array = gaussian_window(kernel).float().numpy()
    return window


@lru_cache(maxsize=32)
def _blur_matrix(size: int, kernel: int) -> Tensor:
    reach = kernel // 2
    positions = torch.arange(size).unsqueeze(1) + torch.arange(-reach, reach + 1)
    positions = positions.abs()
    positions = torch.where(positions >= size, 2 * (size - 1) - positions, positions)
    weights = gaussian_window(kernel).expand(size, kernel)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, positions, weights)


@lru_cache(maxsize=32)
def _pixelize_matrix(size: int, grid: int) -> Tensor:
    edges = torch.arange(grid + 1, dtype=torch.float64) * size / grid
    pixels = torch.arange(size, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    down = overlap.clamp_(min=0) * grid / size
    return down[torch.arange(size) * grid // size]


def _either(values: list[int]) -> str:
    words = [str(value) for value in values]
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
