"""What a survey asks: technique, settings and classes of every question. Raynal et al. 2020, section 4.2.2, Table 1.

Each of six techniques is used seven times, simple mixing seven times with two and seven times with three sources: 49
questions, 105 pairs of an obfuscated image and a source. The plan knows neither images nor their size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.types import Array

EACH = 7
"""Questions of a technique."""
MIX_OF_THREE = "mix3"
LAMBDAS = (0.5, 0.6, 0.7)
"""Share of the first of two sources, of every technique but `mix3`."""
MEANS = ((0.7, 0.2, 0.1), (0.5, 0.33, 0.16), (0.33, 0.33, 0.33))
"""Shares of three sources as Table 1 prints them; they are divided by their sum."""
KNOBS: dict[str, tuple[str, tuple[float, ...]]] = {
    "graft_mix": ("p", (0.5, 0.6, 0.7, 0.8)),
    "shuffle_mix": ("block", (4, 8, 16)),
    "noise_mix": ("sigma", (10, 20, 40)),
    "pixelize_mix": ("grid", (16, 20, 32)),
    "blur_mix": ("kernel", (17, 35, 45)),
}
"""The knob of a technique, by its name in the registry, and its values."""
TECHNIQUES = ("mix", MIX_OF_THREE, *KNOBS)
QUESTIONS = EACH * len(TECHNIQUES)
MOST_SOURCES = 3
PAPER_SIZE = 256
"""Pixels along a side of the images that `block` and `kernel` of Table 1 are meant for."""


@dataclass(frozen=True)
class Question:
    """One image to be made.

    technique  one of TECHNIQUES
    weights    the share of each source, which sum to 1, the largest first
    knobs      as Table 1 has them
    classes    the class of each source, all different
    """

    technique: str
    weights: tuple[float, ...]
    knobs: Mapping[str, float]
    classes: tuple[int, ...]

    @property
    def defense(self) -> str:
        """The registry's name of the technique."""
        return "mix" if self.technique == MIX_OF_THREE else self.technique


def draw(classes: int, rng: np.random.Generator) -> list[Question]:
    """A survey's questions in random order: settings uniformly from Table 1, classes uniformly without repetition.

    classes  how many there are. HarnessError below MOST_SOURCES
    """
    if classes < MOST_SOURCES:
        raise HarnessError(
            f"a survey mixes images of {MOST_SOURCES} classes, and the data set has {classes}; use one with more"
        )
    order = rng.permutation([number for number, _ in enumerate(TECHNIQUES) for _ in range(EACH)])
    return [_question(TECHNIQUES[number], classes, rng) for number in order]


def _question(technique: str, classes: int, rng: np.random.Generator) -> Question:
    if technique == MIX_OF_THREE:
        means = MEANS[rng.integers(len(MEANS))]
        weights = tuple(share / math.fsum(means) for share in means)
    else:
        share = LAMBDAS[rng.integers(len(LAMBDAS))]
        weights = (share, 1 - share)
    knobs: dict[str, float] = {}
    if technique in KNOBS:
        name, values = KNOBS[technique]
        knobs[name] = values[rng.integers(len(values))]
    chosen: Array = rng.choice(classes, len(weights), replace=False)
    return Question(technique, weights, knobs, tuple(map(int, chosen)))


def scaled(knobs: Mapping[str, float], size: tuple[int, int]) -> dict[str, float]:
    """The knobs for images of this height and width: `block` and `kernel` times the shorter side by 256 px.

    A block becomes the nearest divisor of both sides that is at least 2, a kernel the nearest odd number that is at
    least 3; other knobs do not depend on the size. HarnessError where no divisor is less than twice what is wanted.
    """
    scale, found = min(size) / PAPER_SIZE, dict(knobs)
    if "block" in knobs:
        common, wanted = math.gcd(*size), max(2.0, knobs["block"] * scale)
        blocks = [block for block in range(2, int(2 * wanted) + 1) if common % block == 0]
        if not blocks:
            raise HarnessError(
                f"no block of 2 to {int(2 * wanted)} pixels divides {size[1]}x{size[0]} images; use --size 96, say"
            )
        found["block"] = min(blocks, key=lambda block: abs(block - wanted))
    if "kernel" in knobs:
        wanted = knobs["kernel"] * scale
        found["kernel"] = max(3, 2 * math.floor(wanted / 2) + 1)
    return found
