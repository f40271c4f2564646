"""The types that plugins receive and return.

Shapes are written once, here:

    Images      (N, 3, H, W) float32 in [0, 1]
    Bytes       (N, 3, H, W) uint8, what is stored and what leaves the client
    Sources     (N, k, 3, H, W) float32 in [0, 1], the dominant source first
    Weights     (N, k) float32, each row sums to 1
    Labels      (N,) int64 class numbers, or (N, K) float32 shares (soft labels)
    Scores      (N, K) float32, larger means more likely

Nothing here imports torch at run time: `harness list` must answer in half a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array: TypeAlias = np.ndarray[Any, Any]
    Images: TypeAlias = torch.Tensor
    Bytes: TypeAlias = torch.Tensor
    Sources: TypeAlias = torch.Tensor
    Weights: TypeAlias = torch.Tensor
    Labels: TypeAlias = torch.Tensor
    Scores: TypeAlias = torch.Tensor
    Generator: TypeAlias = torch.Generator
else:  # plugins import the names for their annotations
    Array = Images = Bytes = Sources = Weights = Labels = Scores = Generator = Any


@dataclass(frozen=True)
class Mixture:
    """What a defense returns when it changes the shares of its sources (grafting does)."""

    images: Images
    shares: Weights


@dataclass(frozen=True)
class Dataset:
    """Labelled images in one role.

    images   (N, 3, H, W) uint8, usually a read-only memory map
    labels   (N,) int64, positions in `classes`
    hashes   (N,) content hash of every image, "S32" hex
    names    (N,) where each image comes from, relative to its data set
    attributes  (N,) int64, positions in `attribute_names`: the second attribute, which the label hides; else None
    """

    images: Array
    labels: Array
    hashes: Array
    names: tuple[str, ...]
    classes: tuple[str, ...]
    attributes: Array | None = None
    attribute_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Array) -> Dataset:
        """The given rows, copied, in the given order."""
        names = tuple(self.names[int(row)] for row in rows)
        attributes = None if self.attributes is None else self.attributes[rows]
        return Dataset(
            self.images[rows],
            self.labels[rows],
            self.hashes[rows],
            names,
            self.classes,
            attributes,
            self.attribute_names,
        )


@dataclass(frozen=True)
class Splits:
    """A data set in its three disjoint roles.

    private      obfuscated, attacked, trained on
    public       the adversary's own images (may be empty: `--public-share 0`)
    test         clean queries for utility
    fingerprint  hash of every image's content and label and of the roles
    notes        what was dropped on the way (duplicates, unreadable files), for the record
    """

    name: str
    private: Dataset
    public: Dataset
    test: Dataset
    fingerprint: str
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.private.classes

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.private.images.shape[2:]
        return int(height), int(width)


@dataclass(frozen=True)
class Plan:
    """Who is mixed with whom in one epoch, in the order of the release.

    sources  (N, k) int64 rows of the private set, all different within a row, dominant first
    weights  (N, k) float32, each row sums to 1
    ties     (N,) float32 in [0, 1): settles which of several equal shares gives the label
    """

    sources: Array
    weights: Array
    ties: Array

    def __len__(self) -> int:
        return len(self.sources)


@dataclass(frozen=True)
class Release:
    """What leaves the client: one epoch's images and public labels, in random order."""

    images: Bytes
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Secret:
    """What stays with the client.

    sources   (N, k) rows of the private set
    shares    (N, k) each source's share as the defense returned it
    dominant  (N,) column of the source that gave the label
    """

    sources: Array
    shares: Array
    dominant: Array

    @property
    def dominant_rows(self) -> Array:
        """(N,) the private row that dominates each release."""
        rows: Array = self.sources[range(len(self.sources)), self.dominant]
        return rows


@dataclass(frozen=True)
class Guess:
    """What an attack returns: exactly one of the three, a row per release (or per `observation.targets`).

    candidates  (N, M, 3, H, W) uint8 reconstructions, M at most the number of sources, the best guess at the dominant
                source first
    scores      (N, K) class scores; a row with no positive score is "no answer" and never a hit;
                of kind `attribute`, (N, A) over `observation.attributes`
    gallery     (N, G) scores over a gallery
    releases    (N, 2) integers: which release, and which image in it, a row of candidates answers; at most one row for
                each image. None: release 0, in order (or its targets)
    report      figures of the attack itself (steps, losses, held-out accuracy); goes into the record
    """

    candidates: Any = None
    scores: Any = None
    gallery: Any = None
    releases: Any = None
    report: Mapping[str, Any] = field(default_factory=dict)


class Defense(Protocol):
    """`def shuffle_mix(sources, weights, rng, *, block) -> Images | Mixture`"""

    def __call__(self, sources: Sources, weights: Weights, rng: Generator, /, **knobs: Any) -> Images | Mixture: ...


class Attack(Protocol):
    """`def cnn(observation, rng, *, arch, train_epochs) -> Guess`"""

    def __call__(self, observation: Any, rng: Generator, /, **knobs: Any) -> Guess: ...


class Metric(Protocol):
    """`def dssim(images, originals, *, sigma) -> (N,)`; both are Images of one shape, on one device."""

    def __call__(self, images: Images, originals: Images, /, **knobs: Any) -> torch.Tensor: ...


Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as progress(what, done, total) by long work; total 0 while it is unknown."""
