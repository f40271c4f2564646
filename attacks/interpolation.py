"""Against grafting: find the unmixed pixels, then fill the others. Reference: Raynal et al. 2020, sections 3.2 and 4.4.

`interpolation` finds the unmixed pixels by expectation-maximisation, `interpolation_learned` by a small network trained
on rehearsals. How the others are filled is chosen on rehearsals of public images; the release as it is and a 3x3 median
are among the choices. Difference to the paper: there the unmixed pixels are interpolated by one fixed method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import piq
import torch
from torch import Tensor

from harness.errors import HarnessError, Inapplicable
from harness.images import to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.grafting import inpainting, masks_em
from harness.plugins.attacks.grafting.mask_network import trained
from harness.randomness import derive, key_from, numpy_generator
from harness.types import Array, Bytes, Generator, Guess, Images, Secret

Belief = Callable[[Images], Tensor]


def interpolation(observation: Observation, rng: Generator, *, rounds: int, rehearsed: int) -> Guess:
    """Two candidates: the dominant source, and the other one solved for from the rest. Inapplicable without grafting.

    rounds     of expectation-maximisation
    rehearsed  public images to choose the filling on
    """
    if rounds < 1:
        raise HarnessError(f"interpolation: rounds {rounds} find nothing; use 1 or more (10)")
    p, per = _grafting(observation)
    rehearsal = _rehearsal(observation, rng, rehearsed)
    return _filled(observation, rehearsal, p, lambda images: masks_em.unmixed(images, p, per, rounds=rounds), {})


def interpolation_learned(observation: Observation, rng: Generator, *, steps: int, rehearsed: int) -> Guess:
    """The same with the unmixed pixels found by a network, trained on rehearsals and evaluated on held-out images.

    In a rehearsal the adversary knows the originals: a pixel that equals its dominant original is unmixed.

    steps      of training
    rehearsed  public images to choose the filling on
    """
    if observation.sources == 1 and not observation.defense.traits - {"linear", "reference"}:
        # The proof on undefended images: a single source as it is, all of whose pixels are unmixed.
        return Guess(
            observation.images[observation.targets][:, None], report={"learned": True, "steps": 0, "filling": "look"}
        )
    p, per = _grafting(observation)
    key = key_from(rng)
    belief, facts = trained(observation, key, p=p, per=per, steps=steps)
    rehearsal = _rehearsal(observation, rng, rehearsed)
    return _filled(observation, rehearsal, p, belief, facts)


@dataclass(frozen=True)
class _Rehearsal:
    """A rehearsed release with its solution.

    released   (n, 3, H, W) uint8
    originals  (n, 2 or 1, 3, H, W) uint8, the dominant source and the largest of the others
    shares     (n,) share of the dominant source
    """

    released: Bytes
    originals: Bytes
    shares: Array


def _grafting(observation: Observation) -> tuple[float, str]:
    """The share of unmixed pixels, and "pixel" or "channel"; Inapplicable where the defense does not graft."""
    known = observation.defense
    if "keeps_pixels" not in known.traits:
        raise Inapplicable("the defense keeps no pixels unmixed: there is nothing to interpolate from")
    p = known.params.get("p")
    if not isinstance(p, int | float) or not 0 <= p <= 1:
        raise Inapplicable("the defense names no share p of pixels that stay unmixed")
    return float(p), str(known.params.get("per", "pixel"))


def _rehearsal(observation: Observation, rng: Generator, count: int) -> _Rehearsal:
    """The defense on about `count` public images, enough of every class to mix within classes."""
    public, draws = observation.public, numpy_generator(derive(key_from(rng), "rehearsed"))
    classes = np.unique(public.labels)
    each = max(observation.sources, -(-count // max(len(classes), 1)))
    rows = [draws.permutation(np.flatnonzero(public.labels == label))[:each] for label in classes]
    if not rows or (observation.defense.mixing["intra_class"] and min(map(len, rows)) < observation.sources):
        raise Inapplicable(f"{len(public)} public images are too few to rehearse on")
    chosen = np.concatenate(rows)
    images = public.images[torch.from_numpy(chosen)].to(observation.device)
    release, secret = observation.rehearse(images, public.labels[chosen], 0)
    order = _largest_two(secret)
    sources = torch.from_numpy(np.take_along_axis(secret.sources, order, 1)).to(images.device)
    return _Rehearsal(release.images, images[sources], np.take_along_axis(secret.shares, order, 1)[:, 0])


def _largest_two(secret: Secret) -> Array:
    """(n, 1 or 2) columns of the secret: the source that gave the label, then the largest of the others."""
    rank = secret.shares.copy()
    rank[np.arange(len(rank)), secret.dominant] = 2
    order: Array = np.argsort(-rank, axis=1, kind="stable")[:, :2]
    return order


def _filled(observation: Observation, rehearsal: _Rehearsal, p: float, belief: Belief, facts: dict[str, Any]) -> Guess:
    share = float(np.clip((rehearsal.shares.mean() - p) / (1 - p), 0, 1)) if p < 1 else 1.0
    method, width, chosen = _choice(rehearsal, belief, share)
    targets = torch.from_numpy(observation.targets)
    count = min(2, observation.sources)
    candidates = torch.empty((len(targets), count, *observation.images.shape[1:]), dtype=torch.uint8)
    for start in range(0, len(targets), masks_em.CHUNK):
        rows = slice(start, start + masks_em.CHUNK)
        images = to_images(observation.images[targets[rows]].to(observation.device))
        weights = belief(images)
        first = inpainting.dominant(images, weights, share, method)
        candidates[rows, 0] = to_bytes(first).cpu()
        if count == 2:
            best = first if share else images  # the mixture alone, where it holds nothing of the dominant source
            candidates[rows, 1] = to_bytes(inpainting.remainder(images, weights, share, best, width)).cpu()
    return Guess(candidates, report={**facts, **chosen, "share_in_mixed": share})


def _choice(rehearsal: _Rehearsal, belief: Belief, share: float) -> tuple[str, float, dict[str, Any]]:
    """The filling with the least dSSIM to the rehearsed dominant sources, and the width with least to the others."""
    fills, rests = dict.fromkeys(inpainting.METHODS, 0.0), dict.fromkeys(inpainting.REST, 0.0)
    inputs = []
    for start in range(0, len(rehearsal.released), masks_em.CHUNK):
        images, originals = (
            to_images(part[start : start + masks_em.CHUNK]) for part in (rehearsal.released, rehearsal.originals)
        )
        weights = belief(images)
        inputs.append((images, originals, weights))
        for name in fills:
            fills[name] += _total_dssim(inpainting.dominant(images, weights, share, name), originals[:, 0])
    method = min(fills, key=fills.__getitem__)
    for images, originals, weights in inputs if rehearsal.originals.shape[1] > 1 else []:
        first = inpainting.dominant(images, weights, share, method)
        for sigma in rests:
            rests[sigma] += _total_dssim(inpainting.remainder(images, weights, share, first, sigma), originals[:, 1])
    width, n = min(rests, key=rests.__getitem__), len(rehearsal.released)
    means = {f"rehearsed_{name}": total / n for name, total in fills.items()}
    return method, width, {"filling": method, "rest_width": width, **means}


def _total_dssim(images: Images, originals: Images) -> float:
    """Sum of dSSIM over a chunk."""
    ssim = piq.ssim(images, originals, data_range=1.0, reduction="none", downsample=False)
    return float((1 - ssim).sum())
