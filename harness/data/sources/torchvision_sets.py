"""CIFAR-10, STL-10, Oxford-IIIT Pets (cat or dog) and Imagenette, read by torchvision.

`harness.data.download` downloads the archives from torchvision's addresses, checked against its checksums, to where
torchvision looks for them. torchvision verifies checksums on every start (2.7 GB for STL-10), so the labelled images
are copied once into plain arrays in the downloads folder; later starts neither verify nor import torchvision.
References: Krizhevsky 2009; Coates, Ng and Lee 2011; Parkhi, Vedaldi, Zisserman and Jawahar 2012; Howard 2019.
"""

from __future__ import annotations

import errno
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tarfile import TarError
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from harness.data.cache import Facts, cached
from harness.data.decode import LazyImage, image_from_file, map_images
from harness.data.download import Archive, fetch, file_name
from harness.data.identity import file_state
from harness.errors import HarnessError
from harness.system.private import tighten

if TYPE_CHECKING:
    from harness.types import Array

    Fetched: TypeAlias = dict[str, tuple[Array, Any, list[str]]]
    """Per role: (N, 3, H, W) uint8 images, class numbers, class names."""

LOCAL_ERRORS = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT}


def cifar10(downloads: Path) -> list[LazyImage]:
    """60,000 images of 32 px in ten classes."""

    def copy(root: Path) -> Fetched:
        from torchvision.datasets import CIFAR10

        fetch(Archive(CIFAR10.filename, CIFAR10.url, CIFAR10.tgz_md5), root, "cifar10")
        with _readable_errors("cifar10", root):
            parts = {role: CIFAR10(str(root), train=role == "train", download=True) for role in ("train", "test")}
        return {
            role: (part.data.transpose(0, 3, 1, 2), part.targets, list(part.classes)) for role, part in parts.items()
        }

    return _from_arrays(downloads / "cifar10", copy)


def stl10(downloads: Path) -> list[LazyImage]:
    """The 13,000 labelled images of 96 px in ten classes; the unlabelled ones are not used."""

    def copy(root: Path) -> Fetched:
        from torchvision.datasets import STL10

        fetch(Archive(STL10.filename, STL10.url, STL10.tgz_md5), root, "stl10")
        with _readable_errors("stl10", root):
            parts = {role: STL10(str(root), split=role, download=True) for role in ("train", "test")}
        return {role: (part.data, part.labels, list(part.classes)) for role, part in parts.items()}

    return _from_arrays(downloads / "stl10", copy)


def oxford_pets(downloads: Path) -> list[LazyImage]:
    """7,349 photographs of many sizes, cat or dog; needs --size."""
    folder = downloads / "oxford_pets"

    def write(_: Path) -> Facts:
        from torchvision.datasets import OxfordIIITPet

        extracted = folder / "oxford-iiit-pet"
        for url, digest in OxfordIIITPet._RESOURCES:
            fetch(Archive(file_name(url), url, digest), extracted, "oxford_pets")
        for part in ("images", "annotations"):  # an interrupted extraction looks complete to torchvision
            shutil.rmtree(extracted / part, ignore_errors=True)
        with _readable_errors("oxford_pets", extracted):
            parts = {
                role: OxfordIIITPet(str(folder), split=split, target_types="binary-category", download=True)
                for role, split in (("train", "trainval"), ("test", "test"))
            }
        return {
            role: [
                [str(path.relative_to(folder)), part.bin_classes[number].lower()]
                for path, number in zip(part._images, part._bin_labels, strict=True)
            ]
            for role, part in parts.items()
        }

    return _from_files(folder, write)


def imagenette(downloads: Path) -> list[LazyImage]:
    """13,394 photographs of ten classes of ImageNet, the shorter side 160 px; needs --size."""
    folder = downloads / "imagenette"

    def write(_: Path) -> Facts:
        from torchvision.datasets import Imagenette

        url, digest = Imagenette._ARCHIVES["160px"]
        fetch(Archive(file_name(url), url, digest), folder, "imagenette")
        shutil.rmtree(folder / Path(url).stem, ignore_errors=True)  # an interrupted extraction looks complete
        with _readable_errors("imagenette", folder):
            parts = {
                role: Imagenette(str(folder), split=split, size="160px", download=True)
                for role, split in (("train", "train"), ("test", "val"))
            }
        return {
            role: [
                [str(Path(path).relative_to(folder)), part.classes[number][0].lower().replace(" ", "_")]
                for path, number in part._samples
            ]
            for role, part in parts.items()
        }

    return _from_files(folder, write)


def _from_files(folder: Path, write: Callable[[Path], Facts]) -> list[LazyImage]:
    def write_private(temporary: Path) -> Facts:
        listing = write(temporary)
        tighten(folder)  # torchvision writes by the umask
        return listing

    listing = cached(folder / "listing", write_private, lambda _: True)
    return [
        image_from_file(folder / file, f"{role}/{label}/{Path(file).name}", label, role)
        for role, files in listing.items()
        for file, label in files
    ]


def _from_arrays(folder: Path, copy: Callable[[Path], Fetched]) -> list[LazyImage]:
    def write(temporary: Path) -> Facts:
        facts: Facts = {}
        for role, (images, numbers, classes) in copy(folder).items():
            with (temporary / f"{role}.bin").open("wb") as file:
                for planes in images:
                    file.write(np.ascontiguousarray(planes, np.uint8).data)
            facts[role] = {"shape": images.shape, "labels": [classes[int(number)] for number in numbers]}
        return facts

    unread: list[LazyImage] = []
    for role, facts in cached(folder / "arrays", write, lambda _: True).items():
        path = folder / "arrays" / f"{role}.bin"
        images = map_images(path, facts["shape"])
        state, _ = file_state(path)
        for row, label in enumerate(facts["labels"]):
            name = f"{role}/{label}/{row:05}"
            unread.append(LazyImage(name, label, role, partial(_row, images, row), f"{state} {row}"))
    return unread


def _row(images: Array, row: int) -> Array:
    pixels: Array = images[row].transpose(1, 2, 0)
    return pixels


@contextmanager
def _readable_errors(name: str, folder: Path) -> Iterator[None]:
    """Turn what torchvision raises into one line with the fix."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CIFAR's pickles are older than NumPy's rules on dtypes
            yield
    except (OSError, RuntimeError, TarError, EOFError) as error:
        if isinstance(error, OSError) and error.errno in LOCAL_ERRORS:
            raise HarnessError(f"{name}: cannot write {folder}: {error.strerror}; free some space") from error
        reason = " ".join(str(error).split())
        raise HarnessError(f"{name}: cannot be unpacked ({reason}); remove {folder} and run again") from error
