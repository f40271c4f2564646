"""Which originals each release mixes, and with which shares, given an estimate of every original.

A beam search: the source with the largest share first, then those that best explain the rest. An original assigned to
more releases of an epoch than the protocol allows gets a price, raised until it is not (the auction algorithm for the
assignment problem, Bertsekas 1988), so no N x N matrix is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

BEAM = 3
_CHUNK = 512
_ROUNDS = 6  # of the auction
_STEP = 0.05  # of a release's squared norm: by how much each surplus release raises a price


def assign(releases: Tensor, originals: Tensor, vectors: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Assign originals to the releases of one epoch.

    releases   (N, d) features
    originals  (K, d) estimated features of every original
    vectors    (S, k) share vectors that may occur, each sorted downwards
    most       how many releases of an epoch an original may be in
    returns    sources (N, k), shares (N, k) and the squared residual (N,)
    """
    prices = torch.zeros(len(originals), device=originals.device)
    step = _STEP * float(releases.square().sum(1).median())
    sources, shares, residual = _search(releases, originals, vectors, prices)
    for _ in range(_ROUNDS):
        surplus = (torch.bincount(sources.flatten(), minlength=len(originals)) - most).clamp(min=0)
        affected = (surplus[sources] > 0).any(1)
        if not bool(affected.any()):
            break
        prices += step * surplus
        # a higher price concerns only the releases that are assigned the original
        updated = _search(releases[affected], originals, vectors, prices)
        for values, new in zip((sources, shares, residual), updated, strict=True):
            values[affected] = new
    return sources, shares, residual


def _search(releases: Tensor, originals: Tensor, vectors: Tensor, prices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best sources and shares at these prices; the residual is without the prices."""
    blocks = [_search_block(block, originals, vectors, prices) for block in releases.split(_CHUNK)]
    sources, shares = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    explained = torch.einsum("nk,nkd->nd", shares, originals[sources])
    return sources, shares, (releases - explained).square().sum(1)


def _search_block(block: Tensor, originals: Tensor, vectors: Tensor, prices: Tensor) -> tuple[Tensor, Tensor]:
    products, squares = block @ originals.T, originals.square().sum(1)
    results = [_beam(products, originals, squares, vector, prices) for vector in vectors]
    best = torch.stack([cost for _, cost in results], 1).argmin(1)
    rows = torch.arange(len(block), device=block.device)
    return torch.stack([sources for sources, _ in results], 1)[rows, best], vectors[best]


def _beam(
    products: Tensor, originals: Tensor, squares: Tensor, vector: Tensor, prices: Tensor
) -> tuple[Tensor, Tensor]:
    """Sources (n, k) in the order of the shares, and their cost (n,): squared residual up to a constant, and prices."""
    n, k = len(products), len(vector)
    beams = [(torch.empty(n, 0, dtype=torch.int64, device=products.device), products, products.new_zeros(n))]
    for level in range(k):
        share = vector[level]
        width = max(1, min(BEAM - level, len(originals))) if level < k - 1 else 1
        grown = []
        for sources, remaining, cost in beams:
            added = share**2 * squares + prices - 2 * share * remaining
            if level:
                added = added.scatter(1, sources, float("inf"))
            values, rows = added.topk(width, dim=1, largest=False)
            for column in range(width):
                chosen = rows[:, column]
                after = remaining - share * (originals[chosen] @ originals.T) if level < k - 1 else remaining
                grown.append((torch.cat([sources, chosen[:, None]], 1), after, cost + values[:, column]))
        beams = grown
    costs = torch.stack([cost for *_, cost in beams], 1)
    winner = costs.argmin(1)
    sources = torch.stack([chosen for chosen, *_ in beams], 1)
    rows = torch.arange(n, device=products.device)
    return sources[rows, winner], costs[rows, winner]
