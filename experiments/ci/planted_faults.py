"""Defenses that must fail, each of a kind that one guard of the verdict is there for: if it falls silent, one passes.

What a defense picks by the picture, it picks by a hash: the same on every seed.
"""

from __future__ import annotations

import hashlib

import torch
from torch.nn import functional

from harness.images import to_bytes
from harness.types import Generator, Images, Mixture, Sources, Weights


def few_in_wrong_rows(sources: Sources, weights: Weights, rng: Generator, *, share: float, negative: bool) -> Images:
    """Uniform noise, and the picture of the row before in a few rows.

    sources   (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights   (N, k), each row sums to 1
    share     of the pictures, in [0, 1]
    negative  whether they are inverted
    """
    pictures = sources[:, 0].roll(1, 0)
    shown = 1 - pictures if negative else pictures
    return torch.where(_chosen(pictures, share), shown, noise(sources, rng))


def other_when_rehearsed(sources: Sources, weights: Weights, rng: Generator, *, rows: int) -> Images:
    """Uniform noise, but a call with this number of rows gets its pictures back.

    sources  (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights  (N, k), each row sums to 1
    rows     how many an attack rehearses
    """
    return sources[:, 0].clone() if len(sources) == rows else noise(sources, rng)


def zoomed_and_tilted(sources: Sources, weights: Weights, rng: Generator, *, zoom: float) -> Images:
    """Every picture enlarged and turned by its own angle, 15 to 75 degrees either way.

    sources  (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights  (N, k), each row sums to 1
    zoom     1 is the size that it has
    """
    pictures = sources[:, 0]
    drawn = torch.rand(2, len(pictures), generator=rng, device=pictures.device)
    angle = torch.deg2rad(15 + 60 * drawn[0]) * torch.where(drawn[1] < 0.5, -1, 1)
    cosine, sine, none = angle.cos() / zoom, angle.sin() / zoom, torch.zeros_like(angle)
    turn = torch.stack([cosine, -sine, none, sine, cosine, none], 1).view(-1, 2, 3)
    grid = functional.affine_grid(turn, list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def permuted_negative(sources: Sources, weights: Weights, rng: Generator) -> Images:
    """The negative of every picture, its rows and columns in an order that is the same for all.

    sources  (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights  (N, k), each row sums to 1
    """
    height, width = sources.shape[-2:]
    fixed = torch.Generator().manual_seed(20)
    rows, columns = (torch.randperm(side, generator=fixed).to(sources.device) for side in (height, width))
    return 1 - sources[:, 0][:, :, rows][:, :, :, columns]


def unscored_shown(sources: Sources, weights: Weights, rng: Generator, *, share: float) -> Images:
    """Uniform noise, and a few pictures in rows of their own.

    sources  (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights  (N, k), each row sums to 1
    share    of the pictures, in [0, 1]
    """
    return torch.where(_chosen(sources[:, 0], share), sources[:, 0], noise(sources, rng))


def picture_in_the_label(sources: Sources, weights: Weights, rng: Generator) -> Mixture:
    """Uniform noise, and the mean of the first source in the low bits of its share.

    sources  (N, k, 3, H, W) float32 in [0, 1], dominant source first; k is 2
    weights  (N, k), each row sums to 1
    """
    share = weights[:, 0] + (sources[:, 0].mean((1, 2, 3)) * 2**15).floor() * 2.0**-24
    return Mixture(noise(sources, rng), torch.stack([share, 1 - share], 1))


def noise(sources: Sources, rng: Generator) -> Images:
    """Uniform, as many images as there are stacks."""
    return torch.rand(sources[:, 0].shape, generator=rng, device=sources.device)


def _chosen(pictures: Images, share: float) -> torch.Tensor:
    """(N, 1, 1, 1) whether a hash of the picture is among this share of all."""
    digests = (hashlib.sha256(picture.cpu().numpy().tobytes()).digest() for picture in to_bytes(pictures))
    among = [int.from_bytes(digest[:8], "big") < share * 2**64 for digest in digests]
    return torch.tensor(among, device=pictures.device).view(-1, 1, 1, 1)
