"""Decode image files into one array of equally large uint8 images in a raw file.

How a file becomes 8-bit RGB is in `harness.data.pixels`, and how a changed file is recognised in
`harness.data.identity`. Pixels are hashed while they are decoded.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from harness.data.cache import Facts
from harness.data.identity import content_of, file_state
from harness.data.pixels import read_image, reason_of
from harness.errors import HarnessError
from harness.system.text import one_line

if TYPE_CHECKING:
    from harness.types import Array, Progress

VERSION = 2  # to be raised when the same file decodes to other pixels
SMALLEST, LARGEST = 8, 4096  # pixels of a side
UNREADABLE_SHARE = 0.01
THREADS, AHEAD = 2, 8  # images that are decoded before they are written: they bound the memory
CHECKED_WHOLE = 2**27  # bytes of images whose hashes are all compared when they are loaded
BATCH = 64
log = logging.getLogger("harness")


@dataclass(frozen=True)
class LazyImage:
    """One image of a data set, not read yet.

    name       its path relative to the data set, with forward slashes
    label      the name of its class
    role       "private", "public", "test"; "train" (to be split into private and public); None: to be split in three
    read       () -> (H, W, 3) uint8
    key        changes with the content, and costs no decoding
    attribute  the second attribute, which a coarse label hides; None: there is none
    content    () -> a hash of the file's bytes; None: the key is of the content
    is_proof   whether no later change of the content can leave the key as it is (`harness.data.identity`)
    """

    name: str
    label: str
    role: str | None
    read: Callable[[], Array]
    key: str
    attribute: str | None = None
    content: Callable[[], str] | None = None
    is_proof: bool = True


def image_from_file(path: Path, name: str, label: str, role: str | None, key: str = "") -> LazyImage:
    """The image in a file.

    key  goes before what the file system says of the file
    """
    state, is_proof = file_state(path)
    content = partial(content_of, path)
    return LazyImage(name, label, role, partial(read_image, path), f"{key}{state}", content=content, is_proof=is_proof)


def resize_and_crop(pixels: Array, size: int | None) -> Array:
    """Resize the shorter side to `size` pixels and crop the centre: (H, W, 3) -> (size, size, 3). None: unchanged."""
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


def listing_key(images: Sequence[LazyImage], size: int | None) -> str:
    """A hash of everything that the decoded images depend on, 32 hex digits."""
    digest = hashlib.sha256(f"{VERSION} {size}\n".encode())
    for image in images:
        fields = (image.name, image.label, image.role or "", image.key, image.attribute or "")
        digest.update(repr(fields).encode())
    return digest.hexdigest()[:32]


def map_images(file: Path | IO[bytes], shape: Sequence[int]) -> Array:
    """The uint8 images in a raw file as a read-only memory map of this shape."""
    if shape[0] == 0:  # an empty file cannot be mapped
        return np.empty(tuple(shape), np.uint8)
    return np.memmap(file, np.uint8, mode="r", shape=tuple(shape))


def hashes_match(images: Array, hashes: Sequence[str]) -> bool:
    """Whether images still have the pixels that they were stored with: all where they are few, else eight, spread."""
    whole = images.nbytes <= CHECKED_WHOLE
    sample = set(range(len(images))) if whole else {row * (len(images) - 1) // 7 for row in range(8)}
    return len(images) == len(hashes) and all(content_hash(images[row]) == hashes[row] for row in sample)


def decode_into(file: IO[bytes], unread: Sequence[LazyImage], size: int | None, progress: Progress | None) -> Facts:
    """Write the pixels of every readable image into one raw file, and hash them.

    The facts: `shape` (N, 3, H, W) of the file; `hashes` (N,) sha256 of each image's pixels, 32 hex digits; `rows` (N,)
    its position in the list that was decoded; `unreadable` (name, reason) of the images that could not be read.
    """
    shape: tuple[int, ...] = ()
    hashes, rows, unreadable = [], [], []
    for row, planes in enumerate(_decoded(unread, size)):
        image = unread[row]
        if progress and row % BATCH == 0:
            progress("decoding", row, len(unread))
        if isinstance(planes, str):
            log.warning("%s is left out: %s", one_line(image.name), one_line(planes))
            unreadable.append((image.name, planes))
            continue
        if not shape:
            shape, first = planes.shape, image.name
            _check_size(shape, first)
        if planes.shape != shape:
            raise HarnessError(
                f"images differ in size: {_size(shape)} ({first}) and {_size(planes.shape)} ({image.name}); "
                "pass --size 64 (or another number of pixels) to bring them to one"
            )
        file.write(planes.data)
        hashes.append(content_hash(planes))
        rows.append(row)
    file.flush()
    if progress:
        progress("decoding", len(unread), len(unread))
    if len(unreadable) > UNREADABLE_SHARE * len(unread):
        name, reason = unreadable[0]
        raise HarnessError(
            f"{len(unreadable)} of {len(unread)} images cannot be read (more than {UNREADABLE_SHARE:.0%}), "
            f"the first is {name}: {reason}; replace or remove them"
        )
    return {"shape": [len(rows), *shape], "hashes": hashes, "rows": rows, "unreadable": unreadable}


def _decoded(unread: Sequence[LazyImage], size: int | None) -> Iterator[Any]:
    """Each image's (3, H, W) pixels, or the reason why it cannot be read; in order, a few images ahead."""

    def decode_one(image: LazyImage) -> Array | str:
        try:
            return np.ascontiguousarray(resize_and_crop(image.read(), size).transpose(2, 0, 1))
        except Exception as error:  # Pillow raises nearly anything on damaged files
            return reason_of(error)

    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[Array | str]] = deque()
        try:
            for image in unread:
                waiting.append(pool.submit(decode_one, image))
                if len(waiting) == AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _check_size(shape: Sequence[int], name: str) -> None:
    if min(shape[1:]) < SMALLEST or max(shape[1:]) > LARGEST:
        raise HarnessError(
            f"{name} is {_size(shape)} pixels, outside {SMALLEST} to {LARGEST}; pass --size 64 to resize"
        )


def _size(shape: Sequence[int]) -> str:
    return f"{shape[2]}x{shape[1]}"
