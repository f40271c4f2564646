"""Rows, columns or blocks put into an order of its own for every image, and sorted again by how well borders match.

References: a shortest path through the rows, improved by 2-opt, Croes 1958; jigsaw puzzles of square pieces by merging
the surest neighbours first, Gallagher 2012, with the frame's size known; dissimilarity of borders by powers of
differences, Pomeranz, Shemesh, Ben-Shahar 2011.
Differences to the originals: the powers are 1/2, predicted and plain differences are averaged, and pieces are exchanged
in pairs in the end.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from harness.types import Array, Bytes

MOST_BLOCKS = 256
"""More pieces than these are not put together."""
_ROUGH = 1.15  # times rougher than elsewhere are borders of blocks
_EXHAUSTED = 4  # pieces of which all orders are tried
_NEIGHBOURS = 6  # of a piece on each side that are considered
_EXCHANGES = 60
_NEVER = 1e3  # cost of a piece beside itself
_CHUNK = 32


def in_order(images: Bytes) -> Bytes:
    """(n, 3, H, W) uint8 with the rows in a short path from neighbour to neighbour, from either end."""
    return torch.cat([_rows_in_order(chunk) for chunk in images.split(_CHUNK)])


def columns_in_order(images: Bytes) -> Bytes:
    """The same for columns."""
    return in_order(images.transpose(2, 3)).transpose(2, 3).contiguous()


def block_side(images: Bytes, natural: Bytes) -> int | None:
    """Side of the square blocks at whose borders the images are roughest, in pixels; None where no grid shows.

    natural  (m, 3, H, W) uint8 images without blocks: a grid that they have too (of a codec, of scaling) does not count
    """
    found, usual = _roughness_at_borders(images), _roughness_at_borders(natural)
    ratios = {side: found[side] / usual[side] for side in found}
    side = max(ratios, key=ratios.__getitem__, default=None)
    return side if side is not None and ratios[side] > _ROUGH else None


def _roughness_at_borders(images: Bytes) -> dict[int, float]:
    """By the side of square blocks: how much larger differences across their borders are than within them."""
    height, width = images.shape[2:]
    floats = images.float()
    steps = floats.diff(dim=2).abs().mean((0, 1, 3)), floats.diff(dim=3).abs().mean((0, 1, 2))  # after each row, column
    ratios = {}
    for side in range(2, max(height, width) // 2 + 1):
        if height % side or width % side or height * width // side**2 > MOST_BLOCKS:
            continue
        borders = [(torch.arange(len(along), device=along.device) + 1) % side == 0 for along in steps]
        pairs = list(zip(steps, borders, strict=True))
        at, off = (sum(float(along[chosen].mean()) for along, chosen in part) for part in (pairs, _others(pairs)))
        ratios[side] = at / max(off, 1e-6)
    return ratios


def _others(pairs: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    return [(along, ~chosen) for along, chosen in pairs]


def assembled(images: Bytes, side: int) -> Bytes:
    """(n, 3, H, W) uint8 with its square blocks in the order in which their borders match best."""
    return torch.cat([_assembled(chunk, side) for chunk in images.split(_CHUNK)])


def to_blocks(images: Tensor, side: int) -> Tensor:
    """(n, 3, H, W) -> (n, blocks, 3, side, side), row by row."""
    cut = images.unfold(2, side, side).unfold(3, side, side)  # (n, 3, rows, columns, side, side)
    return torch.flatten(cut.permute(0, 2, 3, 1, 4, 5), 1, 2)


def from_blocks(blocks: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `to_blocks`."""
    side = blocks.shape[-1]
    grid = blocks.unflatten(1, (height // side, width // side))
    return torch.reshape(grid.permute(0, 3, 1, 4, 2, 5), (len(blocks), -1, height, width))


def border_costs(blocks: Tensor, turned: bool = False) -> Tensor:
    """(n, blocks, blocks) float32: how badly the second block continues the first to its right; turned: below it."""
    pieces = blocks.float().transpose(-1, -2) if turned else blocks.float()
    last, first = pieces[..., -1], pieces[..., 0]
    slope_out = last - pieces[..., -2]
    slope_in = pieces[..., 1] - first
    edge = (*last.shape[:2], -1)
    last, first, slope_out, slope_in = (part.reshape(edge) for part in (last, first, slope_out, slope_in))
    costs = []
    for start in range(0, last.shape[1], _CHUNK):
        rows = slice(start, start + _CHUNK)
        step = first.unsqueeze(1) - last[:, rows].unsqueeze(2)
        surprise = step - (slope_out[:, rows].unsqueeze(2) + slope_in.unsqueeze(1)) / 2
        costs.append((step.abs().sqrt() + surprise.abs().sqrt()).mean(3))
    cost = torch.cat(costs, 1)
    itself = torch.eye(cost.shape[1], dtype=torch.bool, device=cost.device)
    return cost.masked_fill(itself, _NEVER)


def _rows_in_order(images: Bytes) -> Bytes:
    rows = images.float().transpose(1, 2).flatten(2)  # (n, H, 3 W)
    apart = torch.stack([(rows - rows[:, place : place + 1]).abs().sqrt().mean(2) for place in range(rows.shape[1])], 1)
    order = _shorter(apart, _nearest_neighbours(apart))
    return images.gather(2, order.view(len(images), 1, -1, 1).expand(images.shape))


def _nearest_neighbours(apart: Tensor) -> Tensor:
    """(n, H) a chain that grows at either end."""
    n, count = apart.shape[:2]
    every = torch.arange(n, device=apart.device)
    chain = torch.zeros(n, 2 * count, dtype=torch.long, device=apart.device)
    head = tail = torch.full((n,), count, device=apart.device)
    free = torch.ones(n, count, dtype=torch.bool, device=apart.device)
    free[:, 0] = False
    for _ in range(count - 1):
        ends = torch.stack([chain[every, head], chain[every, tail]], 1)
        reach = apart.gather(1, ends.unsqueeze(2).expand(-1, -1, count))
        nearest = reach.masked_fill(~free.unsqueeze(1), float("inf")).flatten(1).argmin(1)
        at_tail, row = nearest >= count, nearest % count
        head, tail = head - (~at_tail).long(), tail + at_tail.long()
        chain[every, torch.where(at_tail, tail, head)] = row
        free[every, row] = False
    return chain.gather(1, head.unsqueeze(1) + torch.arange(count, device=apart.device))


def _shorter(apart: Tensor, order: Tensor) -> Tensor:
    """2-opt: stretches of the path are reversed as long as that shortens it; the steepest first."""
    n, count = order.shape
    apart = torch.nn.functional.pad(apart, (0, 1, 0, 1))  # one more place, at no distance, joins the ends to a cycle
    tour = torch.cat([order, torch.full((n, 1), count, device=order.device)], 1)
    places = torch.arange(count + 1, device=order.device)
    later = places.unsqueeze(1) < places
    every = torch.arange(n, device=order.device).view(-1, 1, 1)
    for _ in range(3 * count):
        following = tour.roll(-1, 1)
        step = apart[every.squeeze(2), tour, following]
        crossed = apart[every, tour.unsqueeze(2), tour.unsqueeze(1)]
        crossed = crossed + apart[every, following.unsqueeze(2), following.unsqueeze(1)]
        gain = (step.unsqueeze(2) + step.unsqueeze(1) - crossed).masked_fill(~later, 0)
        best, where = gain.flatten(1).max(1)
        if not bool((best > 1e-4).any()):
            break
        first, last = (where // (count + 1)).unsqueeze(1), (where % (count + 1)).unsqueeze(1)
        inside = (places > first) & (places <= last) & (best > 1e-4).unsqueeze(1)
        tour = tour.gather(1, torch.where(inside, first + 1 + last - places, places.expand(n, -1)))
    start = (tour == count).long().argmax(1, keepdim=True)
    return tour.gather(1, (start + 1 + torch.arange(count, device=order.device)) % (count + 1))


def _assembled(images: Bytes, side: int) -> Bytes:
    height, width = images.shape[2:]
    rows, columns = height // side, width // side
    blocks = to_blocks(images, side)
    right, below = border_costs(blocks), border_costs(blocks, turned=True)
    if rows * columns <= _EXHAUSTED:
        every = torch.tensor(list(permutations(range(rows * columns))), device=images.device)
        totals = torch.stack([_total(right, below, order.expand(len(images), -1), columns) for order in every], 1)
        order = every[totals.argmin(1)]
    else:
        pairs = zip(right.cpu().numpy(), below.cpu().numpy(), strict=True)
        orders = np.stack([_merged(across, down, rows, columns) for across, down in pairs])
        order = _exchanged(right, below, torch.from_numpy(orders).to(images.device), columns)
    picked = blocks.gather(1, order.view(*order.shape, 1, 1, 1).expand(blocks.shape))
    return from_blocks(picked, height, width)


def _total(right: Tensor, below: Tensor, order: Tensor, columns: int) -> Tensor:
    """(n,) sum of the costs of all borders of (n, blocks) orders."""
    grid = order.unflatten(1, (-1, columns))
    every = torch.arange(len(order), device=order.device).view(-1, 1, 1)
    across, down = right[every, grid[:, :, :-1], grid[:, :, 1:]], below[every, grid[:, :-1], grid[:, 1:]]
    return across.sum((1, 2)) + down.sum((1, 2))


def _merged(right: Array, below: Array, rows: int, columns: int) -> Array:
    """(blocks,) which piece is at which place: the surest pairs of neighbours are joined first, inside the frame."""
    count = len(right)
    where = {piece: (piece, 0, 0) for piece in range(count)}  # cluster, row, column in it
    members = {piece: [piece] for piece in range(count)}
    for _, first, second, down, across in sorted(_pairs(right, 0, 1) + _pairs(below, 1, 0)):
        one, row, column = where[first]
        other, to_row, to_column = where[second]
        if one == other:
            continue
        by = (row + down - to_row, column + across - to_column)
        moved = {(where[piece][1] + by[0], where[piece][2] + by[1]) for piece in members[other]}
        taken = {where[piece][1:] for piece in members[one]}
        if moved & taken or not _fits(moved | taken, rows, columns):
            continue
        for piece in members[other]:
            where[piece] = (one, where[piece][1] + by[0], where[piece][2] + by[1])
        members[one] += members.pop(other)
    return _filled(where, max(members.values(), key=len), right, below, rows, columns)


def _pairs(cost: Array, down: int, across: int) -> list[tuple[float, int, int, int, int]]:
    """(doubt, first, second, down, across) of the likeliest neighbours; the doubt is small where no other fits."""
    count = len(cost)
    best = np.sort(cost, 1)[:, :2], np.sort(cost, 0)[:2]
    after = np.where(cost <= best[0][:, :1], best[0][:, 1:], best[0][:, :1])  # the best of the others in its row,
    before = np.where(cost <= best[1][:1], best[1][1:], best[1][:1])  # and in its column
    doubt = cost / np.maximum(np.minimum(after, before), 1e-6)
    likely = np.argsort(doubt, 1)[:, :_NEIGHBOURS]
    return [(float(doubt[a, b]), a, int(b), down, across) for a in range(count) for b in likely[a] if a != b]


def _fits(places: set[tuple[int, int]], rows: int, columns: int) -> bool:
    down, across = [place[0] for place in places], [place[1] for place in places]
    return max(down) - min(down) < rows and max(across) - min(across) < columns


def _filled(
    where: dict[int, tuple[int, int, int]], largest: list[int], right: Array, below: Array, rows: int, columns: int
) -> Array:
    """The largest cluster in the middle of its room, and the other pieces where they fit, the surest place first."""
    down, across = [where[piece][1] for piece in largest], [where[piece][2] for piece in largest]
    top = -min(down) + (rows - (max(down) - min(down) + 1)) // 2
    left = -min(across) + (columns - (max(across) - min(across) + 1)) // 2
    grid = np.full((rows + 2, columns + 2), -1)
    for piece in largest:
        grid[where[piece][1] + top + 1, where[piece][2] + left + 1] = piece
    rest = sorted(set(where) - set(largest))
    while rest:
        places = [(int(r), int(c)) for r, c in np.argwhere(grid[1:-1, 1:-1] < 0) + 1]
        around = {place: [grid[place[0] + dr, place[1] + dc] for dr, dc in _SIDES] for place in places}
        row, column = max(places, key=lambda place: sum(piece >= 0 for piece in around[place]))
        costs = np.zeros(len(rest))
        for piece, matrix, forward in zip(around[row, column], (right, right, below, below), (1, 0, 1, 0), strict=True):
            if piece >= 0:
                costs += matrix[piece, rest] if forward else matrix[rest, piece]
        grid[row, column] = rest.pop(int(costs.argmin()))
    return grid[1:-1, 1:-1].reshape(-1)


_SIDES = ((0, -1), (0, 1), (-1, 0), (1, 0))


def _exchanged(right: Tensor, below: Tensor, order: Tensor, columns: int) -> Tensor:
    """Two pieces change places as long as that lowers the total cost; the best pair first."""
    n, count = order.shape
    every = torch.arange(n, device=order.device)
    total = _total(right, below, order, columns)
    for _ in range(_EXCHANGES):
        fit = _costs_at(right, below, order, columns)  # (n, places, pieces)
        at = fit.gather(2, order.unsqueeze(1).expand(-1, count, -1))  # (n, place, place whose piece would stand there)
        own = at.diagonal(dim1=1, dim2=2)
        gain = own.unsqueeze(2) + own.unsqueeze(1) - at - at.transpose(1, 2)
        pair = gain.flatten(1).argmax(1)
        first, second = pair // count, pair % count
        tried = order.clone()
        tried[every, first], tried[every, second] = order[every, second], order[every, first]
        after = _total(right, below, tried, columns)
        better = after < total - 1e-4
        if not bool(better.any()):
            break
        order, total = torch.where(better.unsqueeze(1), tried, order), torch.where(better, after, total)
    return order


def _costs_at(right: Tensor, below: Tensor, order: Tensor, columns: int) -> Tensor:
    """(n, places, pieces) cost of each piece at each place beside the neighbours that are there now."""
    n, count = order.shape
    grid = torch.arange(count, device=order.device).view(-1, columns)
    fit = torch.zeros(n, count, count, device=right.device)
    every = torch.arange(n, device=order.device).view(-1, 1)
    for cost, here, there in (
        (right, grid[:, 1:], grid[:, :-1]),
        (right.transpose(1, 2), grid[:, :-1], grid[:, 1:]),
        (below, grid[1:], grid[:-1]),
        (below.transpose(1, 2), grid[:-1], grid[1:]),
    ):
        fit[:, here.flatten()] += cost[every, order[:, there.flatten()]]
    return fit
