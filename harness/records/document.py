"""The shape of a record's JSON file: what a board, a check or a report relies on, whoever wrote the file.

Fields that a later version may add are let through; what is named here has its type, its range and its length.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from harness.system.documents import read_json
from harness.system.schema import decode

BYTES = 2**24
FIX = "restore the record, or remove it and run that cell again"
_LARGEST = 1e15

Name = Annotated[str, Meta(min_length=1, max_length=300)]
Text = Annotated[str, Meta(max_length=100_000)]
Hash = Annotated[str, Meta(pattern="^[0-9a-f]{1,64}$", description="a hash of hexadecimal digits")]
Count = Annotated[int, Meta(ge=0, le=10**9)]
Positive = Annotated[int, Meta(ge=1, le=10**9)]
Number = Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)]
Share = Annotated[float, Meta(ge=0, le=1)]
Weights = Annotated[list[Number], Meta(min_length=1)]
Words = Annotated[list[Name], Meta(max_length=100)]
Table = Annotated[dict[str, Any], Meta(max_length=10_000)]


class Dataset(Struct):
    name: Name
    fingerprint: Name
    height: Positive
    width: Positive
    classes: Count
    private: Count
    public: Count
    test: Count


class Mixing(Struct):
    weights: Annotated[list[Number | Weights], Meta(min_length=1, max_length=1000)] | str | dict[str, Number]
    pairing: Name
    intra_class: bool
    label: Name


class Plugin(Struct):
    """An entry as it ran."""

    name: Name
    version: Positive
    params: Table
    traits: Words = []
    granted: Words = []
    kind: Name | None = None


class Defense(Plugin, kw_only=True):
    mixing: Mixing
    published: Name | None = None


class Inputs(Struct):
    dataset: Dataset
    defense: Defense
    seed: Count
    device: Name
    release: Name | None = None
    code: Name | None = None
    attack: Plugin | None = None
    distortion: list[Plugin] = []
    metrics: list[Plugin] = []
    judges: list[Plugin] = []
    utility: Plugin | None = None
    epochs: Positive | None = None
    releases: Positive | None = None
    targets: Positive | None = None
    threads: Positive | None = None
    precision: Name | None = None
    checkpoint: Name | None = None
    versions: Annotated[dict[str, Name], Meta(max_length=1000)] = {}


class ReleaseInputs(Inputs, kw_only=True):
    targets: Positive


class Training(Struct):
    """What boards read of the settings of a utility model."""

    model: Name
    recipe: Name


class Utility(Plugin):
    params: Training  # type: ignore[assignment]


class Network(Struct):
    """The same of an attack: the network of a recogniser."""

    arch: Name | None = None


class Attack(Plugin):
    params: Network  # type: ignore[assignment]


class UtilityInputs(Inputs, kw_only=True):
    utility: Utility
    epochs: Positive


class AttackInputs(Inputs, kw_only=True):
    attack: Attack
    targets: Positive


class Score(Struct):
    n: Count
    mean: Number | None
    low: Number | None = None
    high: Number | None = None
    p5: Number | None = None
    min: Number | None = None
    chance: Share | None = None
    corrected: Number | None = None
    gallery: Count | None = None
    identities: Count | None = None
    reason: Text | None = None


class Rehearsal(Struct):
    mismatch: bool | None = None
    said: list[Text] = []


class OwnRows(Struct):
    """How many of the originals, scored or not, are shown by images that hold them."""

    shown: Count
    originals: Positive

    def __post_init__(self) -> None:
        if self.shown > self.originals:
            raise ValueError("no more shown than there are")


class WrongRows(Struct):
    """How many of the originals (`targets`), and of the distractors, are shown by images that do not hold them.

    unlike_any  of those shown, how many are unlike anything that cannot show them
    """

    shown: Count
    targets: Positive
    distractors_shown: Count
    distractors: Count
    unlike_any: Count = 0

    def __post_init__(self) -> None:
        if not self.unlike_any <= self.shown <= self.targets or self.distractors_shown > self.distractors:
            raise ValueError("no more shown than there are")


class Elsewhere(Struct):
    """The same of one embedding, by what is named."""

    named: Count
    targets: Positive
    distractors_named: Count
    distractors: Count

    def __post_init__(self) -> None:
        if self.named > self.targets or self.distractors_named > self.distractors:
            raise ValueError("no more named than there are")


class ReleaseFacts(Struct):
    """What boards read of a release's facts; those of an attack are its plugin's own."""

    rehearsal: Rehearsal = field(default_factory=Rehearsal)
    own_rows: OwnRows | None = None
    wrong_rows: WrongRows | None = None
    elsewhere: dict[str, Elsewhere] = {}


class Asked(Struct):
    dataset: Text | None = None
    size: Positive | None = None
    limit: Positive | None = None
    public_share: Share | None = None


class Record(Struct):
    format: Literal[1]
    key: Hash
    kind: Literal["release", "utility", "attack"]
    inputs: Inputs
    status: Literal["ok", "failed", "skipped", "inapplicable"]
    reason: Text | None
    scores: Annotated[dict[Name, Score], Meta(max_length=10_000)]
    facts: Table
    seconds: Annotated[float, Meta(ge=0, le=_LARGEST)]
    finished: Annotated[datetime, Meta(tz=True)]
    asked: Asked | UnsetType = UNSET


def read_record(path: Path) -> dict[str, Any]:
    """The content of a record's JSON file, as it stands there; raises HarnessError where it has not this shape."""
    return checked(read_json(path, "record", BYTES), str(path))


def checked(document: Any, where: str) -> dict[str, Any]:
    """`document` itself where it has the shape of a record; raises HarnessError, one line with the field."""
    record = decode(document, Record, where, fix=FIX)
    decode(document["inputs"], _INPUTS[record.kind], f"{where}: inputs", fix=FIX)
    if record.kind == "release":
        decode(document["facts"], ReleaseFacts, f"{where}: facts", fix=FIX)
    found: dict[str, Any] = document
    return found


_INPUTS: dict[str, type[Inputs]] = {"release": ReleaseInputs, "utility": UtilityInputs, "attack": AttackInputs}
