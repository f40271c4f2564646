"""Judgements: whether somebody recognised a source in an obfuscated image. Raynal et al. 2020, section 4.2.3.

The unit is the pair of an obfuscated image and one of its sources, every source: 105 pairs in a survey of 49 questions.
A source is recognised where its class is among those that were named, however many were; a network names one class, the
likeliest. `I cannot tell` names none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, structs

from harness.errors import HarnessError
from harness.system.documents import JSON_BYTES, read_json
from harness.system.files import write_atomically
from harness.system.schema import decode

PEOPLE = "person"
_MOST = 2_000_000
_Text = Annotated[str, Meta(min_length=1, max_length=200)]
_Metrics = dict[_Text, float | None]


@dataclass(frozen=True)
class Pair:
    """An obfuscated image and one of its sources.

    image      which image: equal for every source of it
    source     its column, from 0
    technique  mix, noise_mix, ...; of simple mixing with three sources `mix3`
    metrics    by name, the distance of the image to this source; None where a metric lacks its weights
    """

    image: str
    source: int
    technique: str
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class Judgement:
    """Whether `by` recognised the source of a pair.

    kind  `person`, or the attack that was asked (google_vision, timm_labels, cnn)
    """

    image: str
    source: int
    by: str
    kind: str
    recognised: bool


@dataclass(frozen=True)
class Judgements:
    """All pairs of some images, and what was said of them.

    dataset  the data set's name, fingerprint, height and width, and what else identifies the images
    """

    dataset: Mapping[str, Any]
    pairs: Sequence[Pair]
    judgements: Sequence[Judgement]


class _Pair(Struct, forbid_unknown_fields=True):
    image: _Text
    source: Annotated[int, Meta(ge=0, le=1000)]
    technique: _Text
    metrics: _Metrics


class _Judgement(Struct, forbid_unknown_fields=True):
    image: _Text
    source: Annotated[int, Meta(ge=0, le=1000)]
    by: _Text
    kind: _Text
    recognised: bool


class _Document(Struct, forbid_unknown_fields=True):
    form: Annotated[int, Meta(ge=1, le=1)]
    dataset: dict[_Text, Any]
    pairs: Annotated[list[_Pair], Meta(max_length=_MOST)]
    judgements: Annotated[list[_Judgement], Meta(max_length=_MOST)]


def write(judgements: Judgements, file: Path) -> None:
    """Write a judgements file (JSON), whole or not at all. Raises OSError."""
    document = {
        "form": 1,
        "dataset": dict(judgements.dataset),
        "pairs": [{**asdict(pair), "metrics": dict(pair.metrics)} for pair in judgements.pairs],
        "judgements": [asdict(each) for each in judgements.judgements],
    }
    write_atomically(file, lambda stream: stream.write((json.dumps(document, allow_nan=False) + "\n").encode()))


def read(file: Path) -> Judgements:
    """A judgements file. HarnessError where it is none, or a judgement is of no pair of it, or stands twice."""
    document = decode(read_json(file, "judgements file", JSON_BYTES), _Document, str(file))
    pairs = [Pair(**structs.asdict(each)) for each in document.pairs]
    known = {(pair.image, pair.source) for pair in pairs}
    if len(known) < len(pairs):
        raise HarnessError(f"{file}: a pair of image and source stands twice; write each once")
    judgements = [Judgement(**structs.asdict(each)) for each in document.judgements]
    seen: set[tuple[str, int, str]] = set()
    for each in judgements:
        if (each.image, each.source) not in known:
            raise HarnessError(
                f"{file}: judgement of image {each.image!r}, source {each.source}, which is no pair of it"
            )
        if (key := (each.image, each.source, each.by)) in seen:
            raise HarnessError(f"{file}: {each.by!r} judged image {each.image!r}, source {each.source} twice; keep one")
        seen.add(key)
    return Judgements(document.dataset, pairs, judgements)
