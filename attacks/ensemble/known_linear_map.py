"""What a defense does to every image alike, undone before anything else: a known linear map.

A permutation that is the same for all images, a picture that is added to all, inverted grey levels, a filter: where the
defense's own function is linear and its linear part does not depend on the dice, it is known (Kerckhoffs), and least
squares through it and its adjoint, which automatic differentiation gives, takes it off. Rounding is what remains.
Reference: Hestenes, Stiefel 1952 (conjugate gradients, here on the normal equations).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.errors import Inapplicable
from harness.images import average, to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.randomness import derive, torch_generator
from harness.release import Scheme, empty
from harness.types import Bytes, Generator, Images, Mixture, Release, Sources, Weights

_STEPS = (1, 4, 16, 64)  # of conjugate gradients: few where rounding would be amplified
_REHEARSED = 48
_GAIN = 0.1  # of SSIM to the bare mixture: less is not worth an attack's trust
_AS_GOOD = 0.005  # within so much of the best, fewer steps are better
_DRAWS = 16
_SAME = 1e-3
_CHUNK = 64
_GONE = {"keyed", "permutes_in_blocks"}  # traits of a map that is known and taken off
_HAVE_THEIR_OWN = {"blurs", "pixelizes"}  # members that know the map by its parameters


@dataclass(frozen=True)
class Undone:
    """The observation as if the defense left the map out, and how that was done.

    steps   of conjugate gradients
    before  SSIM of rehearsed releases to the bare mixture of their sources; after: without the map
    """

    observation: Observation
    steps: int
    before: float
    after: float


def undone(observation: Observation) -> Undone:
    """Take off what the defense does to every image alike.

    Inapplicable where it does nothing of the kind, or nothing that can be undone.
    """
    if observation.defense.traits & _HAVE_THEIR_OWN:
        raise Inapplicable("the declared map has attacks of its own")
    offset = _offset(observation)
    rows = rehearse.some(observation, _REHEARSED)
    own = observation.public.images[torch.from_numpy(rows)].to(observation.device)
    release, secret = observation.rehearse(own, observation.public.labels[rows], 0)
    shares = torch.from_numpy(secret.shares).to(own.device)
    bare = to_bytes(average(to_images(own[torch.from_numpy(secret.sources).to(own.device)]), shares))
    before = float(rehearse.likeness(release.images, bare).mean())
    after = {
        steps: float(rehearse.likeness(solve(observation, release.images, offset, steps), bare).mean())
        for steps in _STEPS
    }
    steps = next(few for few in _STEPS if after[few] > max(after.values()) - _AS_GOOD)
    if after[steps] < before + _GAIN:
        raise Inapplicable("there is no map to undo, or too little of it is left to undo")
    return Undone(_without(observation, offset, steps), steps, before, after[steps])


def solve(observation: Observation, released: Bytes, offset: Tensor, steps: int) -> Bytes:
    """(n, 3, H, W) uint8: the images that the map turns into the released ones, in the least squares' sense."""
    found = empty(tuple(released.shape), observation.device if released.is_cuda else "cpu")
    for start in range(0, len(released), _CHUNK):
        images = to_images(released[start : start + _CHUNK].to(observation.device))
        found[start : start + _CHUNK] = to_bytes(_least_squares(observation, images - offset, steps))
    return found


def _least_squares(observation: Observation, seen: Images, steps: int) -> Images:
    solution = torch.full_like(seen, 0.5)
    residual = seen - _linear(observation, solution)
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
    """(1, 3, H, W) what a black image becomes, on average; Inapplicable where the rest is not linear and known."""
    if not len(observation.public):
        raise Inapplicable("there are no public images to try the map on (--public-share 0)")
    images = to_images(observation.public.images[:4].to(observation.device)) / 2
    first, second = images[:1], images[-1:]
    black = torch.zeros_like(first)
    linear = _linear(observation, first)
    sum_of_two = _linear(observation, first + second)
    others = [_made(observation, first, draw) - _made(observation, black, draw) for draw in (1, 2)]
    expected = [(linear + _linear(observation, second), sum_of_two), *((linear, other) for other in others)]
    if any(float((a - b).abs().max()) > _SAME for a, b in expected):
        raise Inapplicable("the defense is not one known linear map of every image")
    return torch.stack([_made(observation, black, draw) for draw in range(_DRAWS)]).mean(0)


def _linear(observation: Observation, images: Images) -> Images:
    return _made(observation, images, 0) - _made(observation, torch.zeros_like(images), 0)


def _adjoint(observation: Observation, images: Images) -> Images:
    """The map's transpose: the gradient of <map(x), images> by x, the same at every x."""
    place = torch.zeros_like(images).requires_grad_()
    made = _made(observation, place, 0)
    if not made.requires_grad:
        raise Inapplicable("the defense passes no gradient on: its adjoint is not known")
    (found,) = torch.autograd.grad(made, place, images)
    return found


def _made(observation: Observation, images: Images, draw: int) -> Images:
    """What becomes of mixtures whose sources are all the same image."""
    count = observation.sources
    stack = images.unsqueeze(1).expand(-1, count, -1, -1, -1)
    weights = torch.full((len(images), count), 1 / count, device=images.device)
    return observation.apply(stack, weights, torch_generator(derive(b"", "undo", draw), observation.device))


def _without(observation: Observation, offset: Tensor, steps: int) -> Observation:
    """The same observation with the map taken off the releases, and off whatever is rehearsed."""
    bare = _Bare(observation, offset, steps)
    scheme = observation._scheme
    assert scheme is not None  # granted, as `apply` was
    known = replace(observation.defense, traits=observation.defense.traits - _GONE)
    releases = observation._releases if "releases" in observation.granted else None
    return replace(
        observation,
        images=bare(observation.images),
        _releases=releases and [Release(bare(release.images), release.labels) for release in releases],
        _known=known,
        _scheme=Scheme(scheme.name, bare.function, scheme.mixing, scheme.dissimilarity),
    )


@dataclass(frozen=True)
class _Bare:
    """The defense's function with rounding and the undoing behind it."""

    observation: Observation
    offset: Tensor
    steps: int

    def __call__(self, released: Bytes) -> Bytes:
        return solve(self.observation, released, self.offset, self.steps)

    def function(self, sources: Sources, weights: Weights, rng: Generator) -> Images | Mixture:
        scheme = self.observation._scheme
        assert scheme is not None
        made = scheme.function(sources, weights, rng)
        if isinstance(made, Mixture):
            return Mixture(self._undo(made.images), made.shares)
        return self._undo(made)

    def _undo(self, images: Images) -> Images:
        return to_images(self(to_bytes(images.detach())))
