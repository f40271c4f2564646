"""Fast random tensors: SFC64 on the CPU, torch's own generator on CUDA.

torch's CPU generator is a Mersenne twister, which takes longer than the obfuscation that it draws for. On both devices
the numbers do not depend on the number of threads.
References: Doty-Humphrey 2010 (SFC64, PractRand); Box and Muller 1958.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from harness.images import cpu
from harness.randomness import key_from
from harness.types import Array, Generator

_LANES = 16  # independent SFC64 generators, a word of each in turn: no word then depends on the one before it
_PIECE = 2**16  # normal draws at a time: intermediate values stay in a CPU's cache


class Draws:
    """Random tensors on a generator's device, all from one 256-bit key that is drawn from it."""

    def __init__(self, rng: Generator) -> None:
        self.rng, self.device = rng, rng.device
        if self.device.type == "cpu":
            seeds = np.random.SeedSequence(int.from_bytes(key_from(rng), "little"))
            self.state = np.ones((4, _LANES), np.uint64)
            self.state[:3] = seeds.generate_state(3 * _LANES, np.uint64).reshape(3, _LANES)
            self._raw(12 * _LANES)  # dropped, as its author recommends: by then every bit of the seed affects all

    def words(self, shape: tuple[int, ...]) -> Tensor:
        """Integers, uniform in [0, 2^32): uint32 on the CPU, int64 on CUDA, where torch supports that better."""
        if self.device.type != "cpu":
            return torch.randint(2**32, shape, generator=self.rng, device=self.device)
        count = math.prod(shape)
        return torch.from_numpy(self._raw((count + 1) // 2).view(np.uint32)[:count].reshape(shape))

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers, float32."""
        if self.device.type != "cpu":
            return torch.randn(shape, generator=self.rng, device=self.device)
        normals = np.empty(math.prod(shape), np.float32)
        for start in range(0, len(normals), _PIECE):
            self._fill(normals[start : start + _PIECE])
        return torch.from_numpy(normals.reshape(shape))

    def _raw(self, count: int) -> Array:
        """The next words, (count,) uint64."""
        words = np.empty((-(-count // _LANES), _LANES), np.uint64)
        cpu.fill(self.state, words)
        return words.ravel()[:count]

    def _fill(self, normals: Array) -> None:
        """By Box and Muller: a length and an angle of 32 bits each give two independent normal draws.

        None exceeds 6.7 in absolute value, which one in 5 * 10^10 should.
        """
        half = (len(normals) + 1) // 2
        rest = len(normals) - half
        lengths, angles = self._raw(half).view(np.int32).astype(np.float32).reshape(2, half)
        np.abs(lengths, out=lengths)
        lengths += np.float32(0.5)
        lengths *= np.float32(2**-31)  # in (0, 1]: its logarithm is finite
        np.log(lengths, out=lengths)
        lengths *= np.float32(-2)
        np.sqrt(lengths, out=lengths)
        angles *= np.float32(np.pi * 2**-31)
        np.cos(angles, out=normals[:half])
        np.sin(angles[:rest], out=normals[half:])
        normals[:half] *= lengths
        normals[half:] *= lengths[:rest]
