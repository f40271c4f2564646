"""Checks of one's own images and labels: every refusal says what was expected, what was given, and the fix.

Images are (N, 3, H, W), uint8 from 0 to 255 or floats in [0, 1]; both are taken everywhere, and uint8 is divided by 255
where floats are needed. Labels are (N,) class numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from harness.errors import HarnessError
from harness.images import to_bytes, to_images
from harness.system.schema import shown
from harness.types import Array, Bytes, Images

FLOATS = (torch.float32, torch.float64)
_SLACK = 1e-6  # by which a float may be outside [0, 1]
_PIXELS = 255
MOST_CLASSES = 1_000_000
"""Class numbers are below this: several steps make a list with an entry for each of them."""


def checked_images(who: str, given: Any, name: str = "images") -> torch.Tensor:
    """Images as a tensor of uint8, float32 or float64, without gradients unless they were given with them.

    who    begins the message: the function or the plugin
    given  tensor or array (N, 3, H, W), N at least 1
    Raises HarnessError for anything else, and for floats outside [0, 1].
    """
    images = _tensor(who, given, name, "uint8, or floats in [0, 1], of shape (N, 3, H, W)")
    if images.ndim != 4 or images.shape[1] != 3:
        raise HarnessError(
            f"{who}: {name} have shape {tuple(images.shape)}; expected (N, 3, H, W){_shape_fix(images, name)}"
        )
    if images.shape[0] == 0 or 0 in images.shape[2:]:
        raise HarnessError(f"{who}: {name} are empty, {tuple(images.shape)}; give one image or more")
    if images.dtype != torch.uint8 and images.dtype not in FLOATS:
        fix = f"{name}.float()" if images.is_floating_point() else f"{name}.to(torch.uint8) where they go from 0 to 255"
        raise HarnessError(f"{who}: {name} are {images.dtype}; expected uint8, or float32 in [0, 1]: use {fix}")
    if images.dtype != torch.uint8:
        _check_range(who, images, name)
    return images


def as_floats(images: torch.Tensor) -> Images:
    """Checked images as floats in [0, 1]: uint8 is divided by 255, floats stay as they are."""
    return to_images(images) if images.dtype == torch.uint8 else images


def as_bytes(images: torch.Tensor) -> Bytes:
    """Checked images as uint8: floats are multiplied by 255 and rounded, as image files hold them."""
    return images if images.dtype == torch.uint8 else to_bytes(images.detach().float())


def checked_labels(who: str, given: Any, count: int, classes: int | None = None) -> tuple[Array, int]:
    """(N,) int64 class numbers on the CPU, and how many classes there are.

    count    N, as many as there are images
    classes  None: the largest number and one
    Raises HarnessError for anything else than `count` whole numbers in [0, classes).
    """
    labels = _label_array(who, given, count)
    if labels.ndim == 2 and len(labels) == count and labels.dtype.kind == "f":
        raise HarnessError(
            f"{who}: labels are soft, {labels.shape}; expected ({count},) class numbers: use labels.argmax(1)"
        )
    if labels.shape != (count,):
        raise HarnessError(f"{who}: labels have shape {labels.shape}; expected ({count},), one for each image")
    if labels.dtype.kind not in "iu":
        raise HarnessError(f"{who}: labels are {labels.dtype}; expected class numbers: use labels.long()")
    if labels.min() < 0:
        raise HarnessError(f"{who}: a label is {labels.min()}; expected class numbers from 0 on")
    found = int(labels.max()) + 1
    if classes is None:
        check_class_number(who, found - 1)
    if classes is not None and found > classes:
        raise HarnessError(f"{who}: a label is {found - 1}, and there are {classes} classes; give {found} or more")
    return labels.astype(np.int64), found if classes is None else classes


def check_class_number(who: str, number: int) -> None:
    """HarnessError for a class number that is MOST_CLASSES or more."""
    if number >= MOST_CLASSES:
        raise HarnessError(
            f"{who}: a label is {shown(number)}; expected class numbers below {MOST_CLASSES:,}: number the classes "
            "from 0 on, such as np.unique(labels, return_inverse=True)[1]"
        )


def check_plain(who: str, given: Any, name: str) -> None:
    """HarnessError for a masked array, and for a tensor that does not hold each of its values in memory as a number.

    Those are sparse, nested, quantized and MKL-DNN tensors, and tensors on the device "meta".
    """
    if isinstance(given, np.ma.MaskedArray):
        raise HarnessError(f"{who}: {name} are a masked array; expected every value: use {name}.filled(0)")
    if not isinstance(given, torch.Tensor):
        return
    if given.is_nested:
        kind, fix = "a nested tensor", f"torch.stack({name}.unbind())"
    elif given.is_meta:
        kind, fix = 'a tensor without data, on the device "meta"', 'one on "cpu" or "cuda"'
    elif given.is_quantized:
        kind, fix = "a quantized tensor", f"{name}.dequantize()"
    elif given.layout != torch.strided:
        kind, fix = f"a tensor of layout {given.layout}", f"{name}.to_dense()"
    else:
        return
    raise HarnessError(f"{who}: {name} are {kind}; expected a dense one: use {fix}")


def check_enough(who: str, count: int, sources: int) -> None:
    """HarnessError for fewer images than a mixture has sources."""
    if count < sources:
        given = "1 image is" if count == 1 else f"{count} images are"
        raise HarnessError(f"{who}: {given} too few for mixtures of {sources}; give {sources} or more")


def check_same_device(who: str, images: torch.Tensor, others: torch.Tensor, name: str) -> None:
    """HarnessError where two stacks are on two devices."""
    if images.device != others.device:
        raise HarnessError(
            f"{who}: images are on {images.device} and {name} on {others.device}; move one: "
            f'{name}.to("{images.device}")'
        )


def _label_array(who: str, given: Any, count: int) -> Array:
    """Labels as an array of any shape and type."""
    check_plain(who, given, "labels")
    if not isinstance(given, torch.Tensor | np.ndarray | list | tuple):
        raise HarnessError(f"{who}: labels are {type(given).__name__}; expected a tensor of ({count},) class numbers")
    try:
        return given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # a type that NumPy lacks; lists of several lengths
        kind = given.dtype if isinstance(given, torch.Tensor) else f"a {type(given).__name__} of unequal parts"
        raise HarnessError(f"{who}: labels are {kind}; expected a tensor of ({count},) class numbers") from None


def _tensor(who: str, given: Any, name: str, expected: str) -> torch.Tensor:
    check_plain(who, given, name)
    if isinstance(given, torch.Tensor):
        return given
    if isinstance(given, np.ndarray):
        try:
            native = given.astype(given.dtype.newbyteorder("="), copy=False)
            return torch.from_numpy(np.require(native, requirements=("C", "W")))
        except TypeError:  # text, objects
            raise HarnessError(f"{who}: {name} are an array of {given.dtype}; expected {expected}") from None
    raise HarnessError(f"{who}: {name} are {type(given).__name__}; expected a tensor or array: {expected}")


def _shape_fix(images: torch.Tensor, name: str) -> str:
    if images.ndim == 3 and images.shape[0] == 3:
        return f": use {name}[None]"
    if images.ndim == 4 and images.shape[3] == 3:
        axes = "transpose(0, 3, 1, 2) of an array, permute(0, 3, 1, 2) of a tensor"
        return f", channels before height and width: use {name}.{axes}"
    if images.ndim == 4 and images.shape[1] == 1:
        return f": use {name}.expand(-1, 3, -1, -1)"
    if images.ndim == 4 and images.shape[1] == 4:
        return f": use {name}[:, :3], without transparency"
    return ""


def _check_range(who: str, images: torch.Tensor, name: str) -> None:
    low, high = (float(end) for end in images.detach().aminmax())
    if not np.isfinite(low) or not np.isfinite(high):
        raise HarnessError(f"{who}: {name} hold NaN or infinity; expected floats in [0, 1]")
    if low < -_SLACK or high > 1 + _SLACK:
        if low < -0.1:
            fix = "give them as they are before normalisation"
        elif high > 1.1:
            fix = f"divide them by {_PIXELS}"
        else:
            fix = f"use {name}.clamp(0, 1)"
        raise HarnessError(f"{who}: {name} go from {low:.3g} to {high:.3g}; expected floats in [0, 1]: {fix}")
