"""photos: ten classes of 64 px tiles cut without overlap from ten photographs inside the scikit-image wheel.

No download. A class is a photograph. A photograph gives at most 64 tiles, spread evenly over it. Every tile has one
role by a fixed lattice (of five neighbours three are private, one public, one test, each row shifted by two), so that
each role samples the whole photograph. The small photographs are cut into tiles of 48 px, which are enlarged, the
retina into tiles of 128 px from the square inside its disc. Not used: astronaut and camera (a tile of them is hard to
recognise), moon (a quarter is nearly blank). Origins and terms, as `skimage.data` states them:

    brick       CC0Textures "Bricks25", CC0; greyscale
    chelsea     the cat, Stefan van der Walt; CC0
    coffee      Rachel Michetti, courtesy of Pikolo Espresso Bar; CC0
    coins       Greek coins from Pompeii, Brooklyn Museum; no known copyright restrictions; greyscale
    grass       DeviantArt, linolafett "Grass 01"; CC0; greyscale
    gravel      CC0Textures "Gravel04"; CC0; greyscale
    hubble      NASA, ESA: Hubble eXtreme Deep Field; may be freely used in the public domain
    ihc         CMMI: colonic glands, immunohistochemical staining; no known copyright restrictions
    retina      Mikael Haeggstroem, Wikimedia Commons, fundus photograph; CC0 1.0
    rocket      SpaceX, DSCOVR on Falcon 9; released into the public domain
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from harness.data.decode import LazyImage, resize_and_crop
from harness.data.identity import file_state
from harness.data.pixels import read_image
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.types import Array

TILE = 64  # pixels
MAX_TILES = 64  # of one photograph
LATTICE = ("private", "public", "private", "test", "private")
PHOTOGRAPHS = (  # (class, file, pixels left out on every side, side of a tile in the photograph's pixels)
    ("brick", "brick.png", 0, 64),
    ("chelsea", "chelsea.png", 0, 48),
    ("coffee", "coffee.png", 0, 64),
    ("coins", "coins.png", 0, 48),
    ("grass", "grass.png", 0, 64),
    ("gravel", "gravel.png", 0, 64),
    ("hubble", "hubble_deep_field.jpg", 0, 64),
    ("ihc", "ihc.png", 0, 64),
    ("retina", "retina.jpg", 206, 128),
    ("rocket", "rocket.jpg", 0, 64),
)


def photos(downloads: Path) -> list[LazyImage]:
    """The tiles of the ten photographs with fixed roles; `downloads` is not used."""
    folder = _skimage_data()
    tiles: list[LazyImage] = []
    for label, file, margin, side in PHOTOGRAPHS:
        path = folder / file
        if not path.is_file():
            raise HarnessError(f"photos: {path} is missing; reinstall scikit-image")
        with Image.open(path) as image:
            width, height = image.size
        rows = _starts(height, margin, side, 8)
        columns = _starts(width, margin, side, MAX_TILES // len(rows))
        state, _ = file_state(path)
        for row, top in enumerate(rows):
            for column, left in enumerate(columns):
                role = LATTICE[(column + 2 * row) % len(LATTICE)]
                key = f"{state} {top} {left} {side}"
                tiles.append(
                    LazyImage(f"{label}/{top:04}-{left:04}", label, role, partial(_tile, path, top, left, side), key)
                )
    return tiles


def _starts(extent: int, margin: int, side: int, most: int) -> list[int]:
    """Where tiles begin along one side: as many as fit, at most `most`, spread evenly."""
    inside = extent - 2 * margin
    count = min(inside // side, most)
    return [margin + int(start) for start in np.linspace(0, inside - side, count)]


def _tile(path: Path, top: int, left: int, side: int) -> Array:
    return resize_and_crop(_photograph(path)[top : top + side, left : left + side], TILE)


@lru_cache(maxsize=2)
def _photograph(path: Path) -> Array:
    return read_image(path)


def _skimage_data() -> Path:
    spec = importlib.util.find_spec("skimage")  # found, not imported: that would take a second
    if spec is None or not spec.submodule_search_locations:
        raise HarnessError("photos: scikit-image is not installed; pip install scikit-image")
    return Path(spec.submodule_search_locations[0]) / "data"
