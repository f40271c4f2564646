"""Keys and random generators, all derived from one 128-bit root by a hash with a purpose tag.

Reference: counter-based generators, Salmon et al. 2011 (Philox); torch's CPU generator is MT19937, whose
`manual_seed` keeps 32 bits only, so its whole 19,937-bit state is filled from the key instead.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from harness.types import Generator

ROOT_BYTES = 16
_MT_WORDS = 624
# Layout of the state that torch.Generator("cpu").get_state() returns (ATen CPUGeneratorImplStateLegacy):
# uint64 seed | int32 left | int32 seeded | uint64 next | uint64 words[624] | the cached normal draw
_LEFT, _SEEDED, _NEXT, _WORDS = 8, 12, 16, 24


def root_of(seed: int) -> bytes:
    """The 128-bit root of a numbered seed; seeds that agree modulo 2^32 or 2^64 have different roots."""
    return hashlib.sha256(b"obfuscation-harness root %d" % seed).digest()[:ROOT_BYTES]


def derive(root: bytes, *purpose: str | int) -> bytes:
    """A 256-bit key for one purpose. One-way: neither the root nor another key can be computed from it."""
    digest = hashlib.sha256(root)
    for part in purpose:
        kind = "str" if isinstance(part, str) else "int"  # a NumPy integer is the same as Python's
        text = f"{kind}:{part}".encode()
        digest.update(len(text).to_bytes(4, "little") + text)
    return digest.digest()


def numpy_generator(key: bytes) -> np.random.Generator:
    """NumPy's Philox keyed with the first 128 bits."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))


def torch_generator(key: bytes, device: str) -> Generator:
    """A torch generator on the device: on the CPU with its full state filled, on CUDA keyed with 64 bits."""
    import torch

    generator = torch.Generator(device)
    generator.manual_seed(int.from_bytes(key[:8], "little", signed=True) & (2**63 - 1))
    if generator.device.type != "cpu":
        return generator
    state = generator.get_state().numpy().copy()
    words = numpy_generator(key).integers(0, 2**32, _MT_WORDS, dtype=np.uint64)
    words[0] |= np.uint64(2**31)  # never the all-zero state
    state[_WORDS : _WORDS + 8 * _MT_WORDS] = words.view(np.uint8)
    state[_LEFT:_SEEDED] = np.array([1], np.int32).view(np.uint8)  # draw a fresh block at the first use
    state[_NEXT:_WORDS] = 0
    generator.set_state(torch.from_numpy(state))
    return generator


def key_from(rng: Generator) -> bytes:
    """A fresh 256-bit key drawn from a torch generator."""
    import torch

    return bytes(torch.randint(256, (32,), generator=rng, device=rng.device).tolist())
