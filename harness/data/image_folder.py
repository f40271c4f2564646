"""Classes and roles of the images in a folder, from the names of its subfolders; nothing is decoded.

What lies there and is not taken is named with its reason: other files, subfolders of classes, pipes and devices.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness.data import splits
from harness.data.decode import LazyImage, image_from_file
from harness.errors import HarnessError
from harness.system.files import kind_of
from harness.system.schema import shown
from harness.system.text import is_text

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic"}
OTHER_IMAGES = {
    *(".jfif", ".jpe", ".jp2", ".j2k", ".jxl", ".jxr", ".heif", ".hif", ".apng", ".tga", ".ico", ".svg", ".psd"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".dib", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf"),
    *(".rw2", ".raw", ".dcm", ".npy"),
}
"""Suffixes of images that are not read: beside the class folders only these are named."""
_OF_THE_SYSTEM = {"thumbs.db", "desktop.ini", ".ds_store", ".directory"}
_MOST = 100_000  # files of a subfolder that are named


class FolderImages(list[LazyImage]):
    """The images of a folder.

    left_out  (name, reason) of what is not taken, in the order of the names
    root      the folder's real path
    """

    def __init__(self, images: Iterable[LazyImage], left_out: Iterable[tuple[str, str]], root: str = "") -> None:
        super().__init__(images)
        self.root = root
        self.left_out = sorted(left_out)


def image_folder(folder: Path) -> FolderImages:
    """The images in `train/<class>/*` and `test/<class>/*`, or in `<class>/*`, not read yet. Raises HarnessError."""
    try:
        found, root = _image_folder(folder), os.path.realpath(folder)
        images = [replace(image, key=f"{root}\0{image.key}") for image in found]  # another folder has other keys
        return FolderImages(images, found.left_out, root)
    except OSError as error:
        raise HarnessError(
            f"cannot read {error.filename or folder}: {error.strerror}; check its permissions and links"
        ) from None


def _image_folder(folder: Path) -> FolderImages:
    if not folder.is_dir():
        raise HarnessError(f"data set folder {str(folder)!r} does not exist or is no folder; check the path")
    subfolders = _subfolders(folder)
    train, test = (bool(role in subfolders and _subfolders(folder / role)) for role in (splits.TRAIN, splits.TEST))
    if train != test:
        present, missing = (splits.TRAIN, splits.TEST) if train else (splits.TEST, splits.TRAIN)
        raise HarnessError(f"{folder} has classes in {present}/ but none in {missing}/; add it, or move the classes up")
    if not train:
        return _class_folders(folder, subfolders, "", None)
    classes = {role: _subfolders(folder / role) for role in (splits.TRAIN, splits.TEST)}
    unmatched = sorted(set(classes[splits.TRAIN]) ^ set(classes[splits.TEST]))
    if unmatched:
        raise HarnessError(
            f"{folder}: class {unmatched[0]!r} is not in both train/ and test/ ({len(unmatched)} such); make them agree"
        )
    parts = [_class_folders(folder / role, names, f"{role}/", role) for role, names in classes.items()]
    beside = [*_beside_classes(folder, "")]
    beside += [
        each
        for name in subfolders
        if name not in classes
        for each in _subfolder(folder / name, name, "beside train/ and test/")
    ]
    return FolderImages(
        [image for part in parts for image in part], [*beside, *(each for part in parts for each in part.left_out)]
    )


def _class_folders(parent: Path, names: Sequence[str], prefix: str, role: str | None) -> FolderImages:
    if not names:
        raise HarnessError(f"{parent} holds no class folders; put the images into one folder per class")
    images: list[LazyImage] = []
    left_out = [*_beside_classes(parent, prefix)]
    for label in names:
        if not is_text(label):
            raise HarnessError(
                f"{parent}: the class folder {shown(label)} has a name that is no text (its name is the class's, which "
                "releases and tables show); rename it"
            )
        before, missed = len(images), len(left_out)
        for entry in _entries(parent / label):
            name = f"{prefix}{label}/{entry.name}"
            reasons = [*_why_left_out(entry, name)]
            left_out += reasons
            if not reasons and _has_suffix(entry.name, EXTENSIONS) and entry.name[0] != ".":
                images.append(image_from_file(Path(entry.path), name, label, role))
        if len(images) == before:
            some = f" that are read ({left_out[missed][0]}: {left_out[missed][1]})" if len(left_out) > missed else ""
            raise HarnessError(f"class {label!r} in {parent} has no images{some}; add some or remove the folder")
    return FolderImages(images, left_out)


def _why_left_out(entry: os.DirEntry[str], name: str) -> Iterator[tuple[str, str]]:
    """The name and the reason, where an entry of a class folder is not taken and is not hidden."""
    is_image = _has_suffix(entry.name, EXTENSIONS)
    if entry.name.lower() in _OF_THE_SYSTEM or entry.name.startswith("._"):
        return
    if entry.name[0] == "." and not is_image:
        return
    try:
        mode = entry.stat().st_mode
    except OSError as error:  # a dangling link, or a loop: of an image, decoding reports it
        if not is_image:
            yield name, error.strerror or str(error)
        return
    if stat.S_ISDIR(mode):
        yield from _subfolder(Path(entry.path), name, "in a subfolder of a class")
    elif not stat.S_ISREG(mode):
        yield name, f"it is {kind_of(mode)}"
    elif entry.name[0] == ".":
        yield name, "hidden"
    elif not is_image:
        yield name, f"{os.path.splitext(entry.name)[1] or 'no suffix'} is not read"


def _beside_classes(parent: Path, prefix: str) -> Iterator[tuple[str, str]]:
    """Images that lie in no class folder."""
    for entry in _entries(parent):
        if entry.name[0] != "." and _has_suffix(entry.name, EXTENSIONS | OTHER_IMAGES) and not entry.is_dir():
            yield f"{prefix}{entry.name}", "in no class folder"


def _subfolder(folder: Path, name: str, reason: str) -> Iterator[tuple[str, str]]:
    """The files below a folder and the reason; links are not followed."""
    count = 0
    unlisted: list[OSError] = []
    for place, _, files in os.walk(folder, onerror=unlisted.append):
        inside = "" if place == str(folder) else f"{os.path.relpath(place, folder)}/"
        for file in files:
            if file[0] != "." and file.lower() not in _OF_THE_SYSTEM:
                yield f"{name}/{inside}{file}", reason
                count += 1
        if count >= _MOST:
            yield f"{name}/", f"{reason}, with more files than {_MOST:,}"
            return
    for error in unlisted:
        yield f"{name}/", f"{reason} that cannot be listed: {error.strerror}"


def _has_suffix(name: str, suffixes: set[str]) -> bool:
    return os.path.splitext(name)[1].lower() in suffixes


def _subfolders(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(folder) if entry.is_dir() and entry.name[0] != "."]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in the folder, by name."""
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)
