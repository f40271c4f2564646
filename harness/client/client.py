"""The client: the private images, the releases made of them, and the observations that attacks get."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from harness.client.gallery import Gallery, gallery_of
from harness.client.release_cache import ReleaseCache
from harness.errors import HarnessError, Inapplicable
from harness.mixing import plan
from harness.observation import KnownDefense, LabelledImages, Observation, Pairing
from harness.randomness import derive, root_of
from harness.registry import Entry, Registry, bind
from harness.release import Calls, Scheme, as_tensor, empty, obfuscate, scratch, try_out
from harness.scores import judged
from harness.types import Array, Bytes, Release, Secret, Splits


def scheme_of(defense: Entry, registry: Registry) -> Scheme:
    """The defense with its knobs and mixing set, ready to run; without data, seed or plan."""
    mixing = deepcopy(defense.mixing or {})
    metric = bind(registry.get("metrics", "dssim")) if mixing["weights"] == "distortion" else None
    return Scheme(defense.name, bind(defense), mixing, metric)


def check_scheme(scheme: Scheme, labels: Array, size: tuple[int, int]) -> None:
    """Refuse knobs that do not suit images of this size, and sets too small to mix, before anything runs."""
    try_out(scheme, size)
    equal = {**scheme.mixing, "weights": [1 / scheme.sources] * scheme.sources}
    try:
        plan(labels, equal, np.random.Generator(np.random.Philox(0)))
    except HarnessError as error:
        raise HarnessError(f"{scheme.name}: {error}") from None


@dataclass
class Client:
    """One data set on one device.

    releases  R: how many distinct releases there are
    targets  originals that are scored, drawn by a hash of all images
    release_cache  where releases are kept; several clients may share one
    """

    splits: Splits
    registry: Registry
    device: str
    releases: int
    targets: int
    release_cache: ReleaseCache = field(default_factory=ReleaseCache, repr=False)
    _release_0: dict[tuple[str, int], tuple[Release, Secret]] = field(default_factory=dict, repr=False)

    def scheme(self, defense: Entry) -> Scheme:
        return scheme_of(defense, self.registry)

    def check(self, defense: Entry) -> None:
        """Refuse knobs that do not suit the images, and sets too small to mix, before anything runs."""
        check_scheme(self.scheme(defense), self.splits.private.labels, self.splits.size)
        grey = torch.full((1, 3, *self.splits.size), 0.5)
        for name in judged():
            bind(self.registry.get("metrics", name))(grey, grey)

    def release(self, defense: Entry, seed: int, number: int) -> tuple[Release, Secret]:
        """Release `number` of R (from 0) and its secret: made once for the metrics, utility and every attack.

        On the CPU each caller gets a copy of its own. A GPU obfuscates faster than a disk reads: there only release 0
        is kept, until another defense's is made. IndexError beyond R.
        """
        if not 0 <= number < self.releases:
            raise IndexError(f"release {number}: this client makes {self.releases}, numbered from 0")
        settings = {"name": defense.name, "use": defense.use, "version": defense.version, "params": defense.params}
        key = (str(settings | {"mixing": defense.mixing}), seed)
        if self.device == "cpu":
            name, size = f"{self.splits.fingerprint} {key}", self.releases * self.splits.private.images.nbytes
            return self.release_cache.get_or_make(name, number, size, lambda: self.make_release(defense, seed, number))
        if number:
            return self.make_release(defense, seed, number)
        if key not in self._release_0:
            self._release_0.clear()
            self._release_0[key] = self.make_release(defense, seed, 0)
        return self._release_0[key]

    def make_release(self, defense: Entry, seed: int, number: int) -> tuple[Release, Secret]:
        """The same made anew, from no cache and for none."""
        private, key = self.splits.private, _key_of(seed, number)
        return obfuscate(self.scheme(defense), self._resident, private.labels, len(private.classes), key, self.device)

    def calls(self, defense: Entry, seed: int, number: int) -> Calls:
        """The calls of the defense that make this release."""
        scheme, labels = self.scheme(defense), self.splits.private.labels
        return Calls(scheme, self._resident, labels, _key_of(seed, number), self.device)

    @cached_property
    def _resident(self) -> Array | Bytes:
        """All private images on the device: copied to a GPU, on the CPU the memory map itself."""
        images = self.splits.private.images
        return images if self.device == "cpu" else as_tensor(images).to(self.device)

    def originals(self, rows: Array) -> Bytes:
        """(..., 3, H, W) uint8 originals of these rows of the private set."""
        if isinstance(self._resident, torch.Tensor):
            return self._resident[torch.from_numpy(rows).to(self._resident.device)]
        return torch.from_numpy(self._resident[rows])

    def scored(self, secret: Secret) -> tuple[Array, Array]:
        """(n,) rows of the release that are scored, and (n,) the original that dominates each."""
        rows = np.flatnonzero(self.is_target[secret.dominant_rows])
        if not len(rows):
            raise Inapplicable(f"none of the {self.targets} targets dominates a release; use a larger --targets")
        return rows, secret.dominant_rows[rows]

    @cached_property
    def is_target(self) -> Array:
        """(N,) whether each original is scored: the first by a keyed hash of content, whatever the seed or defense.

        The key is of all private and test images. A defense that shows what is not scored would have to know it: one
        image does not give it away, nor does all that a defense is ever given, for test images are not obfuscated.
        """
        private, test = self.splits.private.hashes, self.splits.test.hashes
        key = hashlib.sha256(b"target " + b" ".join([*sorted(map(bytes, private)), b"test", *sorted(map(bytes, test))]))
        order = sorted(range(len(private)), key=lambda row: hashlib.sha256(key.digest() + bytes(private[row])).digest())
        chosen = np.zeros(len(private), bool)
        chosen[order[: self.targets]] = True
        return chosen

    @cached_property
    def gallery(self) -> Gallery:
        """Every target, whether or not it dominates a release, among distractors: the same for all cells."""
        return gallery_of(self.splits, np.flatnonzero(self.is_target))

    def observe(self, defense: Entry, attack: Entry, seed: int) -> Observation:
        """The view of an attack: copies, and only of what its entry is granted.

        Raises Inapplicable where it needs public images and there are none.
        """
        granted, public = frozenset(attack.granted), self.splits.public
        if "public" in granted and not len(public):
            raise Inapplicable("the attack needs public images and there are none (--public-share 0)")
        release, secret = self.release(defense, seed, 0)
        scheme = self.scheme(defense)
        given: dict[str, Any] = {}
        if "labels" in granted:
            given["_labels"] = release.labels.clone()
        if "releases" in granted:
            given["_releases"] = [
                _attack_copy(self.release(defense, seed, number)[0], "labels" in granted)
                for number in range(self.releases)
            ]
        if "defense" in granted:
            given["_known"] = KnownDefense(deepcopy(defense.params), deepcopy(scheme.mixing), frozenset(defense.traits))
            given["_scheme"] = scheme
            given["_key"] = derive(root_of(seed), "rehearsal")  # the same for every attack
        if "public" in granted:
            attributes = None if public.attributes is None else public.attributes.copy()
            given["_public"] = LabelledImages(as_tensor(public.images), public.labels.copy(), attributes)
        if "gallery" in granted:
            given["_gallery"] = _copy(self.gallery.images)
        if "plans" in granted:
            secrets = [self.release(defense, seed, number)[1] for number in range(self.releases)]
            given["_plans"] = [Pairing(secret.sources.copy(), secret.shares.copy()) for secret in secrets]
        images, (rows, _) = release.images if self.device == "cpu" else _copy(release.images), self.scored(secret)
        return Observation(
            images, rows, public.classes, scheme.sources, self.device, granted, public.attribute_names, **given
        )


def _key_of(seed: int, number: int) -> bytes:
    return derive(root_of(seed), "release", number)


def _attack_copy(release: Release, labelled: bool) -> Release:
    """A release as an attack gets it: on the CPU, since all R may not fit on a GPU; labels are -1 unless granted."""
    images = release.images
    if images.device.type != "cpu":
        images = torch.from_numpy(scratch(tuple(images.shape))).copy_(images)
    return Release(images, release.labels.clone() if labelled else torch.full_like(release.labels, -1))


def _copy(images: Bytes) -> Bytes:
    """A copy that an attack may write into; in scratch space where it is large."""
    return empty(tuple(images.shape), str(images.device)).copy_(images)
