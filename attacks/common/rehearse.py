"""Choosing a setting by rehearsal: what an attack without trained weights tunes itself with.

The adversary runs the defense on its own images, tries every setting on what comes out, and keeps the one whose guesses
are most like the dominant source. SSIM is piq's, an implementation other than the one that scores the attack.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import piq
import torch

from harness.errors import HarnessError, Inapplicable
from harness.images import to_images
from harness.observation import Observation
from harness.types import Array, Bytes

Setting = TypeVar("Setting", bound=Hashable)

_CHUNK = 32


def best(
    observation: Observation,
    settings: Sequence[Setting],
    apply: Callable[[Bytes, Setting], Bytes],
    images: int = 64,
) -> tuple[Setting, dict[Setting, float]]:
    """The setting whose guesses have the highest mean SSIM to the dominant source, on rehearsed releases.

    settings  tried in this order; of equals the first is kept, so begin with the one that does least
    apply     apply(releases (n, 3, H, W) uint8, setting) -> (n, 3, H, W) or (n, M, 3, H, W) uint8; of M guesses the
              best counts, as when the attack is scored
    images    public images to rehearse on, at most (more only where mixtures stay within a class and classes are many)
    returns   the setting, and the mean SSIM of every setting
    """
    if not settings:
        raise HarnessError("there is no setting to try; give the attack's knobs at least one value each")
    released, originals = rehearsal(observation, images)
    scores = {}
    for setting in settings:
        found = [likeness(apply(released[rows], setting), originals[rows]) for rows in _slices(len(released), _CHUNK)]
        scores[setting] = float(torch.cat(found).mean())
    return max(scores, key=lambda setting: scores[setting]), scores


def rehearsal(observation: Observation, images: int, epoch: int = 0) -> tuple[Bytes, Bytes]:
    """Releases of some of the public images, and the dominant source of each: (n, 3, H, W) uint8 both."""
    public, rows = observation.public, some(observation, images)
    own = public.images[torch.from_numpy(rows)].to(observation.device)
    release, secret = observation.rehearse(own, public.labels[rows], epoch)
    return release.images, own[torch.from_numpy(secret.dominant_rows).to(own.device)]


def some(observation: Observation, images: int) -> Array:
    """Rows of the first few public images of every class: a defense that mixes within classes can run on them."""
    labels, sources = observation.public.labels, observation.sources
    rank = np.empty(len(labels), np.int64)
    fits = np.ones(len(labels), bool)
    classes = np.unique(labels)
    for label in classes:
        mine = labels == label
        rank[mine] = np.arange(mine.sum())
        fits[mine] = mine.sum() >= sources
    order = np.lexsort((labels, rank))
    if observation.defense.mixing["intra_class"]:
        order, images = order[fits[order]], max(images, sources * len(classes))
    if len(order) < sources:
        raise Inapplicable(f"{len(labels)} public images are too few to mix {sources} of them")
    return order[:images]


def restore(observation: Observation, function: Callable[[Bytes], Bytes], chunk: int = _CHUNK) -> Bytes:
    """Candidates for every target, a few releases at a time.

    function  function(releases (n, 3, H, W) uint8) -> (n, 3, H, W) or (n, M, 3, H, W) uint8
    returns   (targets, M, 3, H, W) uint8
    """
    targets = torch.from_numpy(observation.targets)
    parts = [_stacked(function(observation.images[targets[rows]])) for rows in _slices(len(targets), chunk)]
    return torch.cat(parts)


def told(setting: Hashable, scores: Mapping[Any, float]) -> dict[str, Any]:
    """What goes into the record: the setting that was chosen, and what every other would have given."""
    return {"setting": name(setting), "rehearsed_ssim": {name(each): score for each, score in scores.items()}}


def name(setting: Hashable) -> str:
    """A setting in words: ("median", 5) -> "median 5"."""
    parts = setting if isinstance(setting, tuple) else (setting,)
    return " ".join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts)


def likeness(guesses: Bytes, originals: Bytes) -> torch.Tensor:
    """(n,) SSIM of the best guess of each release."""
    guesses = _stacked(guesses)
    truth = to_images(originals).unsqueeze(1).expand(guesses.shape)
    flat = to_images(guesses).flatten(0, 1), truth.flatten(0, 1)
    found: torch.Tensor = piq.ssim(*flat, data_range=1.0, reduction="none", downsample=False)
    return found.view(guesses.shape[:2]).amax(1)


def _stacked(guesses: Bytes) -> Bytes:
    return guesses.unsqueeze(1) if guesses.ndim == 4 else guesses


def _slices(total: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, total, size)]
