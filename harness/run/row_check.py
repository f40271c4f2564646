"""Is every released image made of its own sources alone? What a row is scored against rests on it.

A defense gets stacks of rows. One that shows in a row what stands in another (the image before, the chunk before) would
be scored against originals that it does not show, and look private. The same rows are obfuscated twice with the same
random numbers, once with other content in half of them: the others must come out the same. Where they do not, the
random numbers themselves may depend on the content (Poisson noise): then their means over many draws are compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harness.client.client import Client
from harness.randomness import derive, numpy_generator, torch_generator
from harness.registry import Entry
from harness.release import Scheme, apply, chunk_size, gather
from harness.types import Array, Images, Sources, Weights

SAID = "a released image depends on others than its own sources"
_MOST = 64  # rows of each of the two calls
_FEW = 8  # the same where many draws are averaged
_DRAWS = 32
_SAME = 0.5 / 255  # of a pixel: less is the rounding of sums in another order
_CHANGED = 0.001  # share of the pixels of unchanged rows that may differ by more
_EXCESS = 10.0  # times the squared standard error of its mean: more is a difference of a row


def depends_on_others(client: Client, defense: Entry, seed: int) -> bool:
    """Whether rows of release 0 change with the content of other rows, of their own call or of the one before."""
    scheme, (release, secret) = client.scheme(defense), client.release(defense, seed, 0)
    most = min(_MOST, chunk_size(scheme.sources, tuple(release.images.shape), client.device), len(release) // 2)
    if most < 1:
        return False
    if _differs(client, scheme, secret.sources, secret.shares, most, 1) <= _CHANGED:
        return False
    return _differs(client, scheme, secret.sources, secret.shares, min(most, _FEW), _DRAWS) > _EXCESS


def _differs(client: Client, scheme: Scheme, sources: Array, shares: Array, most: int, draws: int) -> float:
    """Of the rows whose own sources stay: by how much they change when others' do.

    With one draw the share of their pixels that change; with more, of the row that changes most the squared difference
    of the means in units of its expectation.
    """
    device = client.device
    calls = [slice(0, most), slice(most, 2 * most)]
    stacks = [gather(client.splits.private.images, sources[rows], device) for rows in calls]
    weights = [torch.from_numpy(shares[rows]).to(device) for rows in calls]
    changed = torch.from_numpy(numpy_generator(derive(b"", "row check")).random(most) < 0.5).to(device)
    others = [torch.where(changed.view(-1, 1, 1, 1, 1), 1 - stacks[0], stacks[0]), stacks[1]]
    before, after = (
        [_outputs(scheme, some, weights, draw, device) for draw in range(draws)] for some in (stacks, others)
    )
    stays = torch.cat([~changed, torch.ones(most, dtype=torch.bool, device=device)])
    one, other = (torch.stack(some)[:, stays] for some in (before, after))
    if not bool(stays.any()):
        return 0.0
    if draws == 1:
        return float(((one - other).abs() > _SAME).float().mean())
    apart = (one.mean(0) - other.mean(0)).square().mean((1, 2, 3))
    expected = ((one.var(0) + other.var(0)) / draws).mean((1, 2, 3))
    return float((apart / expected.clamp(min=_SAME**2)).max())


def _outputs(scheme: Scheme, stacks: Sequence[Sources], weights: Sequence[Weights], draw: int, device: str) -> Images:
    """Both calls of a defense, one after the other, with the random numbers of this draw."""
    parts = [
        apply(scheme, stack, share, torch_generator(derive(b"", "row check", draw, number), device)).detach()
        for number, (stack, share) in enumerate(zip(stacks, weights, strict=True))
    ]
    return torch.cat(parts)
