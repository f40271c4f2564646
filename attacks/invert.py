"""Inversion by gradient descent through the defense itself and the rounding.

All sources of a release are sought together: images that the defense would turn into this release, of those the ones
with the least total variation. A value that rounds to the released one is a perfect fit, so a residual within half a
grey level costs nothing; where the defense draws at random every step draws afresh (expectation over transformations).
Of a blur, descent alone recovers little in so few steps, so it starts from the deconvolution.
References: Rudin, Osher, Fatemi 1992 (total variation); Athalye et al. 2018 (expectation over transformations);
Kingma, Ba 2015 (Adam).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from harness.errors import Inapplicable
from harness.images import average, to_bytes, to_images
from harness.mixing import plan
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.deconvolution import deconvolved, known_kernel
from harness.randomness import derive, key_from, numpy_generator
from harness.types import Array, Bytes, Generator, Guess, Images, Sources, Weights

_HALF = 0.5 / 255  # of a grey level: what rounding may have moved a value by
_CORNER = 0.01  # below this slope total variation is rounded off
_SMALL = 0.02  # gradients below it make small steps: plain Adam would follow the rounding as if it were detail
_REHEARSED = 24
_BLUR_NOISE = 0.001  # noise-to-signal ratio of the deconvolution that descent starts from
_DRAWS = 256


def invert(observation: Observation, rng: Generator, *, steps: int, rate: float, variation: Sequence[float]) -> Guess:
    """Sources that explain each release: the dominant one, their mixture without the obfuscation, then the others.

    With total variation as the only prior, what can be explained by the dominant source alone is, at a higher contrast.

    steps      of Adam; the rate falls to zero along a cosine
    rate       step size, in shares of the range of the pixels
    variation  weights of the prior to try: rehearsals on public images choose
    """
    if "linear" not in observation.defense.traits:
        raise Inapplicable("the defense has no trait `linear`: descending through it finds no source")
    weights = expected_weights(observation, key_from(rng)).to(observation.device)

    def inverted(releases: Bytes, strength: float) -> Bytes:
        released = to_images(releases)
        shares = weights.expand(len(released), -1)
        start = beginning(observation, released).unsqueeze(1).repeat(1, len(weights), 1, 1, 1)
        sources = descend(observation, released, start, shares, rng, steps=steps, rate=rate, strength=strength)
        guesses = torch.cat([sources[:, :1], average(sources, shares).unsqueeze(1), sources[:, 1:]], 1)
        return to_bytes(guesses[:, : len(weights)])

    strength, scores = rehearse.best(observation, sorted(map(float, variation)), inverted, images=_REHEARSED)
    return Guess(
        candidates=rehearse.restore(observation, lambda releases: inverted(releases, strength)),
        report=rehearse.told(strength, scores),
    )


def descend(
    observation: Observation,
    released: Images,
    start: Sources,
    weights: Weights,
    rng: Generator,
    *,
    steps: int,
    rate: float,
    strength: float,
) -> Sources:
    """(n, k, 3, H, W) sources in [0, 1] that the defense, with these weights, turns into the released images."""
    sources = start.clone().requires_grad_()
    descent = torch.optim.Adam([sources], lr=rate, betas=(0.9, 0.99), eps=_SMALL)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(descent, steps)
    for _ in range(steps):
        made = observation.apply(sources, weights, rng)
        if not made.requires_grad:
            raise Inapplicable("the defense passes no gradient on: it cannot be descended through")
        misfit = ((made - released).abs() - _HALF).clamp(min=0).square().sum() / 2
        descent.zero_grad()
        (misfit + strength * total_variation(sources)).backward()
        descent.step()
        decay.step()
        with torch.no_grad():
            sources.clamp_(0, 1)
    return sources.detach()


def beginning(observation: Observation, released: Images) -> Images:
    """The releases; where the defense's blur is known, without it."""
    try:
        return deconvolved(released, known_kernel(observation), _BLUR_NOISE).clamp_(0, 1)
    except Inapplicable:
        return released


def total_variation(images: Images) -> Tensor:
    """Sum over all pixels of the length of the slope, small slopes rounded off; (..., H, W) -> ()."""
    down = images[..., 1:, :-1] - images[..., :-1, :-1]
    along = images[..., :-1, 1:] - images[..., :-1, :-1]
    return (down.square() + along.square() + _CORNER**2).sqrt().sum()


def expected_weights(observation: Observation, key: bytes) -> Weights:
    """(k,) the mean weights of the published mixing, the largest first."""
    rng, mixing = numpy_generator(derive(key, "weights")), {**observation.defense.mixing, "intra_class": False}

    def any_distances(sources: Array, weights: Array) -> Array:
        return rng.random(tuple(weights.shape))

    drawn = plan(np.zeros(_DRAWS, np.int64), mixing, rng, any_distances)
    return torch.from_numpy(drawn.weights.mean(0))
