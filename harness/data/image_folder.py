"""Classes and roles of the images in a folder, from the names of its subfolders; nothing is decoded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.data import splits
from harness.data.decode import LazyImage, image_from_file
from harness.errors import HarnessError

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic"}


def image_folder(folder: Path) -> list[LazyImage]:
    """The images in `train/<class>/*` and `test/<class>/*`, or in `<class>/*`, not read yet."""
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
    return [i for role, names in classes.items() for i in _class_folders(folder / role, names, f"{role}/", role)]


def _class_folders(parent: Path, names: Sequence[str], prefix: str, role: str | None) -> list[LazyImage]:
    if not names:
        raise HarnessError(f"{parent} holds no class folders; put the images into one folder per class")
    images: list[LazyImage] = []
    for label in names:
        files = [
            entry
            for entry in os.scandir(parent / label)
            if os.path.splitext(entry.name)[1].lower() in EXTENSIONS and entry.name[0] != "." and not entry.is_dir()
        ]
        if not files:
            raise HarnessError(f"class {label!r} in {parent} has no images; add some or remove the folder")
        for file in files:
            images.append(image_from_file(Path(file.path), f"{prefix}{label}/{file.name}", label, role))
    return images


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")
