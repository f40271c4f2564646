"""Make a survey: draw images, obfuscate them, and write the page that is handed out and the key that is kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness.client.client import scheme_of
from harness.errors import HarnessError
from harness.images import to_bytes, to_images
from harness.randomness import derive, numpy_generator, root_of, torch_generator
from harness.registry import Registry
from harness.release import apply, try_out
from harness.study import key as keys
from harness.study.html.page import render
from harness.study.key import AS_PRINTED, SCALED, Asked, Key
from harness.study.plan import KNOBS, Question, draw, scaled
from harness.system.new_folder import new_folder

if TYPE_CHECKING:
    from harness.types import Array, Dataset, Splits

PAGE = "index.html"


@dataclass(frozen=True)
class Survey:
    """A survey, made.

    key     its answers
    photos  (K, 3, H, W) uint8, one of each class, which is in no question: the reference sheet
    reused  sources of a question that another question has too, because a class has too few images
    """

    key: Key
    photos: Array
    reused: int


def make(splits: Splits, request: Mapping[str, Any], registry: Registry, seed: int, *, paper_knobs: bool) -> Survey:
    """The survey of this seed: the same for the same private images.

    splits       its private images are asked about, so that attacks which learn from public ones have not seen them
    request      size, limit and public share that it was loaded with, for the key
    paper_knobs  block and kernel as Table 1 prints them, whatever the size of the images

    HarnessError for fewer than three classes, a class with one private image, and knobs that do not suit the size.
    """
    private, size = splits.private, splits.size
    root = derive(root_of(seed), "survey", splits.fingerprint, AS_PRINTED if paper_knobs else SCALED)
    _check_knobs(size, registry, paper_knobs)
    plan = draw(len(private.classes), numpy_generator(derive(root, "plan")))
    photos, chosen, reused = _images(private, plan, numpy_generator(derive(root, "images")))
    questions = [
        _ask(number, question, rows, private, size, registry, derive(root, "question", number), paper_knobs)
        for number, (question, rows) in enumerate(zip(plan, chosen, strict=True), 1)
    ]
    dataset = {"name": splits.name, "fingerprint": splits.fingerprint, "height": size[0], "width": size[1]}
    key = Key(
        derive(root, "id").hex()[:16],
        seed,
        AS_PRINTED if paper_knobs else SCALED,
        dataset,
        {name: request[name] for name in ("size", "limit", "public_share")},
        private.classes,
        questions,
    )
    return Survey(key, private.images[photos], reused)


def _images(private: Dataset, plan: Sequence[Question], rng: np.random.Generator) -> tuple[Array, list[Array], int]:
    """(K,) rows of the reference photos, the rows of every question's sources, and how many of these are used again.

    An image of the class is drawn among those that no question has, as long as there are any.
    """
    waiting: dict[int, list[int]] = {}
    every: dict[int, Array] = {}
    photos = np.empty(len(private.classes), np.int64)
    for number, name in enumerate(private.classes):
        rows = rng.permutation(np.flatnonzero(private.labels == number))
        if len(rows) < 2:
            raise HarnessError(
                f"class {name!r} has {len(rows)} private image(s), and a survey takes two or more, one of them for the "
                "reference sheet; add images, or use a larger --limit or a smaller --public-share"
            )
        photos[number], every[number] = rows[0], rows[1:]
        waiting[number] = list(rows[1:])
    chosen: list[Array] = []
    for question in plan:
        for number in question.classes:
            if not waiting[number]:
                waiting[number] = list(rng.permutation(every[number]))
        chosen.append(np.array([waiting[number].pop() for number in question.classes]))
    used = np.concatenate(chosen)
    return photos, chosen, len(used) - len(np.unique(used))


def _check_knobs(size: tuple[int, int], registry: Registry, paper_knobs: bool) -> None:
    """HarnessError where a value of Table 1 does not suit images of this size, whether or not this seed draws it."""
    for defense, (knob, values) in KNOBS.items():
        for value in values:
            knobs = {knob: value} if paper_knobs else scaled({knob: value}, size)
            scheme = scheme_of(registry.get("defenses", defense).with_settings(knobs), registry)
            try:
                try_out(scheme, size)
            except HarnessError as error:
                what = f"images of {size[1]}x{size[0]} px do not suit the survey's settings"
                raise HarnessError(f"{what}: {error}; give another --size, 96 say") from None


def _ask(
    number: int,
    question: Question,
    rows: Array,
    private: Dataset,
    size: tuple[int, int],
    registry: Registry,
    key: bytes,
    paper_knobs: bool,
) -> Asked:
    knobs = dict(question.knobs) if paper_knobs else scaled(question.knobs, size)
    entry = registry.get("defenses", question.defense).with_settings({**knobs, "weights": list(question.weights)})
    scheme = scheme_of(entry, registry)
    sources = private.images[rows]
    weights = torch.tensor([question.weights], dtype=torch.float32)
    stack = to_images(torch.from_numpy(np.ascontiguousarray(sources)))[None]
    with torch.no_grad():
        released = to_bytes(apply(scheme, stack, weights, torch_generator(key, "cpu")))[0].numpy()
    return Asked(
        f"q{number:02}",
        question.technique,
        question.defense,
        question.weights,
        entry.params,
        question.classes,
        tuple(private.names[row] for row in rows),
        released,
        sources,
    )


def check_places(out: Path, key: Path, dataset: Path | None) -> None:
    """Refuse, before any work, places that would overwrite something or hand out the key. HarnessError."""
    out, key = Path(os.path.realpath(out)), Path(os.path.realpath(key.parent)) / key.name
    if out.is_file():
        raise HarnessError(f"survey {out} is a file; name a folder that is empty or not there")
    if out.is_dir() and any(out.iterdir()):
        raise HarnessError(f"survey {out} is a folder that is not empty; name one that is empty or not there")
    if out in (key, *key.parents):
        raise HarnessError(f"key {key} lies inside the survey {out}, which is handed out; name a file outside")
    for what, place in {"survey": out, "key": key}.items():
        if not place.parent.is_dir():
            raise HarnessError(f"{what} {place}: there is no folder {place.parent}; make it first")
    if os.path.lexists(key):
        raise HarnessError(f"key {key} is there already and may belong to another survey; name another file")
    originals = dataset and Path(os.path.realpath(dataset))
    for what, place in {"survey": out, "key": key}.items():
        if originals and originals in (place, *place.parents):
            raise HarnessError(f"{what} {place} lies inside the images {originals}; name a place outside")


def write(survey: Survey, out: Path, key: Path) -> int:
    """Write the page into the folder `out`, and the key: both whole, or neither. Returns the bytes of the page.

    HarnessError where they cannot be written, or where something is there (`check_places`).
    """
    page = render(survey.key, survey.photos).encode()
    out, written = Path(os.path.realpath(out)), False
    try:
        with new_folder(out) as folder:
            (folder / PAGE).write_bytes(page)
            try:
                keys.write(survey.key, key)
                written = True
            except FileExistsError:
                raise HarnessError(f"key {key} is there already; name another file") from None
            except OSError as error:
                raise HarnessError(f"cannot write the key {key}: {error.strerror}; name another --key") from None
    except BaseException:
        if written and not (out / PAGE).exists():  # a key without a survey
            with contextlib.suppress(OSError):
                key.unlink()
        raise
    return len(page)
