"""One image file as 8-bit RGB pixels. Its size and depth are read from its header before anything is decoded.

Greyscale and palette images are expanded, 16-bit values keep their high byte, transparent pixels become white, EXIF
rotation is applied, and only the first frame of an animation is read. What has no fixed white is refused: floats,
32-bit and signed integers, and 16-bit images whose values fill a quarter of their range at most (12 bits in 16), which
would come out black. A file takes about 10 bytes of memory for each of its pixels, `LARGEST_AREA` at most; large ones
are decoded one at a time.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from harness.system.files import open_regular

if TYPE_CHECKING:
    from harness.types import Array

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
LARGEST_AREA = 2**26  # pixels of a file: 8192 x 8192
LARGEST_FILE = 2**29  # bytes
MOST_SCANS = 64  # of a JPEG file; encoders write about 10, and each takes as long as the whole picture
_SCAN = b"\xff\xda"  # where a scan begins, and nothing else
_ONE_AT_A_TIME = 2**23  # pixels, or bytes of a file, from which on images wait for each other
_QUARTER = 2**14  # of the range of 16 bits
_WHITE_IS_ZERO, _TILE_WIDTH, _TILE_HEIGHT = 262, 322, 323  # tags of a TIFF file

_headers, _large = threading.Lock(), threading.Lock()

# What Pillow remarks on metadata that it skips. What it cannot read it raises, which is reported with the file's name.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


def read_image(path: Path) -> Array:
    """The image in a file as (H, W, 3) uint8.

    Raises OSError where the file cannot be read or is no regular file, ValueError where it is too large or its values
    have no fixed white, and what Pillow raises where it is damaged.
    """
    with _opened(path) as (image, is_large), _large if is_large else contextlib.nullcontext():
        return rgb_pixels(image)


def size_of(path: Path) -> tuple[int, int]:
    """(height, width) that the header of a file states, before rotation; raises as `read_image`, decodes nothing."""
    with _opened(path) as (image, _):
        return image.size[1], image.size[0]


def reason_of(error: Exception) -> str:
    """Why an image cannot be read, on one line and without its path."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def decode_image(encoded: bytes) -> Array:
    """The image in the bytes of a file as (H, W, 3) uint8, bounded and raising as `read_image`."""
    with _checked(BytesIO(encoded)) as (image, is_large), _large if is_large else contextlib.nullcontext():
        return rgb_pixels(image)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Image.Image, bool]]:
    """The image, with nothing but its header read, and whether it is large."""
    with open_regular(path) as file, _checked(file) as found:
        yield found


@contextmanager
def _checked(file: IO[bytes]) -> Iterator[tuple[Image.Image, bool]]:
    length = file.seek(0, 2)
    file.seek(0)
    if not length:
        raise ValueError("the file is empty")
    if length > LARGEST_FILE:
        raise ValueError(f"the file has {length:,} bytes, more than {LARGEST_FILE:,}")
    with _open_header(file) as image:
        _check_area(image)
        if image.format in ("JPEG", "MPO"):
            _check_scans(file)
        yield image, max(image.size[0] * image.size[1], length) > _ONE_AT_A_TIME


def _open_header(file: object) -> Image.Image:
    with _headers, warnings.catch_warnings():  # which is not safe in threads
        warnings.simplefilter("ignore")  # Pillow's own about a large image, which is refused next
        try:
            return Image.open(file, formats=FORMATS)  # type: ignore[arg-type]
        except UnidentifiedImageError:
            raise ValueError(f"no image of a format that is read ({', '.join(FORMATS)})") from None
        except Image.DecompressionBombError:
            raise ValueError(f"more than {LARGEST_AREA:,} pixels; scale it down") from None


def _check_area(image: Image.Image) -> None:
    width, height = image.size
    if width * height > LARGEST_AREA:
        raise ValueError(f"{width}x{height} pixels, more than {LARGEST_AREA:,} in all; scale it down")
    tags = getattr(image, "tag_v2", {})
    tile = [int(tags.get(tag, 0)) for tag in (_TILE_WIDTH, _TILE_HEIGHT)]
    if tile[0] * tile[1] > LARGEST_AREA:  # whole tiles are decoded
        raise ValueError(f"tiles of {tile[0]}x{tile[1]} pixels, more than {LARGEST_AREA:,}; scale it down")


def _check_scans(file: IO[bytes]) -> None:
    """Refuse a progressive JPEG file with so many scans that it takes minutes; the place in the file stays."""
    place, scans, end = file.tell(), 0, b""
    file.seek(0)
    while block := file.read(2**20):
        scans += (end + block).count(_SCAN)
        end = block[-1:]
    file.seek(place)
    if scans > MOST_SCANS:
        raise ValueError(f"a JPEG file of {scans:,} scans, more than {MOST_SCANS}; save it anew")


def rgb_pixels(image: Image.Image) -> Array:
    """An open image as (H, W, 3) uint8. ValueError where its values have no fixed white; it may be rotated in place."""
    stored = str(getattr(image, "tile", ""))  # how Pillow will unpack the values: "I;16B", "RGB;16L"
    inverted = image.mode.startswith("I") and getattr(image, "tag_v2", {}).get(_WHITE_IS_ZERO) == 0
    if image.mode == "F":
        raise ValueError("floating point pixels have no fixed white; save it with 8 bits")
    if image.mode == "I":
        raise ValueError("32-bit or signed integer pixels have no fixed white; save it with 8 bits")
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # 16 bits per pixel; Pillow's own conversion would clip at 255
        return _high_byte(np.asarray(image), 12 if "'I;12" in stored else 16, inverted=inverted)
    if ";16" in stored:  # Pillow has kept the high byte: of 0 it is not known what the low one was
        _check_range(256 * max(high for _, high in _extrema(image)) + 255)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _high_byte(values: Array, bits: int, *, inverted: bool) -> Array:
    if bits == 16 and values.any():
        _check_range(int(values.max()))
    grey = (values >> (bits - 8)).astype(np.uint8)
    return np.repeat((255 - grey if inverted else grey)[:, :, None], 3, axis=2)


def _extrema(image: Image.Image) -> list[tuple[int, int]]:
    """(lowest, highest) value of every band but alpha."""
    found = image.getextrema()
    each = found if isinstance(found[0], tuple) else (found,)
    return [pair for band, pair in zip(image.getbands(), each, strict=True) if band not in "Aa"]  # type: ignore[misc]


def _check_range(highest: int) -> None:
    if highest < _QUARTER:
        raise ValueError(
            f"its 16-bit values are {highest} at most, as of fewer bits that were not scaled, and would be black; "
            "scale them to 65535 or save it with 8 bits"
        )
