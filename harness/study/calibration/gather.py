"""Judgements of several files as one: by people and by attacks, of the same images.

Files agree where they are of one data set, in one size and with the same knobs, and where a pair that is in two of them
has the same distances. People of different surveys may be the same (a word that each chose): one name is one cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from harness.errors import HarnessError
from harness.study.judgements import Judgement, Judgements, Pair, read
from harness.system.numbers import LARGEST
from harness.system.schema import decode, shown

MOST = 200_000
"""Judgements that are calibrated at most."""
SIMULATED = "simulated"
"""Field of a judgements file's data set: these people are a model's, and everything made of them says so."""
_SAME = ("name", "fingerprint", "height", "width", "knobs")
_CLOSE = 1e-6


class _Dataset(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=300)]
    height: Annotated[int, Meta(ge=1, le=100_000)]
    width: Annotated[int, Meta(ge=1, le=100_000)]
    simulated: bool = False


@dataclass(frozen=True)
class Gathered:
    """Judgements of one data set in one size.

    surveys    how many they are from: what stands before the / of an image's name
    simulated  whether any file says that its judges are
    """

    name: str
    height: int
    width: int
    pairs: Mapping[tuple[str, int], Pair]
    judgements: Sequence[Judgement]
    surveys: Sequence[str]
    simulated: bool


def gather(files: Sequence[Path], surveys: Sequence[str] = ()) -> Gathered:
    """Everything in the files; of these surveys alone where some are named. HarnessError where they do not fit."""
    found = [(file, read(file)) for file in files]
    about = [decode(dict(each.dataset), _Dataset, f"{file}: dataset") for file, each in found]
    pairs: dict[tuple[str, int], Pair] = {}
    judged: dict[tuple[str, int, str], Path] = {}
    judgements: list[Judgement] = []
    for file, each in found:
        _check_alike(found[0][0], found[0][1], file, each)
        for pair in each.pairs:
            _check_distances(pair, file)
            key = pair.image, pair.source
            pairs[key] = _merged(pairs[key], pair, file) if key in pairs else pair
        for one in each.judgements:
            first = judged.setdefault((one.image, one.source, one.by), file)
            if first is not file:
                raise HarnessError(
                    f"{file}: {shown(one.by)} judged image {shown(one.image)}, source {one.source} in {first} too; "
                    "give each judgement once"
                )
            judgements.append(one)
    known = list(dict.fromkeys(map(survey_of, (image for image, _ in pairs))))
    for survey in surveys:
        if survey not in known:
            here = ", ".join(map(shown, known[:20]))
            raise HarnessError(f"no judgements of survey {shown(survey)} (surveys: {here})")
    chosen = [each for each in judgements if not surveys or survey_of(each.image) in surveys]
    if not chosen:
        raise HarnessError(f"{files[0]}: holds no judgements; write some with harness survey score or ask")
    if len(chosen) > MOST:
        raise HarnessError(f"{len(chosen):,} judgements; at most {MOST:,} are calibrated, so name some with --survey")
    used = list(dict.fromkeys(survey_of(each.image) for each in chosen))
    of = about[0]
    return Gathered(of.name, of.height, of.width, pairs, chosen, used, any(each.simulated for each in about))


def survey_of(image: str) -> str:
    """The survey that an image is of."""
    return image.rpartition("/")[0] or "-"


def _check_alike(first: Path, one: Judgements, file: Path, other: Judgements) -> None:
    for name in _SAME:
        mine, theirs = one.dataset.get(name), other.dataset.get(name)
        if mine != theirs:
            raise HarnessError(
                f"{file}: {name} {shown(theirs)} is not {shown(mine)} of {first}; calibrate each data set apart"
            )


def _check_distances(pair: Pair, file: Path) -> None:
    for name, value in pair.metrics.items():
        if value is not None and abs(value) > LARGEST:
            raise HarnessError(
                f"{file}: {shown(name)} of image {shown(pair.image)}, source {pair.source} is {value:g}; no distance "
                f"is above {LARGEST:g}, so write the file again"
            )


def _merged(one: Pair, other: Pair, file: Path) -> Pair:
    """A pair of two files: a distance that one of them lacks is the other's."""
    both: dict[str, Any] = dict(one.metrics)
    for name, value in other.metrics.items():
        mine = both.get(name)
        if mine is None:
            both[name] = value
        elif value is not None and abs(mine - value) > _CLOSE * max(1.0, abs(mine)):
            raise HarnessError(
                f"{file}: {shown(name)} of image {shown(one.image)}, source {one.source} is {value:g}, and {mine:g} in "
                "another file; score both by the same code"
            )
    return replace(one, metrics=both)
