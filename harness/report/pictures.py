"""The pictures of a board as the page shows them: originals, and of each defense a release and a reconstruction.

They are made by `harness.tools.board_pictures`; here they become small PNG files inside the page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from harness.leaderboard.row import Row
from harness.types import Array

LARGEST = 128
"""Pixels of the shorter side of a picture on the page: larger ones are reduced."""


@dataclass(frozen=True)
class Picture:
    """One image, (3, H, W) uint8, and what stands under it."""

    pixels: Array
    words: str = ""

    @property
    def uri(self) -> str:
        """As a PNG file in a data URI."""
        image = Image.fromarray(np.ascontiguousarray(self.pixels.transpose(1, 2, 0)))
        if min(image.size) > LARGEST:
            scale = LARGEST / min(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.save(file, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@dataclass(frozen=True)
class RowPictures:
    """One row of a board.

    released       one picture for each original
    reconstructed  the best candidate of the attack for each; None where it answers no image of that original
    attack         by which; empty: none was run, and the reason says why
    """

    row: Row
    released: Sequence[Picture]
    reconstructed: Sequence[Picture | None] = ()
    attack: str = ""
    reason: str = ""


@dataclass(frozen=True)
class BoardPictures:
    """Of one board: some originals, and what each row makes of them."""

    originals: Sequence[Picture]
    rows: Sequence[RowPictures]
