"""Inversion by gradient descent through the defense itself and the rounding.

All sources of a release are solved for together: of the images that the defense would turn into this release, those
with the least total variation. A value that rounds to the released one fits exactly, so a residual within half a grey
level costs nothing; where the defense draws at random every step draws afresh (expectation over transformations). For a
blur, descent alone recovers little in so few steps, so it starts from the deconvolution.
References: Rudin, Osher, Fatemi 1992 (total variation); Athalye et al. 2018 (expectation over transformations);
Kingma, Ba 2015 (Adam).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.errors import Inapplicable
from harness.images import average, to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.common.gaussian_blur import deconvolved, known_kernel
from harness.randomness import key_from
from harness.types import Bytes, Generator, Guess, Images, Sources, Weights

_HALF = 0.5 / 255  # half a grey level: what rounding may have changed a value by
_CORNER = 0.01  # slope below which total variation is rounded off
_SMALL = 0.02  # Adam's epsilon: gradients below it make small steps, else Adam would follow the rounding as detail
_REHEARSED = 24
_BLUR_NOISE = 0.001  # noise-to-signal ratio of the deconvolution that descent starts from


def invert(observation: Observation, rng: Generator, *, steps: int, rate: float, variation: Sequence[float]) -> Guess:
    """Sources that explain each release: the dominant one, their mixture without the obfuscation, then the others.

    With total variation as the only prior, descent explains as much as it can by the dominant source alone, at a higher
    contrast.

    steps      of Adam; the rate falls to zero along a cosine
    rate       step size, in shares of the range of the pixels
    variation  weights of the prior to try: rehearsals on public images choose
    """
    if "linear" not in observation.defense.traits:
        raise Inapplicable("the defense declares no trait `linear`, and only through linear ones the attack descends")
    weights = rehearse.expected_weights(observation, key_from(rng)).to(observation.device)

    def inverted(releases: Bytes, strength: float) -> Bytes:
        released = to_images(releases)
        shares = weights.expand(len(released), -1)
        start = starting_images(observation, released).unsqueeze(1).repeat(1, len(weights), 1, 1, 1)
        sources = descend(observation, released, start, shares, rng, steps=steps, rate=rate, strength=strength)
        guesses = torch.cat([sources[:, :1], average(sources, shares).unsqueeze(1), sources[:, 1:]], 1)
        return to_bytes(guesses[:, : len(weights)])

    strength, scores = rehearse.best_setting(observation, sorted(map(float, variation)), inverted, images=_REHEARSED)
    return Guess(
        candidates=rehearse.restore(observation, lambda releases: inverted(releases, strength)),
        report=rehearse.report_of(strength, scores),
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
    """(n, k, 3, H, W) sources in [0, 1] that the defense, with these weights, turns into the released images.

    Inapplicable where the defense is not differentiable.

    released  (n, 3, H, W)
    start     (n, k, 3, H, W) where descent begins
    weights   (n, k)
    strength  weight of the total variation
    """
    sources = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([sources], lr=rate, betas=(0.9, 0.99), eps=_SMALL)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        obfuscated = observation.apply(sources, weights, rng)
        if not obfuscated.requires_grad:
            raise Inapplicable("the defense passes no gradient on: it cannot be descended through")
        misfit = ((obfuscated - released).abs() - _HALF).clamp(min=0).square().sum() / 2
        optimizer.zero_grad()
        (misfit + strength * total_variation(sources)).backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            sources.clamp_(0, 1)
    return sources.detach()


def starting_images(observation: Observation, released: Images) -> Images:
    """The releases; where the defense's blur is known, deconvolved."""
    try:
        return deconvolved(released, known_kernel(observation), _BLUR_NOISE).clamp_(0, 1)
    except Inapplicable:
        return released


def total_variation(images: Images) -> Tensor:
    """Sum over all pixels of the length of the gradient, smoothed near zero; (..., H, W) -> ()."""
    down = images[..., 1:, :-1] - images[..., :-1, :-1]
    across = images[..., :-1, 1:] - images[..., :-1, :-1]
    return (down.square() + across.square() + _CORNER**2).sqrt().sum()
