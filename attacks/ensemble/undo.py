"""What a defense does to every image alike is found by probing it, and undone before the members run.

A finder probes the defense (attacks.ensemble.probes) and answers how to undo what it found, or None. What it answers is
accepted only where it brings rehearsed releases closer to the plain mixtures of their sources, closer than smoothing
does, and closer to their own mixtures more than to those of others, as a mean image is not. It is then undone in all
releases and in all rehearsals, and the finders are asked again about what remains. Two steps of which the first alone
brings nothing (a table of grey levels, then an order of the pixels) are accepted together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import Tensor

from harness.errors import Inapplicable
from harness.images import average, to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import filters, rehearse
from harness.randomness import derive, key_from, torch_generator
from harness.release import Scheme, empty
from harness.types import Bytes, Generator, Images, Mixture, Release, Sources, Weights

_REHEARSED = 48
_GAIN = 0.02  # of mean SSIM to the plain mixtures: less is not worth a step,
_DEVIATIONS = 3.0  # and less than so many standard errors may be chance
_MOST = 4  # steps in all, each finder's once
_DONE = 0.99  # SSIM at which nothing remains to be undone
_WIDTHS = (0.7, 1.0, 1.5, 2.0, 3.0, 5.0)  # of Gaussian filters, in pixels
_OTHERS = (1, 7, 20)  # places on in the rehearsal: whose mixtures a release is compared with, beside its own
_CHUNK = 64


@dataclass(frozen=True)
class Undoing:
    """How to undo one thing that a defense does.

    said      in words, for the report: "a fixed permutation of pixels"
    invert    invert(releases (n, 3, H, W) uint8) -> (n, 3, H, W) uint8 on the same device
    removes   declared traits that no longer hold afterwards
    together  whether `invert` must see all images of one call of the defense at once, because it estimates from them
              what they share; else it gets a few at a time
    """

    said: str
    invert: Callable[[Bytes], Bytes]
    removes: frozenset[str] = frozenset()
    together: bool = False


Finder: TypeAlias = Callable[[Observation, Generator], Undoing | None]
"""find(observation, rng) -> how to undo what it found, or None; Inapplicable counts as None."""


@dataclass(frozen=True)
class Undone:
    """The observation with everything undone that was found.

    found   in words, in the order in which it was undone
    scores  mean rehearsed SSIM to the plain mixtures, smoothed as suits best: before, and after each accepted step
    """

    observation: Observation
    found: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


def undo(observation: Observation, finders: Sequence[Finder], rng: Generator) -> Undone:
    """Everything that the finders find and that rehearsals confirm, undone; at most four steps."""
    key, found = key_from(rng), list[str]()
    trial = _Trial.of(observation)
    scores = [trial.score]
    left = dict(enumerate(finders))
    while left and len(found) < _MOST and trial.score < _DONE:
        steps = _next_steps(observation, trial, left, derive(key, "turn", len(found)))
        if not steps:
            break
        for number, step in steps:
            observation, trial = without(observation, step), trial.undone(step)
            found.append(step.said)
            del left[number]
        scores.append(trial.score)
    return Undone(observation, found, scores)


def _next_steps(
    observation: Observation, trial: _Trial, finders: Mapping[int, Finder], key: bytes, second: bool = False
) -> list[tuple[int, Undoing]]:
    """The first step, or pair of steps, that rehearsals confirm, each with the number of its finder."""
    unconfirmed = list[tuple[int, Undoing]]()
    for number, finder in finders.items():
        try:
            step = finder(observation, torch_generator(derive(key, "finder", number), observation.device))
        except Inapplicable:
            continue
        if step is None:
            continue
        if trial.undone(step).better_than(trial):
            return [(number, step)]
        unconfirmed.append((number, step))
    for number, step in [] if second else unconfirmed:
        others = {other: finder for other, finder in finders.items() if other != number}
        rest = replace(trial, released=trial.undone(step).released)
        further = _next_steps(without(observation, step), rest, others, derive(key, "second", number), second=True)
        if further:
            return [(number, step), *further]
    return []


@dataclass(frozen=True)
class _Trial:
    """Rehearsed releases beside the plain mixtures of their sources.

    ssim    (n,) of each release to its mixture, smoothed by the width that suits all best, so that a step which only
            smooths gains nothing; or what is to be exceeded
    others  (n,) mean SSIM to the mixtures of three others, smoothed alike
    """

    released: Bytes
    mixtures: Bytes
    ssim: Tensor
    others: Tensor

    @classmethod
    def of(cls, observation: Observation) -> _Trial:
        rows = rehearse.first_rows(observation, _REHEARSED)
        own = observation.public.images[torch.from_numpy(rows)].to(observation.device)
        release, secret = observation.rehearse(own, observation.public.labels[rows], 0)
        shares = torch.from_numpy(secret.shares).to(own.device)
        mixtures = to_bytes(average(to_images(own[torch.from_numpy(secret.sources).to(own.device)]), shares))
        return cls(release.images, mixtures, *_ssim_smoothed(release.images, mixtures))

    @property
    def score(self) -> float:
        return float(self.ssim.mean())

    def undone(self, step: Undoing) -> _Trial:
        released = step.invert(self.released)
        return _Trial(released, self.mixtures, *_ssim_smoothed(released, self.mixtures))

    def better_than(self, other: _Trial) -> bool:
        """By a paired comparison over the rehearsed releases."""
        gain, gain_of_others = self.ssim - other.ssim, self.others - other.others
        return _exceeds(gain, _GAIN) and _exceeds(gain - gain_of_others, _GAIN / 2)


def _exceeds(gain: Tensor, least: float) -> bool:
    """Whether the mean gain is larger than `least`, and than chance makes it."""
    error = float(gain.std()) / math.sqrt(len(gain))
    return float(gain.mean()) > max(least, _DEVIATIONS * error)


def _ssim_smoothed(released: Bytes, mixtures: Bytes) -> tuple[Tensor, Tensor]:
    """(n,) SSIM to the mixtures, smoothed by the width that suits all best; the mean one to three others."""
    tried = [released, *(filters.smoothed(released, ("gaussian", width)) for width in _WIDTHS)]
    scored = [(rehearse.best_ssim(images, mixtures), images) for images in tried]
    ssim, images = max(scored, key=lambda pair: float(pair[0].mean()))
    others = torch.stack([rehearse.best_ssim(images, mixtures.roll(by, 0)) for by in _OTHERS])
    return ssim, others.mean(0)


def without(observation: Observation, undoing: Undoing) -> Observation:
    """The same observation with the step undone in all releases and in all rehearsals."""
    scheme = observation._scheme
    assert scheme is not None  # granted, as finders call it
    inverse = _Inverse(scheme, undoing)
    known = replace(observation.defense, traits=observation.defense.traits - undoing.removes)
    releases = observation._releases if "releases" in observation.granted else None
    images = inverse.of(observation.images, observation.device)
    return replace(
        observation,
        images=images,
        _releases=releases
        and [
            Release(images if number == 0 else inverse.of(release.images, observation.device), release.labels)
            for number, release in enumerate(releases)
        ],
        _known=known,
        _scheme=Scheme(scheme.name, inverse.function, scheme.mixing, scheme.dissimilarity),
    )


@dataclass(frozen=True)
class _Inverse:
    """Undoes a step; `function` is the defense's function followed by rounding and undoing."""

    scheme: Scheme
    undoing: Undoing

    def of(self, released: Bytes, device: str) -> Bytes:
        if self.undoing.together:
            return self.undoing.invert(released.to(device)).to(released.device)
        restored = empty(tuple(released.shape), str(released.device))
        for start in range(0, len(released), _CHUNK):
            rows = slice(start, start + _CHUNK)
            restored[rows] = self.undoing.invert(released[rows].to(device))
        return restored

    def function(self, sources: Sources, weights: Weights, rng: Generator) -> Images | Mixture:
        output = self.scheme.function(sources, weights, rng)
        if isinstance(output, Mixture):
            return Mixture(self._round_and_undo(output.images), output.shares)
        return self._round_and_undo(output)

    def _round_and_undo(self, images: Images) -> Images:
        return to_images(self.undoing.invert(to_bytes(images.detach())))
