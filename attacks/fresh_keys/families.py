"""Secrets with few values, drawn for every image: a byte, a sign, a pose, an order of the channels, a rotation of bits.

Each is a `Family` of the changes that would undo it; naturalness finds the value (attacks.fresh_keys.naturalness).
"""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from harness.plugins.attacks.fresh_keys.naturalness import Family
from harness.types import Bytes

_ORDERS = tuple(permutations(range(3)))


def xored(images: Bytes, values: Tensor) -> Bytes:
    """Exclusive or with a byte per image."""
    return images ^ _bytes(values)


def shifted_levels(images: Bytes, values: Tensor) -> Bytes:
    """A byte per image added to every grey level, modulo 256."""
    return images + _bytes(values)


def inverted(images: Bytes, values: Tensor) -> Bytes:
    """Images whose value is 1 become negatives."""
    return images ^ _bytes(255 * values)


def inverted_channels(images: Bytes, values: Tensor) -> Bytes:
    """Channels become negatives where their bit of the value (0 to 7) is set."""
    bits = values.unsqueeze(1) >> torch.arange(3, device=values.device) & 1
    return images ^ (255 * bits).to(torch.uint8).view(-1, 3, 1, 1)


def posed(images: Bytes, values: Tensor) -> Bytes:
    """One of eight poses: bit 0 mirrors left and right, bit 1 upside down, bit 2 transposes (square images only)."""
    across, down, transposed = ((values >> bit & 1).bool().view(-1, 1, 1, 1) for bit in range(3))
    changed = torch.where(across, images.flip(3), images)
    changed = torch.where(down, changed.flip(2), changed)
    return torch.where(transposed, changed.transpose(2, 3), changed) if bool(transposed.any()) else changed


def ordered_channels(images: Bytes, values: Tensor) -> Bytes:
    """One of the six orders of the channels."""
    orders = torch.tensor(_ORDERS, device=images.device)[values]
    return images.gather(1, orders.view(-1, 3, 1, 1).expand(images.shape))


def rotated_bits(images: Bytes, values: Tensor) -> Bytes:
    """The bits of every byte rotated to the left by 0 to 7 places."""
    wide, by = images.int(), values.int().view(-1, 1, 1, 1)
    return ((wide << by | wide >> (8 - by)) & 255).to(torch.uint8)


def multiplied(images: Bytes, values: Tensor) -> Bytes:
    """Every byte times the odd number 2 value + 1, modulo 256: the inverse of such a product is another."""
    return images * _bytes(2 * values + 1)


def families(height: int, width: int) -> tuple[Family, ...]:
    """Those that images of this size allow, the small ones first."""
    poses = 8 if height == width else 4
    return (
        Family("an inversion of its own for every image", 2, inverted),
        Family("flips and turns of its own for every image", poses, posed),
        Family("an order of the channels of its own for every image", 6, ordered_channels),
        Family("inverted channels of its own for every image", 8, inverted_channels),
        Family("a rotation of bits of its own for every image", 8, rotated_bits),
        Family("exclusive or with a byte of its own for every image", 256, xored),
        Family("grey levels shifted modulo 256 by a byte of its own for every image", 256, shifted_levels),
        Family("grey levels multiplied modulo 256 by an odd byte of its own for every image", 128, multiplied),
    )


def _bytes(values: Tensor) -> Tensor:
    return values.to(torch.uint8).view(-1, 1, 1, 1)
