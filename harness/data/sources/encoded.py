"""What Parquet files, tar shards and the Hugging Face hub have in common: encoded pictures and their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from harness.data.decode import LazyImage
from harness.data.identity import bytes_digest
from harness.data.pixels import decode_image
from harness.errors import HarnessError
from harness.system.schema import shown
from harness.system.text import is_text

if TYPE_CHECKING:
    from harness.types import Array

LARGEST_LABEL = 10**6 - 1
LONGEST_LABEL = 200


def encoded_image(
    name: str, label: str, role: str | None, read: Callable[[], bytes], key: str, is_proof: bool
) -> LazyImage:
    """An image whose file's bytes `read` returns. key, is_proof: of the file that holds it, as in `LazyImage`."""
    return LazyImage(
        name, label, role, partial(_decoded, read), key, content=partial(_content, read), is_proof=is_proof
    )


def _decoded(read: Callable[[], bytes]) -> Array:
    return decode_image(read())


def _content(read: Callable[[], bytes]) -> str:
    try:
        return bytes_digest(read())
    except (OSError, ValueError):
        return "unreadable"


def checked_label(where: str, label: object) -> int | str:
    """A class number from 0 on or a class name. HarnessError that begins with where it stands."""
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label <= LARGEST_LABEL:
        return label
    if isinstance(label, str) and label.strip() and len(label) <= LONGEST_LABEL and is_text(label):
        return label
    raise HarnessError(
        f"{where}: the label is {shown(label)}; expected a class number from 0 to {LARGEST_LABEL:,}, or a name "
        "without control or invisible characters"
    )


def class_names(where: str, labels: Iterable[int | str], names: Sequence[str] | None = None) -> dict[int | str, str]:
    """The name of every label: of a number that of `names`, else the number filled with zeros to sort as it does."""
    found = set(labels)
    numbers = [label for label in found if isinstance(label, int)]
    if numbers and len(numbers) < len(found):
        raise HarnessError(f"{where}: some labels are numbers and some are names; give one kind")
    most = max(numbers, default=0)
    if numbers and names is not None:
        if most >= len(names):
            raise HarnessError(f"{where}: a label is {most}, and it names {len(names)} classes; correct either")
        return {label: str(checked_label(where, names[label])) for label in numbers}
    digits = len(str(most))
    return {label: f"{label:0{digits}}" if isinstance(label, int) else label for label in found}
