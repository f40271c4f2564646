"""Releases that several pieces need, obfuscated once: a folder of scratch files that processes share.

A caller gets a private, copy-on-write map of the file: writing into it changes no other caller's, and it holds nothing
that says where the file is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from harness.system import scratch
from harness.system.files import lock_file, write_atomically
from harness.types import Release, Secret

Epoch: TypeAlias = tuple[Release, Secret]

ROOM = 8 * 2**30  # bytes at most, and at most a quarter of what the disk has left
_IMAGES, _REST, _LOCK = ".images", ".npz", ".lock"


class ReleaseCache:
    """The epochs of the few releases that were used last.

    folder  one that other processes use too; None: one of its own, removed with it
    room    bytes that it may take; a release whose epochs need more is made again at every call
    """

    def __init__(self, folder: Path | None = None, room: int | None = None):
        if folder is None:
            held = contextlib.ExitStack()
            folder = scratch.join_folder(scratch.new_name(), held)
            weakref.finalize(self, scratch.leave, folder, held)
        self.folder = folder
        self.room = min(ROOM, shutil.disk_usage(self.folder).free // 4) if room is None else room

    def get_or_make(self, name: str, epoch: int, size: int, make: Callable[[], Epoch]) -> Epoch:
        """The epoch of that name, made now if it is not in the cache.

        size  bytes of all epochs of this name together
        """
        place = self.folder / hashlib.sha256(name.encode()).hexdigest()[:24]
        if size > self.room:
            return make()
        try:
            scratch.make_private(place)
            with lock_file(place / f"{epoch}{_LOCK}", on_wait=lambda: None, private=True):
                found = _read(place, epoch)
                if found is None:
                    self._make_room(place, size)
                    found = make()
                    _write(place, epoch, found)
        except OSError:  # a full or missing scratch disk: this release is not kept
            return make()
        return found

    def _make_room(self, place: Path, size: int) -> None:
        """Remove what was used longest ago. A map of it that is in use stays; the next caller makes it again."""
        os.utime(place)
        others = sorted(
            (each for each in self.folder.iterdir() if each != place), key=lambda each: each.stat().st_mtime
        )
        taken = {other: _size(other) for other in others}
        for other in others:
            if sum(taken.values()) + size <= self.room:
                return
            shutil.rmtree(other, ignore_errors=True)
            taken.pop(other)


def node_folder(run: str) -> Path:
    """A folder that the processes of one run on this machine share; it stays while one of them lives.

    No process knows whether it is the last, so the next run removes the folders whose processes have all ended.
    """
    return scratch.join_folder(run, _held)


_held = contextlib.ExitStack()  # this process's locks; they end with it


def _size(place: Path) -> int:
    """Bytes of one release's epochs; lock files come and go."""
    return sum(file.stat().st_size for file in place.iterdir() if file.suffix != _LOCK)


def _write(place: Path, epoch: int, made: Epoch) -> None:
    release, secret = made
    rest = {"labels": release.labels.numpy(), "shape": np.array(release.images.shape)} | {
        name: getattr(secret, name) for name in ("sources", "shares", "dominant")
    }
    write_atomically(place / f"{epoch}{_REST}", lambda file: np.savez(file, **rest), private=True)
    # last: a file of images means that the epoch is complete
    write_atomically(place / f"{epoch}{_IMAGES}", release.images.numpy().tofile, private=True)


def _read(place: Path, epoch: int) -> Epoch | None:
    import torch

    images = place / f"{epoch}{_IMAGES}"
    if not images.is_file():
        return None
    with np.load(place / f"{epoch}{_REST}", allow_pickle=False) as file:
        rest = {name: file[name] for name in file.files}
    shape = tuple(int(side) for side in rest.pop("shape"))
    with os.fdopen(os.open(images, os.O_RDONLY), "rb") as handle:  # opened by descriptor: the map keeps no name
        released = torch.from_numpy(np.memmap(handle, np.uint8, "c", shape=shape))
    return Release(released, torch.from_numpy(rest.pop("labels"))), Secret(**rest)
