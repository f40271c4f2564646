"""From image files to one stack of equal uint8 images, decoded once and then mapped from the cache.

Every image becomes 8-bit RGB: greyscale and palette images are expanded, 16-bit values keep their high byte,
transparent pixels are laid on white, EXIF rotation is applied, and of an animation the first frame is taken.
Files are told apart by name, length and modification time; their pixels are hashed while they are decoded.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from harness.data.cache import Facts, cached
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.types import Array, Progress

VERSION = 1  # raise it when the same file decodes to other pixels
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
SMALLEST, LARGEST = 8, 4096  # pixels
UNREADABLE_SHARE = 0.01
THREADS, BATCH = 2, 64
log = logging.getLogger("harness")


@dataclass(frozen=True)
class LazyImage:
    """One image that a data set offers, not read yet.

    name   where it comes from, relative to its data set, with forward slashes
    label  the name of its class
    role   "private", "public", "test"; "train" (to be split into private and public); None: to be split in three
    read   () -> (H, W, 3) uint8
    key    changes when the content does; cheap to get
    attribute  what a coarse label does not tell, where there is such a thing
    """

    name: str
    label: str
    role: str | None
    read: Callable[[], Array]
    key: str
    attribute: str | None = None


@dataclass(frozen=True)
class DecodedImages:
    """Decoded images and where they come from.

    images      (N, 3, H, W) uint8, a read-only memory map
    hashes      sha256 of each image's pixels, 32 hex digits
    rows        position of each image among the pictures that were decoded
    unreadable  (name, reason) of the pictures that were left out
    """

    images: Array
    hashes: list[str]
    rows: list[int]
    unreadable: list[tuple[str, str]]


def read_image(path: Path) -> Array:
    """The image in a file as (H, W, 3) uint8; raises whatever Pillow does when there is none."""
    with Image.open(path, formats=FORMATS) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode == "F":
            raise ValueError("floating point pixels have no fixed white")
        if image.mode.startswith("I"):  # 16 bits per pixel; Pillow's own conversion would clip at 255
            grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB"))


def image_from_file(path: Path, name: str, label: str, role: str | None) -> LazyImage:
    """A picture in a file, recognised by the file's length and time."""
    try:
        stat = path.stat()
        key = f"{stat.st_size} {stat.st_mtime_ns}"
    except OSError:  # a dangling link: decoding will name it
        key = "missing"
    return LazyImage(name, label, role, partial(read_image, path), key)


def fit(pixels: Array, size: int | None) -> Array:
    """The shorter side resized to `size` pixels, then a centre crop: (H, W, 3) -> (size, size, 3)."""
    height, width = pixels.shape[:2]
    if size is None or height == width == size:
        return pixels
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    kernel = Image.Resampling.LANCZOS if size < side else Image.Resampling.BICUBIC
    box = (left, top, left + side, top + side)
    return np.asarray(Image.fromarray(pixels).resize((size, size), kernel, box))


def content_hash(planes: Array) -> str:
    """sha256 over the pixels of one (3, H, W) image, 32 hex digits."""
    return hashlib.sha256(np.ascontiguousarray(planes).data).hexdigest()[:32]


def listing_key(pictures: Sequence[LazyImage], size: int | None) -> str:
    """Names what decoding these pictures at this size gives."""
    digest = hashlib.sha256(f"{VERSION} {size}\n".encode())
    for picture in pictures:
        told = (picture.name, picture.label, picture.role or "", picture.key, picture.attribute or "")
        line = "\0".join(told)
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def decode(pictures: Sequence[LazyImage], size: int | None, folder: Path, progress: Progress | None) -> DecodedImages:
    """Decode the pictures into `folder`, or map what an earlier call left there."""

    def write(temporary: Path) -> Facts:
        # Plain writes, not a writable map: a full disk is then an OSError and not a bus error.
        with (temporary / "images.bin").open("wb") as file:
            return decode_into(file, pictures, size, progress)

    def sound(facts: Facts) -> bool:
        return hashes_match(map_images(folder / "images.bin", facts["shape"]), facts["hashes"])

    facts = cached(folder, write, sound)
    images = map_images(folder / "images.bin", facts["shape"])
    unreadable = [(name, reason) for name, reason in facts["unreadable"]]
    return DecodedImages(images, facts["hashes"], facts["rows"], unreadable)


def map_images(file: Path | IO[bytes], shape: Sequence[int]) -> Array:
    """A stack of uint8 images in a raw file, as a read-only memory map."""
    if shape[0] == 0:  # an empty file cannot be mapped
        return np.empty(tuple(shape), np.uint8)
    return np.memmap(file, np.uint8, mode="r", shape=tuple(shape))


def hashes_match(images: Array, hashes: Sequence[str]) -> bool:
    """Whether a few images, from the first to the last, still have the pixels they were stored with."""
    spots = {row * (len(images) - 1) // 7 for row in range(8)} if len(images) else set()
    return len(images) == len(hashes) and all(content_hash(images[row]) == hashes[row] for row in spots)


def decode_into(file: IO[bytes], pictures: Sequence[LazyImage], size: int | None, progress: Progress | None) -> Facts:
    """Write the pixels of every picture that can be read into one raw file; the fields of a `Stack` as facts."""
    shape: tuple[int, ...] = ()
    hashes, rows, unreadable = [], [], []
    for row, planes in enumerate(_decoded(pictures, size)):
        picture = pictures[row]
        if progress and row % BATCH == 0:
            progress("decoding", row, len(pictures))
        if isinstance(planes, str):
            log.warning("%s is left out: %s", picture.name, planes)
            unreadable.append((picture.name, planes))
            continue
        if not shape:
            shape, first = planes.shape, picture.name
            _check_extent(shape, first)
        if planes.shape != shape:
            raise HarnessError(
                f"images differ in size: {_extent(shape)} ({first}) and {_extent(planes.shape)} ({picture.name}); "
                "pass --size 64 (or another number of pixels) to bring them to one"
            )
        file.write(planes.data)
        hashes.append(content_hash(planes))
        rows.append(row)
    file.flush()
    if progress:
        progress("decoding", len(pictures), len(pictures))
    if len(unreadable) > UNREADABLE_SHARE * len(pictures):
        name, reason = unreadable[0]
        raise HarnessError(
            f"{len(unreadable)} of {len(pictures)} images cannot be read (more than {UNREADABLE_SHARE:.0%}), "
            f"the first is {name}: {reason}; replace or remove them"
        )
    return {"shape": [len(rows), *shape], "hashes": hashes, "rows": rows, "unreadable": unreadable}


def _decoded(pictures: Sequence[LazyImage], size: int | None) -> Iterator[Any]:
    """Each picture's (3, H, W) pixels, or the reason why there are none, in order and never all at once."""

    def one(picture: LazyImage) -> Array | str:
        try:
            return np.ascontiguousarray(fit(picture.read(), size).transpose(2, 0, 1))
        except Exception as error:  # Pillow raises nearly anything on damaged files
            return " ".join(str(error).split()) or type(error).__name__

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(pictures), BATCH):
            yield from pool.map(one, pictures[start : start + BATCH])


def _check_extent(shape: Sequence[int], name: str) -> None:
    if min(shape[1:]) < SMALLEST or max(shape[1:]) > LARGEST:
        raise HarnessError(
            f"{name} is {_extent(shape)} pixels, outside {SMALLEST} to {LARGEST}; pass --size 64 to resize"
        )


def _extent(shape: Sequence[int]) -> str:
    return f"{shape[2]}x{shape[1]}"
