"""Draws by the million: SFC64 on the CPU, torch's own generator on CUDA.

torch's CPU generator is a Mersenne twister, which takes longer than the obfuscation that it draws for. On either device
the numbers do not depend on how many threads there are.
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

_LANES = 16  # SFC64s side by side, a word of each in turn: no word then waits for the one before it
_PIECE = 2**16  # normal draws at a time: what is made on the way to them stays in a CPU's cache


class Draws:
    """Random tensors on a generator's device, all from one 256-bit key that is drawn from it."""

    def __init__(self, rng: Generator) -> None:
        self.rng, self.device = rng, rng.device
        if self.device.type == "cpu":
            seeds = np.random.SeedSequence(int.from_bytes(key_from(rng), "little"))
            self.state = np.ones((4, _LANES), np.uint64)
            self.state[:3] = seeds.generate_state(3 * _LANES, np.uint64).reshape(3, _LANES)
            self._raw(12 * _LANES)  # dropped, as its author has it: by then every bit of a seed has told on every other

    def words(self, shape: tuple[int, ...]) -> Tensor:
        """Whole numbers, uniform in [0, 2^32): uint32 on the CPU, int64 on CUDA, where torch has more for them."""
        if self.device.type != "cpu":
            return torch.randint(2**32, shape, generator=self.rng, device=self.device)
        count = math.prod(shape)
        return torch.from_numpy(self._raw((count + 1) // 2).view(np.uint32)[:count].reshape(shape))

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers, float32."""
        if self.device.type != "cpu":
            return torch.randn(shape, generator=self.rng, device=self.device)
        made = np.empty(math.prod(shape), np.float32)
        for start in range(0, len(made), _PIECE):
            self._fill(made[start : start + _PIECE])
        return torch.from_numpy(made.reshape(shape))

    def _raw(self, count: int) -> Array:
        """The next words, (count,) uint64."""
        words = np.empty((-(-count // _LANES), _LANES), np.uint64)
        cpu.fill(self.state, words)
        return words.ravel()[:count]

    def _fill(self, made: Array) -> None:
        """By Box and Muller: a length and an angle of 32 bits each make two independent normal draws.

        None is beyond 6.7, where one of 5 * 10^10 would be.
        """
        half = (len(made) + 1) // 2
        rest = len(made) - half
        lengths, angles = self._raw(half).view(np.int32).astype(np.float32).reshape(2, half)
        np.abs(lengths, out=lengths)
        lengths += np.float32(0.5)
        lengths *= np.float32(2**-31)  # in (0, 1]: it has a logarithm
        np.log(lengths, out=lengths)
        lengths *= np.float32(-2)
        np.sqrt(lengths, out=lengths)
        angles *= np.float32(np.pi * 2**-31)
        np.cos(angles, out=made[:half])
        np.sin(angles[:rest], out=made[half:])
        made[:half] *= lengths
        made[half:] *= lengths[:rest]
