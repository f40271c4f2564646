"""The defenses on one's own tensors: `harness.defenses.shuffle_mix(images, labels)`, and so every other of `names()`.

    release, secret = harness.defenses.shuffle_mix(images, labels, block=8, seed=0)
    distances = harness.metrics.dssim(release.images, images[secret.dominant_rows])

images    tensor or array (N, 3, H, W), uint8 or floats in [0, 1], which are rounded to uint8 first, as files hold them
labels    (N,) class numbers
settings  the defense's knobs, and its mixing: weights, pairing, intra_class, label; the registered ones where not given
seed      the same seed, images and settings give the same release. Whoever knows it can repeat it: for images that are
          to leave, seed=None takes the randomness of the operating system
number    of several releases of the same images; each has random numbers of its own
classes   how many there are, for soft labels; None: the largest label and one

Returns `harness.types.Release` (what leaves: uint8 images on the device of the given ones, and their labels, in random
order) and `harness.types.Secret` (what stays: which images each mixes, and which one gave the label). They are those
of the benchmark for the same images, seed and number. Raises HarnessError for other types, shapes, ranges and settings.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

from harness.api import facade
from harness.api.arguments import as_lists, whole
from harness.api.tensors import as_bytes, check_enough, checked_images, checked_labels
from harness.client.client import scheme_of
from harness.randomness import ROOT_BYTES, derive, root_of
from harness.release import Scheme, obfuscate
from harness.system.numbers import check_count
from harness.types import Release, Secret

Defense: TypeAlias = Callable[..., tuple[Release, Secret]]
_SECTION = "defenses"


def names() -> list[str]:
    """The defenses that there are."""
    return facade.names(_SECTION)


@lru_cache
def _defense(name: str) -> Defense:
    entry = facade.entry(_SECTION, name)

    def defense(
        images: Any,
        labels: Any,
        *,
        seed: int | None = 0,
        number: int = 0,
        classes: int | None = None,
        **settings: Any,
    ) -> tuple[Release, Secret]:
        scheme = scheme_of(entry.with_settings(as_lists(settings)), facade.registry())
        root = secrets.token_bytes(ROOT_BYTES) if seed is None else root_of(_counted(name, "seed", seed))
        return _released(scheme, images, labels, derive(root, "release", _counted(name, "number", number)), classes)

    kinds = inspect.Parameter
    first = [kinds(each, kinds.POSITIONAL_OR_KEYWORD) for each in ("images", "labels")]
    options = {"seed": 0, "number": 0, "classes": None}
    first += [kinds(option, kinds.KEYWORD_ONLY, default=default) for option, default in options.items()]
    return facade.described(defense, entry, first)


def _released(scheme: Scheme, images: Any, labels: Any, key: bytes, classes: int | None) -> tuple[Release, Secret]:
    stored = as_bytes(checked_images(scheme.name, images))
    check_enough(scheme.name, len(stored), scheme.sources)
    numbers, classes = checked_labels(scheme.name, labels, len(stored), classes)
    return obfuscate(scheme, stored, numbers, classes, key, str(stored.device))


def _counted(who: str, option: str, value: Any) -> int:
    number = whole(f"{who}: {option}", value)
    check_count("seed" if option == "seed" else "releases", number, least=0)
    return number


def __getattr__(name: str) -> Defense:
    if name.startswith("_") or name not in names():
        raise AttributeError(facade.unknown(__name__, _SECTION, name))
    return _defense(name)


def __dir__() -> list[str]:
    return ["names", *names()]
