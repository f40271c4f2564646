"""Releases that several pieces of work need, obfuscated once: a folder of scratch files that processes share.

What is taken from it is a private, copy-on-write map of the file: whoever writes into it changes nobody's but his own,
and nothing that it holds tells where the file is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from harness.system.files import write_atomically
from harness.types import Release, Secret

Epoch: TypeAlias = tuple[Release, Secret]

PREFIX = "obfuscation-harness."
ROOM = 8 * 2**30  # bytes at most, and at most a quarter of what the disk has left
_IMAGES, _REST, _LOCK = ".images", ".npz", ".lock"


class ReleaseCache:
    """Where the epochs of a few releases lie, the latest used.

    folder  one that other processes use too; without it, one of its own that goes with it
    room    bytes that it may take; a release whose epochs need more is made anew whenever it is asked for
    """

    def __init__(self, folder: Path | None = None, room: int | None = None):
        self.folder = folder or Path(tempfile.mkdtemp(prefix=PREFIX))
        if folder is None:
            weakref.finalize(self, shutil.rmtree, self.folder, True)
        self.room = min(ROOM, shutil.disk_usage(self.folder).free // 4) if room is None else room

    def get_or_make(self, name: str, epoch: int, size: int, make: Callable[[], Epoch]) -> Epoch:
        """The epoch of that name, made now where nobody made it before.

        size  bytes of all epochs of this name together
        """
        place = self.folder / hashlib.sha256(name.encode()).hexdigest()[:24]
        if size > self.room:
            return make()
        try:
            place.mkdir(exist_ok=True)
            with _locked(place / f"{epoch}{_LOCK}"):
                found = _read(place, epoch)
                if found is None:
                    self._make_room(place, size)
                    found = make()
                    _write(place, epoch, found)
        except OSError:  # a full or vanished scratch disk: nothing is kept, and nothing is lost
            return make()
        return found

    def _make_room(self, place: Path, size: int) -> None:
        """Forget what was used longest ago. Whoever reads it keeps his map, and the next one makes it again."""
        os.utime(place)
        others = sorted(
            (each for each in self.folder.iterdir() if each != place), key=lambda each: each.stat().st_mtime
        )
        taken = {other: sum(file.stat().st_size for file in other.iterdir()) for other in others}
        for other in others:
            if sum(taken.values()) + size <= self.room:
                return
            shutil.rmtree(other, ignore_errors=True)
            taken.pop(other)


def node_folder(run: str) -> Path:
    """A folder that the processes of one run on this machine share, and which stays as long as one of them lives.

    Nobody knows who is the last: what other runs left is removed by the next one.
    """
    root = Path(tempfile.gettempdir())
    for leftover in root.glob(f"{PREFIX}run.*"):
        with contextlib.suppress(OSError), _locked(leftover / _LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(leftover, ignore_errors=True)
    folder = root / f"{PREFIX}run.{run}"
    folder.mkdir(mode=0o700, exist_ok=True)
    _held.enter_context(_locked(folder / _LOCK, fcntl.LOCK_SH))
    (folder / "epochs").mkdir(exist_ok=True)
    return folder / "epochs"


_held = contextlib.ExitStack()


@contextlib.contextmanager
def shared_release_folder() -> Iterator[Path]:
    """Such a folder for a run on this machine alone, removed at its end."""
    folder = node_folder(uuid.uuid4().hex[:12])
    try:
        yield folder
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


def _write(place: Path, epoch: int, made: Epoch) -> None:
    release, secret = made
    rest = {"labels": release.labels.numpy(), "shape": np.array(release.images.shape)} | {
        name: getattr(secret, name) for name in ("sources", "shares", "dominant")
    }
    write_atomically(place / f"{epoch}{_REST}", lambda file: np.savez(file, **rest))
    write_atomically(place / f"{epoch}{_IMAGES}", release.images.numpy().tofile)  # last: it says that all is there


def _read(place: Path, epoch: int) -> Epoch | None:
    images = place / f"{epoch}{_IMAGES}"
    if not images.is_file():
        return None
    with np.load(place / f"{epoch}{_REST}", allow_pickle=False) as file:
        rest = {name: file[name] for name in file.files}
    shape = tuple(int(side) for side in rest.pop("shape"))
    with os.fdopen(os.open(images, os.O_RDONLY), "rb") as handle:  # opened by number: the map keeps no name
        released = torch.from_numpy(np.memmap(handle, np.uint8, "c", shape=shape))
    return Release(released, torch.from_numpy(rest.pop("labels"))), Secret(**rest)


@contextlib.contextmanager
def _locked(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Let go when this process ends, however it ends. With LOCK_NB raises OSError where another has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)
