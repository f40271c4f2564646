"""The key of a survey: what each of its images was made of, and the images themselves. It stays with its owner.

Scoring measures the distances between an image and its sources, and attacks are asked about the same images as people,
so the key holds the pixels, as PNG files in base64. Its file has mode 0600.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct, structs
from PIL import Image

from harness.data.decode import LARGEST, SMALLEST
from harness.errors import HarnessError
from harness.study.plan import MOST_SOURCES, QUESTIONS
from harness.system.documents import read_json
from harness.system.files import write_private
from harness.system.schema import decode

if TYPE_CHECKING:
    from harness.types import Array

KEY_BYTES = 2**29
"""Of a key: 154 images of 512 px take about a quarter of it."""
SCALED, AS_PRINTED = "scaled", "as printed"
"""Whether block and kernel of Table 1 are scaled from 256 px to the size of the images."""

_FIX = "give the key as it was written"
_Short = Annotated[str, Meta(min_length=1, max_length=200)]
_Name = Annotated[str, Meta(min_length=1, max_length=5_000)]
_Png = Annotated[str, Meta(max_length=2**28)]
_Share = Annotated[float, Meta(gt=0, le=1)]
_Side = Annotated[int, Meta(ge=SMALLEST, le=LARGEST)]
_Place = Annotated[int, Meta(ge=0, le=10_000)]
_Sources = Meta(min_length=2, max_length=MOST_SOURCES)


@dataclass(frozen=True)
class Asked:
    """One question, made.

    id         its name on the page: q01, q02, ... in the order that they are asked
    technique  mix, mix3, noise_mix, ... (harness.study.plan)
    defense    the registry's name of the technique
    weights    the share of each source
    params     the other settings of the defense, as they were used
    classes    the class of each source, by its position in the key's classes
    names      of each source, relative to the data set
    image      (3, H, W) uint8, as the page shows it
    sources    (k, 3, H, W) uint8
    """

    id: str
    technique: str
    defense: str
    weights: tuple[float, ...]
    params: Mapping[str, Any]
    classes: tuple[int, ...]
    names: tuple[str, ...]
    image: Array
    sources: Array

    @property
    def settings(self) -> dict[str, Any]:
        """What `Entry.with_settings` takes."""
        return {**self.params, "weights": list(self.weights)}


@dataclass(frozen=True)
class Key:
    """A survey and its answers.

    survey   its id, which its page and answers hold too
    seed     makes the same survey of the same data set again
    knobs    SCALED or AS_PRINTED
    dataset  name, fingerprint, height and width
    request  size, limit and public share that the data set was loaded with
    """

    survey: str
    seed: int
    knobs: str
    dataset: Mapping[str, Any]
    request: Mapping[str, Any]
    classes: tuple[str, ...]
    questions: Sequence[Asked]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.dataset["height"]), int(self.dataset["width"])

    def image_id(self, question: Asked) -> str:
        """The name of an image among those of several surveys."""
        return f"{self.survey}/{question.id}"


class _Dataset(Struct, forbid_unknown_fields=True):
    name: _Name
    fingerprint: _Short
    height: _Side
    width: _Side


class _Request(Struct, forbid_unknown_fields=True):
    size: int | None
    limit: int | None
    public_share: float | None


class _Question(Struct, forbid_unknown_fields=True):
    id: _Short
    technique: _Short
    defense: _Short
    weights: Annotated[list[_Share], _Sources]
    params: dict[_Short, Any]
    classes: Annotated[list[_Place], _Sources]
    names: Annotated[list[_Name], _Sources]
    image: _Png
    sources: Annotated[list[_Png], _Sources]


class _Document(Struct, forbid_unknown_fields=True):
    form: Annotated[int, Meta(ge=1, le=1)]
    survey: _Short
    seed: Annotated[int, Meta(ge=0)]
    knobs: Literal["scaled", "as printed"]
    dataset: _Dataset
    request: _Request
    classes: Annotated[list[_Name], Meta(min_length=MOST_SOURCES, max_length=10_000)]
    questions: Annotated[list[_Question], Meta(min_length=1, max_length=QUESTIONS)]


def write(key: Key, file: Path) -> None:
    """Write a key of mode 0600 where there is no file yet. Raises OSError, FileExistsError among them."""
    document = {
        "form": 1,
        "survey": key.survey,
        "seed": key.seed,
        "knobs": key.knobs,
        "dataset": dict(key.dataset),
        "request": dict(key.request),
        "classes": list(key.classes),
        "questions": [
            {
                **{name: getattr(each, name) for name in ("id", "technique", "defense", "params")},
                **{name: list(getattr(each, name)) for name in ("weights", "classes", "names")},
                "image": as_text(each.image),
                "sources": [as_text(source) for source in each.sources],
            }
            for each in key.questions
        ],
    }
    write_private(file, lambda stream: stream.write((json.dumps(document, allow_nan=False) + "\n").encode()))


def read(file: Path) -> Key:
    """A key. HarnessError where the file is none, or what it says does not fit together."""
    held = decode(read_json(file, "survey key", KEY_BYTES), _Document, str(file))
    size = held.dataset.height, held.dataset.width
    if len(set(held.classes)) < len(held.classes):
        raise HarnessError(f"{file}: classes: a name stands twice; {_FIX}")
    if len({question.id for question in held.questions}) < len(held.questions):
        raise HarnessError(f"{file}: questions: an id stands twice; {_FIX}")
    questions = [
        _asked(question, len(held.classes), size, f"{file}: questions.#{place}")
        for place, question in enumerate(held.questions, 1)
    ]
    return Key(
        held.survey,
        held.seed,
        held.knobs,
        structs.asdict(held.dataset),
        structs.asdict(held.request),
        tuple(held.classes),
        questions,
    )


def _asked(held: _Question, classes: int, size: tuple[int, int], where: str) -> Asked:
    count = len(held.classes)
    if {len(held.weights), len(held.names), len(held.sources)} != {count}:
        raise HarnessError(f"{where}: weights, classes, names and sources differ in number; {_FIX}")
    if max(held.classes) >= classes or len(set(held.classes)) < count:
        raise HarnessError(f"{where}: classes {held.classes} are not {count} of {classes}; {_FIX}")
    sources = np.stack([_pixels(text, size, f"{where}: sources") for text in held.sources])
    return Asked(
        held.id,
        held.technique,
        held.defense,
        tuple(held.weights),
        held.params,
        tuple(held.classes),
        tuple(held.names),
        _pixels(held.image, size, f"{where}: image"),
        sources,
    )


def as_text(pixels: Array) -> str:
    """(3, H, W) uint8 as a PNG file of the pixels alone, in base64."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _pixels(text: str, size: tuple[int, int], where: str) -> Array:
    """(3, H, W) uint8 of such a text; only an image of this size is decoded."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"]) as image:
            if image.size != size[::-1] or image.mode != "RGB":
                shape = f"{image.mode} {image.size[0]}x{image.size[1]}"
                raise HarnessError(f"{where}: {shape}, expected RGB {size[1]}x{size[0]}; {_FIX}")
            return np.asarray(image).transpose(2, 0, 1).copy()
    except HarnessError:
        raise
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise HarnessError(f"{where}: no PNG in base64 ({type(error).__name__}); {_FIX}") from None
