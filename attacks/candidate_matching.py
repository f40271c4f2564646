"""Known-candidate matching: obfuscate the candidates with the defense itself, and see which one a release is like.

An embedding of pictures sees nothing in a code of them: a hash drawn as black and white blocks shows no picture, and
names it. An adversary who has candidates and the defense makes the codes.
References: parrot recognition, Newton, Sweeney and Malin 2005 (the gallery is de-identified as the probe is); whether a
known individual is in a mixture, Homer et al. 2008; membership inference, Shokri et al. 2017; the dimension that puts
distance ratios on one scale, Levina and Bickel 2004.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional

from harness.errors import Inapplicable
from harness.images import to_bytes, to_images
from harness.mixing import plan
from harness.observation import Observation
from harness.randomness import derive, key_from, numpy_generator
from harness.types import Array, Bytes, Generator, Guess, Weights

_FLOATS = 2**22  # numbers of the sources that are obfuscated at a time: 16 MiB
_IMAGES = 256  # images whose features are made at a time
_SIDE = 64  # pixels a side that are compared; larger images are sketched
_GRID = 8  # cells a side of a thumbnail
_NEIGHBOURS = 20  # by which the dimension of distances is estimated
_PLACES = 4  # of a candidate among the sources, at most: each keeps a mean of every candidate's draws
_DIMENSIONS = 1000.0  # at most
_LEAST = 1e-6  # squared distances below this share of the mean squared length are rounding


def candidate_matching(observation: Observation, rng: Generator, *, draws: int) -> Guess:
    """How much nearer a release is to each candidate of the gallery, obfuscated, than to others.

    Each candidate is obfuscated `draws` times. Of mixtures it takes the place of each source (of the first four) in
    turn, with public images as partners and weights drawn as published. A release is compared with the nearest draw,
    and by its direction with the mean of the draws in each place, by four features: pixels, thumbnails, amplitudes of
    the spectrum (which shifts leave in place) and sorted values (which permutations do). The largest likeness counts:
    they have one scale.

    It finds what a source leaves behind by itself: any fixed map, hash or code of it, with a fixed key, with one of a
    few keys, or in noise. It does not find a code of all sources together (that takes every pair of candidates), nor
    one under a fresh key of more values than there are draws.

    Linear in releases, candidates and draws. A scheme whose output has nothing of its sources is at chance.

    draws  obfuscations of each candidate
    """
    gallery, device = observation.gallery, observation.device
    shown = features(observation.images[torch.from_numpy(observation.targets)], device)
    places = min(observation.sources, draws, _PLACES)
    distances = [torch.empty(len(shown[0]), len(gallery), device=device) for _ in shown]
    means = [own.new_empty(places, len(gallery), own.shape[1]) for own in shown]
    for rows, drawn in _obfuscated(observation, rng, draws, places):
        for found, mean, own, candidates in zip(distances, means, shown, zip(*drawn, strict=True), strict=True):
            found[:, rows] = torch.stack([_squared_distances(own, each) for each in candidates]).amin(0)
            mean[:, rows] = torch.stack([torch.stack(candidates[place::places]).mean(0) for place in range(places)])
    best = torch.full_like(distances[0], -torch.inf)
    for found, mean, own in zip(distances, means, shown, strict=True):
        length = float(own.square().sum(1).mean())
        apart = torch.stack([_squared_distances(*_directions(own, each)) for each in mean]).amin(0)
        for far, scale in ((found, length), (apart, 1.0)):
            best = torch.maximum(best, _likeness(far, scale, observation.sources))
    return Guess(gallery=best, report={"candidates": len(gallery), "draws": draws})


def _obfuscated(
    observation: Observation, rng: Generator, draws: int, places: int
) -> Iterator[tuple[slice, list[list[torch.Tensor]]]]:
    """Rows of the gallery, and by draw the features of what the defense makes of them, at place draw mod `places`."""
    gallery, public, k = observation.gallery, observation.public, observation.sources
    if len(public) < k - 1:
        raise Inapplicable(f"{len(public)} public images are too few as partners in mixtures of {k}")
    step = max(1, _FLOATS // (k * int(np.prod(gallery.shape[1:]))))
    key = key_from(rng)
    for start in range(0, len(gallery), step):
        rows = slice(start, min(start + step, len(gallery)))
        own, drawn = to_images(gallery[rows].to(observation.device)), []
        for draw in range(draws):
            numbers = numpy_generator(derive(key, "candidates", start, draw))
            weights = _weights(observation, len(own), numbers).to(observation.device)
            partners = [numbers.choice(len(public), k - 1, replace=False) for _ in own] if k > 1 else []
            stacks = own[:, None]
            if partners:
                others = to_images(public.images[torch.from_numpy(np.stack(partners))].to(observation.device))
                place = draw % places
                stacks = torch.cat([others[:, :place], stacks, others[:, place:]], 1)
            with torch.no_grad():
                drawn.append(features(to_bytes(observation.apply(stacks, weights, rng)), observation.device))
        yield rows, drawn


def _weights(observation: Observation, count: int, numbers: np.random.Generator) -> Weights:
    """(count, k) float32 weights drawn as published, the largest first."""
    mixing = {**observation.defense.mixing, "intra_class": False, "pairing": "permutation"}

    def any_distances(sources: Array, weights: Array) -> Array:
        return numbers.random(tuple(weights.shape))

    drawn = plan(np.zeros(max(count, observation.sources), np.int64), mixing, numbers, any_distances)
    return torch.from_numpy(drawn.weights[:count])


def features(images: Bytes, device: str) -> list[torch.Tensor]:
    """Of (N, 3, H, W) uint8: pixels, thumbnails, amplitudes and sorted values, (N, F) float32 each.

    Pixels of larger images are sketched: random signs, then area means, which keep squared distances in expectation
    (Charikar, Chen and Farach-Colton 2002); plain means would lose a code of fine patterns.
    """
    parts = []
    for some in images.split(_IMAGES):
        planes = to_images(some.to(device)) - 0.5
        pixels = planes
        if max(planes.shape[2:]) > _SIDE:
            signs = torch.from_numpy(numpy_generator(derive(b"", "sketch")).choice([-1.0, 1.0], planes.shape[1:]))
            pixels = functional.adaptive_avg_pool2d(planes * signs.float().to(device), _SIDE)
        grey = planes.mean(1, keepdim=True)
        reduced = functional.adaptive_avg_pool2d(grey, min(_SIDE, *grey.shape[2:]))[:, 0]
        values = planes.flatten(2).sort(2).values
        kept = torch.linspace(0, values.shape[2] - 1, min(_SIDE, values.shape[2]), device=device).long()
        found = [
            pixels,
            functional.adaptive_avg_pool2d(planes, _GRID),
            torch.fft.rfft2(reduced, norm="ortho").abs(),
            values[..., kept],
        ]
        parts.append([each.flatten(1) for each in found])
    return [torch.cat(each) for each in zip(*parts, strict=True)]


def _squared_distances(own: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """(n, m) float32"""
    lengths = own.square().sum(1)[:, None] + known.square().sum(1)
    return torch.addmm(lengths, own, known.T, alpha=-2).clamp(min=0)


def _directions(own: torch.Tensor, known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both less the mean of `known`, of length 1: how far draws differ from each other says nothing of a release."""
    mean = known.mean(0)
    return functional.normalize(own - mean, dim=1), functional.normalize(known - mean, dim=1)


def _likeness(distances: torch.Tensor, length: float, sources: int) -> torch.Tensor:
    """(n, G) log(distance of the K-th nearest / own distance) times the dimension of the row's distances; K is 20.

    For candidates drawn at random the j-th nearest has the sum of 1 / i, i from j to K - 1, on average, in any
    dimension (Levina and Bickel 2004): features of many and of few dimensions are on one scale. The dimension is
    estimated by the nearest but those that the release may hold.

    distances  (n, G) squared
    length     mean squared length of what is compared
    sources    how many candidates a release may hold
    """
    logs = (distances + max(_LEAST * length, torch.finfo(torch.float32).tiny)).log() / 2
    most = min(_NEIGHBOURS, logs.shape[1])
    nearest = logs.topk(most, 1, largest=False).values
    used = torch.arange(min(sources, most - 1), most - 1, device=logs.device)
    if not len(used):
        return -logs
    reciprocal = 1 / torch.arange(1.0, most, device=logs.device)
    expected = reciprocal.flip(0).cumsum(0).flip(0)[used].mean()
    spread = (nearest[:, -1:] - nearest[:, used]).mean(1, keepdim=True)
    return (nearest[:, -1:] - logs) * (expected / spread).clamp(max=_DIMENSIONS)
