"""A data set that is in memory: tensors, arrays, a torch Dataset, or a table of two of them for train and test.

It becomes a data set like any other: split by class and content, cached by content, fingerprinted by content.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from harness.api.tensors import as_bytes, check_class_number, check_plain, checked_images, checked_labels
from harness.data import splits
from harness.data.pixels import rgb_pixels
from harness.data.sources.in_memory import USE, Sample, store
from harness.errors import HarnessError
from harness.registry import Registry
from harness.system.private import passing_folder
from harness.system.schema import shown
from harness.types import Array

_FILE = "data.yaml"
_FORMS = (
    "a name, a folder, (images, labels), a map-style torch Dataset of (image, label), "
    'or {"train": ..., "test": ...} of these two'
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")


def registered(dataset: Any, name: str | None, registry: Registry) -> tuple[str, Path]:
    """The name of a data set in memory, and a registry file that holds it. HarnessError for what is none.

    name  how boards call it; None: made of its content
    """
    if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
        raise HarnessError(f"name {shown(name)} is not a name; use up to 100 letters, digits, _ and -")
    if name is not None and name in registry.section("datasets"):
        raise HarnessError(f"name {name!r} is that of a registered data set; use another")
    parts = _parts(dataset)
    classes = _class_names(parts)
    folder = passing_folder() / f"data-{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o700)
    try:
        digest = store((sample for role, part in parts for sample in _samples(part, role)), folder, classes)
        kept = passing_folder() / f"data-{digest}-{name or ''}"
        if not (kept / _FILE).is_file():
            said = name or f"images-{digest}"  # of content alone: it is a part of a record's identity
            entry = {"use": USE, "version": 1, "params": {"folder": str(kept)}, "cite": "images that the caller gave"}
            (folder / _FILE).write_text(yaml.safe_dump({"datasets": {said: entry}}))
            folder.rename(kept)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    (said,) = yaml.safe_load((kept / _FILE).read_text())["datasets"]
    return said, kept / _FILE


def _parts(dataset: Any) -> list[tuple[str | None, Any]]:
    """Role and images of each part, checked to be of a form that is read."""
    if isinstance(dataset, Mapping):
        if set(dataset) != {splits.TRAIN, splits.TEST}:
            raise HarnessError(f"dataset has the parts {', '.join(map(repr, dataset))}; expected 'train' and 'test'")
        parts: list[tuple[str | None, Any]] = [(role, dataset[role]) for role in (splits.TRAIN, splits.TEST)]
    else:
        parts = [(None, dataset)]
    for _, part in parts:
        if _is_pair(part):
            continue
        if isinstance(part, torch.utils.data.DataLoader):
            raise HarnessError("dataset is a DataLoader, which shuffles and batches; give its data set: loader.dataset")
        if isinstance(part, torch.utils.data.IterableDataset):
            raise HarnessError("dataset is iterable alone; give a map-style one, such as list(dataset)")
        is_sequence = hasattr(part, "__getitem__") and hasattr(part, "__len__")
        if not is_sequence or isinstance(part, str | bytes | torch.Tensor | np.ndarray | Mapping):
            raise HarnessError(f"dataset is {type(part).__name__}; expected {_FORMS}")
        if not _length(part):
            raise HarnessError("dataset is empty; give images of two classes or more")
    return parts


def _length(part: Any) -> int:
    """How many samples a data set says that it has."""
    try:
        return len(part)
    except Exception as error:
        raise HarnessError(
            f"dataset: the length of {type(part).__name__} cannot be read: {type(error).__name__}: {error}; its "
            "__len__ must return how many samples it has"
        ) from error


def _is_pair(part: Any) -> bool:
    """Whether it is (images, labels), not a sequence of two samples: images have a rank of four, or labels are many."""
    if not isinstance(part, tuple | list) or len(part) != 2 or not isinstance(part[0], torch.Tensor | np.ndarray):
        return False
    return part[0].ndim != 3 or isinstance(part[1], list | tuple) or getattr(part[1], "ndim", 0) > 0


def _class_names(parts: list[tuple[str | None, Any]]) -> list[str] | None:
    """What a torch Dataset calls its classes, in the order of their numbers; None where it does not say."""
    found: list[Any] = [getattr(part, "classes", None) for _, part in parts]
    names = found[0]
    if any(not isinstance(each, list | tuple) or list(each) != list(names) for each in found):
        return None
    distinct = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return list(names) if distinct else None


def _samples(part: Any, role: str | None) -> Iterator[Sample]:
    who = f"dataset {role}" if role else "dataset"
    if _is_pair(part):
        check_plain(who, part[0], "images")
        images = checked_images(who, _repeated(part[0]))
        labels, _ = checked_labels(who, part[1], len(images))
        for start in range(0, len(images), 256):
            some = as_bytes(images[start : start + 256]).permute(0, 2, 3, 1).cpu().numpy()
            for pixels, label in zip(some, labels[start : start + 256], strict=True):
                yield Sample(pixels, int(label), role)
        return
    for at in range(_length(part)):
        (pixels, label), again = _item(who, part, at), _item(who, part, at)
        if label != again[1] or not np.array_equal(pixels, again[0]):
            raise HarnessError(f"{who}: an item differs between two reads; give it without random transforms")
        yield Sample(pixels, label, role)


def _item(who: str, part: Any, at: int) -> tuple[Array, int | str]:
    """(H, W, 3) uint8 pixels of its own, and the class number or name."""
    try:
        item = part[at]
    except Exception as error:
        raise HarnessError(f"{who}[{at}] cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise HarnessError(f"{who}[{at}] is {_described(item)}; expected (image, label)")
    return _pixels(f"{who}[{at}]", item[0]), _label(f"{who}[{at}]", item[1])


def _described(item: Any) -> str:
    return f"{len(item)} values" if isinstance(item, tuple | list) else type(item).__name__


def _pixels(who: str, image: Any) -> Array:
    if isinstance(image, Image.Image):
        try:
            return rgb_pixels(image.copy())
        except ValueError as reason:
            raise HarnessError(f"{who}: {reason}") from None
    check_plain(who, image, "image")
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image.copy()  # the data set may write the next one into it
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 2:
        return np.repeat(image[:, :, None], 3, 2)
    if not isinstance(image, torch.Tensor):
        kind = f"array of {image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise HarnessError(
            f"{who}: the image is {kind}; expected a PIL image, a tensor (3, H, W) or a uint8 array (H, W, 3)"
        )
    if image.ndim != 3:
        raise HarnessError(f"{who}: the image has shape {tuple(image.shape)}; expected (3, H, W)")
    stored = as_bytes(checked_images(who, _repeated(image[None]), "image"))[0]
    return np.array(stored.permute(1, 2, 0).cpu().numpy(), order="C")


def _repeated(images: Any) -> Any:
    """Greyscale images with their channel three times, as a greyscale file is read."""
    if isinstance(images, torch.Tensor) and images.ndim == 4 and images.shape[1] == 1:
        return images.expand(-1, 3, -1, -1)
    if isinstance(images, np.ndarray) and images.ndim == 4 and images.shape[1] == 1:
        return np.repeat(images, 3, 1)
    return images


def _label(who: str, label: Any) -> int | str:
    if isinstance(label, str):
        return label
    check_plain(who, label, "label")
    if isinstance(label, torch.Tensor | np.ndarray) and label.ndim == 0:
        label = label.item()
    if isinstance(label, bool | float) or not hasattr(label, "__index__"):
        raise HarnessError(f"{who}: the label is {shown(label)}; expected a class number or name")
    number = int(label)
    if number < 0:
        raise HarnessError(f"{who}: the label is {shown(number)}; expected a class number from 0 on")
    check_class_number(who, number)
    return number
