"""Undoing a known linear map that a defense applies to every image alike.

Examples are one permutation for all images, an image that is added to all, inverted grey levels, a filter. Where the
defense's function is linear and does not depend on the random generator it is known (Kerckhoffs), and least squares
through it and its adjoint, which automatic differentiation gives, undo it up to rounding.
Reference: Hestenes, Stiefel 1952 (conjugate gradients, here on the normal equations).
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.errors import Inapplicable
from harness.images import average, to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.ensemble.undo import Undoing
from harness.randomness import derive, torch_generator
from harness.release import empty
from harness.types import Bytes, Generator, Images

_STEPS = (1, 4, 16, 64)  # of conjugate gradients to try: few where more would amplify the rounding
_REHEARSED = 48
_AS_GOOD = 0.005  # of SSIM: within so much of the best, fewer steps are taken
_DRAWS = 16  # that the offset is averaged over
_SAME = 1e-3  # largest difference of equal images
_CHUNK = 64
_REMOVED_TRAITS = frozenset({"keyed", "permutes_in_blocks"})  # that no longer hold once the map is undone
_OTHER_ATTACKS = {"blurs", "pixelizes"}  # traits of maps that other members know by their parameters


def known_linear_map(observation: Observation, rng: Generator) -> Undoing | None:
    """A finder (attacks.ensemble.undo): the linear map that the defense applies to every image alike, or None."""
    if observation.defense.traits & _OTHER_ATTACKS:
        return None
    offset = _offset(observation)
    rows = rehearse.first_rows(observation, _REHEARSED)
    own = observation.public.images[torch.from_numpy(rows)].to(observation.device)
    release, secret = observation.rehearse(own, observation.public.labels[rows], 0)
    shares = torch.from_numpy(secret.shares).to(own.device)
    mixtures = to_bytes(average(to_images(own[torch.from_numpy(secret.sources).to(own.device)]), shares))
    scores = {
        steps: float(rehearse.best_ssim(solve(observation, release.images, offset, steps), mixtures).mean())
        for steps in _STEPS
    }
    steps = next(steps for steps in _STEPS if scores[steps] > max(scores.values()) - _AS_GOOD)
    return Undoing("a known linear map", lambda released: solve(observation, released, offset, steps), _REMOVED_TRAITS)


def solve(observation: Observation, released: Bytes, offset: Tensor, steps: int) -> Bytes:
    """(n, 3, H, W) uint8: the images that the map turns into the released ones, by least squares.

    offset  (1, 3, H, W) what the map makes of a black image
    """
    solution = empty(tuple(released.shape), observation.device if released.is_cuda else "cpu")
    for start in range(0, len(released), _CHUNK):
        images = to_images(released[start : start + _CHUNK].to(observation.device))
        solution[start : start + _CHUNK] = to_bytes(_least_squares(observation, images - offset, steps))
    return solution


def _least_squares(observation: Observation, released: Images, steps: int) -> Images:
    solution = torch.full_like(released, 0.5)
    residual = released - _linear(observation, solution)
    gradient = _adjoint(observation, residual)
    direction, size = gradient, gradient.square().sum((1, 2, 3), keepdim=True)
    for _ in range(steps):
        image = _linear(observation, direction)
        step = size / image.square().sum((1, 2, 3), keepdim=True).clamp(min=1e-12)
        solution, residual = solution + step * direction, residual - step * image
        gradient = _adjoint(observation, residual)
        smaller = gradient.square().sum((1, 2, 3), keepdim=True)
        direction, size = gradient + smaller / size.clamp(min=1e-12) * direction, smaller
    return solution


def _offset(observation: Observation) -> Tensor:
    """(1, 3, H, W) what a black image becomes, on average; Inapplicable where the rest is not one fixed linear map."""
    if not len(observation.public):
        raise Inapplicable("there are no public images to try the map on (--public-share 0)")
    images = to_images(observation.public.images[:4].to(observation.device)) / 2
    first, second = images[:1], images[-1:]
    black = torch.zeros_like(first)
    linear = _linear(observation, first)
    sum_of_two = _linear(observation, first + second)
    others = [_obfuscated(observation, first, draw) - _obfuscated(observation, black, draw) for draw in (1, 2)]
    expected = [(linear + _linear(observation, second), sum_of_two), *((linear, other) for other in others)]
    if any(float((a - b).abs().max()) > _SAME for a, b in expected):
        raise Inapplicable("the defense is not one known linear map of every image")
    return torch.stack([_obfuscated(observation, black, draw) for draw in range(_DRAWS)]).mean(0)


def _linear(observation: Observation, images: Images) -> Images:
    return _obfuscated(observation, images, 0) - _obfuscated(observation, torch.zeros_like(images), 0)


def _adjoint(observation: Observation, images: Images) -> Images:
    """The map's transpose: the gradient of <map(x), images> by x, the same at every x."""
    point = torch.zeros_like(images).requires_grad_()
    output = _obfuscated(observation, point, 0)
    if not output.requires_grad:
        raise Inapplicable("the defense passes no gradient on: its adjoint is not known")
    (gradient,) = torch.autograd.grad(output, point, images)
    return gradient


def _obfuscated(observation: Observation, images: Images, draw: int) -> Images:
    """What the defense makes of mixtures whose sources are all the same image; `draw` numbers the random generator."""
    count = observation.sources
    stack = images.unsqueeze(1).expand(-1, count, -1, -1, -1)
    weights = torch.full((len(images), count), 1 / count, device=images.device)
    return observation.apply(stack, weights, torch_generator(derive(b"", "undo", draw), observation.device))
