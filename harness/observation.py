"""What an attack may see: release 0 and exactly what its registry entry is granted.

It is plain data. Arrays are copies in scratch space; no object reachable from an observation leads back to the
originals, to seeds or to plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import NotGranted
from harness.randomness import derive
from harness.release import Scheme, apply, obfuscate
from harness.types import Array, Bytes, Generator, Images, Labels, Release, Secret, Sources, Weights

GRANTS = ("labels", "releases", "defense", "public", "gallery", "plans")


@dataclass(frozen=True)
class LabelledImages:
    """The adversary's own images: (N, 3, H, W) uint8 on the CPU and (N,) int64 labels.

    attributes  (N,) int64 positions in `observation.attributes`, where the data set has a second attribute
    """

    images: Bytes
    labels: Array
    attributes: Array | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Pairing:
    """Which originals the images of one release mix, in released order: true (an oracle's) or guessed (by linking).

    sources  (N, k) int64 numbers of originals, whatever their numbering; -1 where it is not known
    shares   (N, k) float32, each source's share
    """

    sources: Array
    shares: Array

    def __len__(self) -> int:
        return len(self.sources)


@dataclass(frozen=True)
class KnownDefense:
    """What an adversary knows of a defense by Kerckhoffs's principle: everything but its random numbers."""

    params: Mapping[str, Any]
    mixing: Mapping[str, Any]
    traits: frozenset[str]


@dataclass(frozen=True)
class Observation:
    """The adversary's view of one release.

    images    (N, 3, H, W) uint8, release 0, in released order
    targets   (n,) rows that will be scored; a guess has a row per target, or one per release
    classes   names of the classes
    sources   how many originals each release may mix: the most candidates a reconstruction may offer
    device    where the attack may compute
    granted   what else it may read: labels (the public labels), releases (all R), defense (with `rehearse`
              and `apply`), public (the adversary's own labelled images), gallery, plans (an oracle's alone)
    attributes  names of the second attribute that some data sets hide behind a coarse label; else empty
    """

    images: Bytes
    targets: Array
    classes: tuple[str, ...]
    sources: int
    device: str
    granted: frozenset[str]
    attributes: tuple[str, ...] = ()
    _labels: Labels | None = field(default=None, repr=False)
    _releases: Sequence[Release] | None = field(default=None, repr=False)
    _known: KnownDefense | None = field(default=None, repr=False)
    _scheme: Scheme | None = field(default=None, repr=False)
    _public: LabelledImages | None = field(default=None, repr=False)
    _gallery: Bytes | None = field(default=None, repr=False)
    _plans: Sequence[Pairing] | None = field(default=None, repr=False)
    _key: bytes = field(default=b"", repr=False)

    @property
    def labels(self) -> Labels:
        """The public label of every release: (N,) classes or (N, K) shares."""
        labels: Labels = self._get("labels", self._labels)
        return labels

    @property
    def releases(self) -> Sequence[Release]:
        """All R releases with their labels, release 0 first."""
        granted: Sequence[Release] = self._get("releases", self._releases)
        return granted

    @property
    def defense(self) -> KnownDefense:
        """The defense's settings and traits. Branch on traits, never on a name."""
        known: KnownDefense = self._get("defense", self._known)
        return known

    @property
    def public(self) -> LabelledImages:
        """The adversary's own images, disjoint from the private ones."""
        public: LabelledImages = self._get("public", self._public)
        return public

    @property
    def gallery(self) -> Bytes:
        """Candidate identities for re-identification: (G, 3, H, W) uint8."""
        gallery: Bytes = self._get("gallery", self._gallery)
        return gallery

    @property
    def plans(self) -> Sequence[Pairing]:
        """The true pairing and shares of every image of each release: for the oracle alone."""
        plans: Sequence[Pairing] = self._get("plans", self._plans)
        return plans

    def apply(self, sources: Sources, weights: Weights, rng: Generator) -> Images:
        """The defense's own function on any stacks, before rounding; differentiable where the defense is.

        sources  (N, k, 3, H, W) float32 in [0, 1]
        weights  (N, k)
        """
        scheme: Scheme = self._get("defense", self._scheme)
        return apply(scheme, sources, weights, rng)

    def rehearse(self, images: Bytes, labels: Array, epoch: int) -> tuple[Release, Secret]:
        """The same defense on the adversary's own images, with separate randomness: training data of learned attacks.

        images  (N, 3, H, W) uint8
        labels  (N,) int64
        epoch   another number gives another release of the same images
        """
        scheme: Scheme = self._get("defense", self._scheme)
        key = derive(self._key, "rehearsal", epoch)
        return obfuscate(scheme, images, labels, len(self.classes), key, self.device)

    def _get(self, grant: str, value: Any) -> Any:
        if grant not in self.granted:
            granted = ", ".join(sorted(self.granted)) or "nothing"
            raise NotGranted(
                f"this attack reached for {grant}, which its entry does not grant (granted: {granted}); "
                f"add {grant} to `granted` in its registry entry"
            )
        return value
