"""Rehearsals: which public images to use, and how an attack without trained weights chooses its setting on them.

The adversary runs the defense on its own images, tries every setting on the releases, and keeps the one whose guesses
are most like the dominant sources. SSIM is piq's, an implementation other than the one that scores the attack.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import piq
import torch

from harness.errors import HarnessError, Inapplicable
from harness.images import to_images
from harness.mixing import plan
from harness.observation import LabelledImages, Observation
from harness.randomness import derive, numpy_generator
from harness.types import Array, Bytes, Weights

Setting = TypeVar("Setting", bound=Hashable)

_CHUNK = 32
_HELD_OUT = 5  # one public image in five is held out
_DRAWS = 256  # mixtures that mean weights are taken over


def best_setting(
    observation: Observation,
    settings: Sequence[Setting],
    apply: Callable[[Bytes, Setting], Bytes],
    images: int = 64,
) -> tuple[Setting, dict[Setting, float]]:
    """The setting whose guesses have the highest mean SSIM to the dominant source, on rehearsed releases.

    settings  tried in this order; of equals the first is chosen, so begin with the one that changes least
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
        parts = [best_ssim(apply(released[rows], setting), originals[rows]) for rows in _slices(len(released), _CHUNK)]
        scores[setting] = float(torch.cat(parts).mean())
    return max(scores, key=lambda setting: scores[setting]), scores


def rehearsal(observation: Observation, images: int, epoch: int = 0) -> tuple[Bytes, Bytes]:
    """Releases of at most so many public images, and the dominant source of each: (n, 3, H, W) uint8 both."""
    public, rows = observation.public, first_rows(observation, images)
    own = public.images[torch.from_numpy(rows)].to(observation.device)
    release, secret = observation.rehearse(own, public.labels[rows], epoch)
    return release.images, own[torch.from_numpy(secret.dominant_rows).to(own.device)]


def first_rows(observation: Observation, images: int) -> Array:
    """Rows of the first few public images of every class, so that a defense that mixes within classes can run on them.

    Inapplicable where they are fewer than the sources of a mixture.
    """
    labels, sources = observation.public.labels, observation.sources
    rank = np.empty(len(labels), np.int64)
    fits = np.ones(len(labels), bool)
    classes = np.unique(labels)
    for label in classes:
        same = labels == label
        rank[same] = np.arange(same.sum())
        fits[same] = same.sum() >= sources
    order = np.lexsort((labels, rank))
    if observation.defense.mixing["intra_class"]:
        order, images = order[fits[order]], max(images, sources * len(classes))
    if len(order) < sources:
        raise Inapplicable(f"{len(labels)} public images are too few to mix {sources} of them")
    return order[:images]


def split(public: LabelledImages, observation: Observation) -> tuple[Array, Array]:
    """Rows of the public images to train on, and rows held out to judge by, in every class.

    Enough of each class in both where mixtures stay within a class. The split is the same for every attack, so that
    images that none was trained on can judge between them. Inapplicable where there are too few images.
    """
    rng = numpy_generator(derive(b"", "split"))
    if not len(public):
        raise Inapplicable("there are no public images to rehearse on (--public-share 0)")
    k = observation.sources
    least = k if observation.defense.mixing["intra_class"] else 1
    judge_parts = []
    for label in np.unique(public.labels):
        rows = rng.permutation(np.flatnonzero(public.labels == label))
        if len(rows) < 2 * least:
            if least == 1:
                continue
            raise Inapplicable(f"a class has {len(rows)} public images; to mix {k} and to judge by takes {2 * k}")
        judge_parts.append(rows[: max(least, len(rows) // _HELD_OUT)])
    judge = np.sort(np.concatenate([np.zeros(0, np.int64), *judge_parts]))
    train = np.setdiff1d(np.arange(len(public)), judge)
    if min(len(train), len(judge)) < k:
        raise Inapplicable(f"{len(public)} public images are too few to mix {k} and to judge by")
    return train, judge


def expected_weights(observation: Observation, key: bytes) -> Weights:
    """(k,) float32 mean weights of the published mixing, the largest first."""
    rng, mixing = numpy_generator(derive(key, "weights")), {**observation.defense.mixing, "intra_class": False}

    def any_distances(sources: Array, weights: Array) -> Array:
        return rng.random(tuple(weights.shape))

    drawn = plan(np.zeros(_DRAWS, np.int64), mixing, rng, any_distances)
    return torch.from_numpy(drawn.weights.mean(0))


def restore(observation: Observation, function: Callable[[Bytes], Bytes], chunk: int = _CHUNK) -> Bytes:
    """Candidates for every target, a few releases at a time.

    function  function(releases (n, 3, H, W) uint8) -> (n, 3, H, W) or (n, M, 3, H, W) uint8
    returns   (targets, M, 3, H, W) uint8
    """
    targets = torch.from_numpy(observation.targets)
    parts = [_stacked(function(observation.images[targets[rows]])) for rows in _slices(len(targets), chunk)]
    return torch.cat(parts)


def report_of(setting: Hashable, scores: Mapping[Any, float]) -> dict[str, Any]:
    """For the record: the chosen setting, and the rehearsed SSIM of every setting that was tried."""
    return {
        "setting": setting_name(setting),
        "rehearsed_ssim": {setting_name(tried): score for tried, score in scores.items()},
    }


def setting_name(setting: Hashable) -> str:
    """A setting in words: ("median", 5) -> "median 5"."""
    parts = setting if isinstance(setting, tuple) else (setting,)
    return " ".join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts)


def best_ssim(guesses: Bytes, originals: Bytes) -> torch.Tensor:
    """(n,) SSIM of the best guess of each release to its original.

    guesses    (n, 3, H, W) or (n, M, 3, H, W) uint8
    originals  (n, 3, H, W) uint8
    """
    guesses = _stacked(guesses)
    truth = to_images(originals).unsqueeze(1).expand(guesses.shape)
    flat = to_images(guesses).flatten(0, 1), truth.flatten(0, 1)
    ssim: torch.Tensor = piq.ssim(*flat, data_range=1.0, reduction="none", downsample=False)
    return ssim.view(guesses.shape[:2]).amax(1)


def _stacked(guesses: Bytes) -> Bytes:
    return guesses.unsqueeze(1) if guesses.ndim == 4 else guesses


def _slices(total: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, total, size)]
