"""The fields of an entry by the section of the registry, their types and bounds.

Imported where a registry file is read: it imports msgspec.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from harness.system.numbers import LARGEST

Word = Annotated[str, Meta(min_length=1, max_length=100)]
Words = Annotated[list[Word], Meta(max_length=100)] | None
Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Grant = Literal["labels", "releases", "defense", "public", "gallery", "plans"]
Knob = Annotated[str, Meta(pattern=r"^[A-Za-z_]\w{0,99}$", description="the name of an argument")]
Use = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        max_length=300,
        description="module:function, such as defenses.mix:mix",
    ),
]
Version = Annotated[
    int, Meta(ge=1, le=10**9, description="a whole number from 1, raised when the code's meaning changes")
]
Cite = Annotated[str, Meta(min_length=1, max_length=5000, description="where it comes from")]
Does = Annotated[str, Meta(min_length=1, max_length=300, description="one sentence: what it does")]
Params = Annotated[dict[Knob, Any], Meta(max_length=1000)] | None


class Fields(Struct, forbid_unknown_fields=True, kw_only=True):
    """What every section has."""

    use: Use
    version: Version
    cite: Cite
    does: Does | None = None
    params: Params = None
    traits: Words = None
    ready: Use | None = None


class Tune(Struct, forbid_unknown_fields=True, kw_only=True):
    """See `harness.registry.tune_field`; which of them there must be is checked there."""

    knob: Annotated[str, Meta(max_length=100)]
    low: Number | None = None
    high: Number | None = None
    kind: Literal["continuous", "integer", "odd", "divides"] | None = None
    direction: Literal["up", "down"] | None = None


class Beta(Struct, forbid_unknown_fields=True):
    beta: Annotated[float, Meta(gt=0, le=1e6)]


class Mixing(Struct, forbid_unknown_fields=True):
    """Of a defense; what weights add up to is checked in `harness.registry.settings`."""

    weights: (
        Annotated[list[Number | Annotated[list[Number], Meta(max_length=1000)]], Meta(min_length=1, max_length=1000)]
        | Literal["distortion"]
        | Beta
    )
    pairing: Literal["permutation", "matching"]
    intra_class: bool
    label: Literal["dominant", "soft"]


class Defense(Fields):
    mixing: Mixing
    tune: Tune | None = None


class Attack(Fields):
    kind: Annotated[
        Literal["recognition", "reconstruction", "reidentification", "attribute"],
        Meta(description="recognition, reconstruction, reidentification or attribute"),
    ]
    granted: Annotated[list[Grant], Meta(max_length=20)] | None = None


class Metric(Fields):
    higher_is: Annotated[Literal["farther", "closer"], Meta(description="farther or closer")]


SHAPES: dict[str, type[Fields]] = {
    "defenses": Defense,
    "attacks": Attack,
    "metrics": Metric,
    "evaluators": Fields,
    "datasets": Fields,
}
