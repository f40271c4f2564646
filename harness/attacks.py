"""The attacks on one's own released tensors: `harness.attacks.run("multi_release", releases, defense=...)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch

from harness.api import facade
from harness.api.arguments import as_lists, whole
from harness.api.functions import Named, entry_of
from harness.api.tensors import as_bytes, checked_images, checked_labels
from harness.client.client import scheme_of
from harness.errors import HarnessError, Inapplicable, NotConverged, Skipped
from harness.observation import KnownDefense, LabelledImages, Observation
from harness.randomness import derive, root_of, torch_generator
from harness.registry import Entry, Registry, bind, why_not_ready
from harness.system.device import choose_device
from harness.system.numbers import check_count
from harness.types import Guess, Release

_SECTION = "attacks"


def names() -> list[str]:
    """The attacks that there are."""
    return facade.names(_SECTION)


def run(
    attack: Named,
    released: Any,
    *,
    defense: Named | None = None,
    defense_settings: Mapping[str, Any] | None = None,
    public: tuple[Any, Any] | None = None,
    gallery: Any = None,
    classes: int | Sequence[str] | None = None,
    seed: int = 0,
    device: str = "cpu",
    **settings: Any,
) -> Guess:
    """Attack released images, with what the attack may know beside them.

    release, secret = harness.defenses.noise_mix(images, labels)
    guess = harness.attacks.run("smooth", release, defense="noise_mix", public=(other_images, other_labels))
    harness.metrics.dssim(guess.candidates[:, 0], images[secret.dominant_rows])

    attack    a name (`harness list attacks`), a function with the plugin contract, or an `AttackPlugin`
    released  images (N, 3, H, W), uint8 or floats in [0, 1]; a tuple (images, labels), the labels (N,) class numbers
              or (N, K) shares; a `Release`; or a list of these, the releases of one set of originals
    defense   what the images were obfuscated with, and `defense_settings` its knobs and mixing; for attacks that are
              granted the defense
    public    (images, labels) of the adversary's own, for attacks that are granted them; not the released ones
    gallery   images (G, 3, H, W) among which originals are looked for, for re-identification
    classes   how many, or their names (label services compare them); None: the largest label and one
    seed      of the attack's random numbers
    device    cpu or cuda: where it computes
    settings  the attack's knobs; the registered ones where not given

    Returns `harness.types.Guess` with a row for each released image: candidates (N, M, 3, H, W) uint8, class scores
    (N, K), or scores over the gallery (N, G). Raises HarnessError for what is missing or of another type, shape or
    range, and where the attack does not suit.
    """
    entry, registry = entry_of(_SECTION, attack, facade.registry())
    entry = entry.with_settings(as_lists(settings))
    check_count("seed", whole("seed", seed), least=0)
    lacks = why_not_ready(entry)
    if lacks:
        raise HarnessError(f"{entry.name}: {lacks}")
    device = choose_device(str(device))
    observation = _observation(entry, _releases(entry, released), defense, defense_settings, public, gallery, classes,
                               seed, device, registry)  # fmt: skip
    rng = torch_generator(derive(root_of(seed), "attack", entry.name), device)
    try:
        guess: Guess = bind(entry)(observation, rng)
    except (Inapplicable, NotConverged, Skipped) as reason:
        raise HarnessError(f"{entry.name}: {reason}") from None
    return guess


def _observation(
    entry: Entry,
    releases: Sequence[Release],
    defense: Named | None,
    defense_settings: Mapping[str, Any] | None,
    public: tuple[Any, Any] | None,
    gallery: Any,
    classes: int | Sequence[str] | None,
    seed: int,
    device: str,
    registry: Registry,
) -> Observation:
    """What the attack is granted, of what the caller gave. HarnessError where something is missing."""
    granted, first = frozenset(entry.granted), releases[0]
    given: dict[str, Any] = {}
    sources, most = 1, 0
    if "plans" in granted:
        raise HarnessError(f"{entry.name}: it needs the true pairing, which no adversary has; use harness.evaluate")
    if defense is not None:
        chosen, registry = entry_of("defenses", defense, registry)
        chosen = chosen.with_settings(as_lists(dict(defense_settings or {})))
        scheme = scheme_of(chosen, registry)
        sources = scheme.sources
        if "defense" in granted:
            known = KnownDefense(deepcopy(chosen.params), deepcopy(scheme.mixing), frozenset(chosen.traits))
            given |= {"_known": known, "_scheme": scheme, "_key": derive(root_of(seed), "rehearsal")}
    elif "defense" in granted:
        raise HarnessError(f'{entry.name}: it needs the defense; give defense="shuffle_mix", say')
    if "labels" in granted:
        if any(bool((release.labels < 0).any()) for release in releases):
            raise HarnessError(f"{entry.name}: it needs the public labels; give (images, labels)")
        given["_labels"] = first.labels.clone()
        most = _largest(first.labels)
    if "releases" in granted:
        given["_releases"] = [Release(each.images.cpu(), each.labels.cpu()) for each in releases]
    if "public" in granted:
        given["_public"] = _public(entry, public, tuple(first.images.shape[1:]))
        most = max(most, int(given["_public"].labels.max()) + 1)
    if "gallery" in granted:
        if gallery is None:
            raise HarnessError(f"{entry.name}: it looks for originals in a gallery; give gallery=images")
        given["_gallery"] = _like(entry, as_bytes(checked_images(entry.name, gallery, "gallery")), first).to(device)
    return Observation(
        first.images.to(device),
        np.arange(len(first)),
        _class_names(entry.name, classes, most),
        sources,
        device,
        granted,
        **given,
    )


def _releases(entry: Entry, released: Any) -> list[Release]:
    several = released if isinstance(released, list) else [released]
    if not several:
        raise HarnessError(f"{entry.name}: released is empty; give a release or more")
    found = [_release(entry, each) for each in several]
    for each in found[1:]:
        _like(entry, each.images, found[0])
    return found


def _release(entry: Entry, released: Any) -> Release:
    images, labels = (released, None)
    if isinstance(released, Release):
        images, labels = released.images, released.labels
    elif isinstance(released, tuple):
        if len(released) != 2:
            raise HarnessError(f"{entry.name}: released is a tuple of {len(released)}; expected (images, labels)")
        images, labels = released
    stored = as_bytes(checked_images(entry.name, images, "released images"))
    if labels is None:
        return Release(stored, torch.full((len(stored),), -1))
    if isinstance(labels, torch.Tensor) and labels.ndim == 2 and labels.is_floating_point():
        if len(labels) != len(stored):
            raise HarnessError(f"{entry.name}: {len(labels)} labels for {len(stored)} images; give one for each")
        return Release(stored, labels.float())
    return Release(stored, torch.from_numpy(checked_labels(entry.name, labels, len(stored))[0]))


def _public(entry: Entry, public: Any, shape: tuple[int, ...]) -> LabelledImages:
    if not isinstance(public, tuple | list) or len(public) != 2:
        raise HarnessError(f"{entry.name}: it needs images of the adversary's own; give public=(images, labels)")
    images = as_bytes(checked_images(entry.name, public[0], "public images")).cpu()
    if tuple(images.shape[1:]) != shape:
        sizes = f"{tuple(images.shape[1:])}, released ones {shape}"
        raise HarnessError(f"{entry.name}: public images are {sizes}; resize one")
    return LabelledImages(images, checked_labels(entry.name, public[1], len(images))[0])


def _like(entry: Entry, images: torch.Tensor, first: Release) -> torch.Tensor:
    if images.shape[1:] != first.images.shape[1:]:
        raise HarnessError(
            f"{entry.name}: images of {tuple(images.shape[1:])} and of {tuple(first.images.shape[1:])}; resize one"
        )
    return images


def _largest(labels: torch.Tensor) -> int:
    """How many classes labels name."""
    return int(labels.shape[1]) if labels.ndim == 2 else int(labels.max()) + 1


def _class_names(who: str, classes: int | Sequence[str] | None, most: int) -> tuple[str, ...]:
    if isinstance(classes, int) and not isinstance(classes, bool):
        names = tuple(map(str, range(classes)))
    elif classes is None:
        names = tuple(map(str, range(most)))
    elif isinstance(classes, Sequence) and not isinstance(classes, str) and all(isinstance(c, str) for c in classes):
        names = tuple(classes)
    else:
        raise HarnessError(f"{who}: classes are {classes!r}; expected how many, or a list of their names")
    if len(names) < most:
        raise HarnessError(f"{who}: a label is {most - 1}, and there are {len(names)} classes; give {most} or more")
    return names


def __dir__() -> list[str]:
    return ["names", "run"]
