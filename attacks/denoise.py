"""Denoising: the paper's non-local means, which ignores the noise level, and denoising that follows it.

References:
    Buades, Coll, Morel 2011, Non-local means denoising (OpenCV's fastNlMeansDenoisingColored, as Raynal et al. 2020)
    Yu, Sapiro 2011, DCT image denoising: a simple and effective image denoising algorithm
    Immerkaer 1996, Fast noise variance estimation (the mask; the median makes it robust, Donoho, Johnstone 1994)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import HarnessError
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.smooth import each
from harness.types import Array, Bytes, Generator, Guess

_TEMPLATE, _SEARCH = 7, 21  # windows of non-local means that OpenCV recommends, in pixels
_PATCH = 8  # side of a DCT patch, in pixels
_ROUNDING = 0.5  # grey levels: less is no noise, rounding alone leaves 0.3
_REPORTED = 64  # releases that a noise level is reported of
_STEP = 3  # between patches, in pixels: at 2 it takes twice as long and gains .005 to .01 dSSIM


def denoise(observation: Observation, rng: Generator, *, h: float, h_color: float, template: int, search: int) -> Guess:
    """Non-local means of one strength for every release, as the paper ran it.

    h         strength on the brightness, in grey levels; h_color: on the colours
    template  side of the windows that are compared, search: of the area they are looked for in; pixels, odd
    """

    def denoised(picture: Array) -> Array:
        return non_local_means(picture, h, h_color, template, search)

    return Guess(candidates=rehearse.restore(observation, lambda releases: each(releases, denoised)))


def denoise_tuned(
    observation: Observation, rng: Generator, *, non_local: Sequence[float], dct: Sequence[float]
) -> Guess:
    """Denoising whose strength is a multiple of the noise level of each release.

    The level is measured through the defense where that is granted and adds noise, else estimated from each release.
    With one setting there is nothing to tune and nothing need be granted; of several, rehearsals choose, and "none" is
    among them.

    non_local  strengths h of non-local means to try, in noise levels
    dct        thresholds on the coefficients of 8x8 patches to try, in noise levels
    """
    settings = [("non-local", float(each)) for each in non_local] + [("dct", float(each)) for each in dct]
    measured = level_of(observation) if "defense" in observation.granted else 0.0

    def levels(releases: Bytes) -> Tensor:
        if measured < _ROUNDING:
            return estimate_sigma(releases)
        return torch.full((len(releases),), measured, device=releases.device)

    def denoised(releases: Bytes, setting: tuple[str, float]) -> Bytes:
        return denoised_by(releases, levels(releases), setting)

    if len(settings) == 1:
        setting, report = settings[0], {"setting": rehearse.name(settings[0])}
    else:
        setting, scores = rehearse.best(observation, [("none", 0.0), *settings], denoised)
        report = rehearse.told(setting, scores)
    some = observation.images[observation.targets[:_REPORTED]]
    return Guess(
        candidates=rehearse.restore(observation, lambda releases: denoised(releases, setting)),
        report={**report, "sigma": float(levels(some).median()), "sigma_measured": measured >= _ROUNDING},
    )


def level_of(observation: Observation) -> float:
    """Standard deviation of what the defense adds to a grey card, in grey levels: none of its settings is read."""
    rows = rehearse.some(observation, _REPORTED)
    card = torch.full((len(rows), *observation.images.shape[1:]), 128, dtype=torch.uint8, device=observation.device)
    release, _ = observation.rehearse(card, observation.public.labels[rows], epoch=-1)
    return float(release.images.float().sub_(128).square().mean().sqrt())


def estimate_sigma(releases: Bytes) -> Tensor:
    """(n,) standard deviation of the noise of each release, in grey levels, from the release alone.

    The mask answers neither to brightness nor to slopes nor to straight edges along the axes; of what is left, noise is
    everywhere and texture is not, so the median is the noise's.
    """
    mask = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]], device=releases.device) / 6
    planes = releases.float().flatten(0, 1).unsqueeze(1)
    answers = functional.conv2d(planes, mask.view(1, 1, 3, 3)).view(len(releases), -1)
    return answers.abs_().median(1).values / 0.6745  # the median of |N(0, 1)|


def denoised_by(releases: Bytes, levels: Tensor, setting: tuple[str, float]) -> Bytes:
    """(n, 3, H, W) uint8, denoised.

    levels   (n,) noise levels, in grey levels
    setting  ("non-local", h), ("dct", threshold), in multiples of the level, or ("none", 0)
    """
    method, strength = setting
    if method == "none":
        return releases
    if method == "dct":
        return by_patches(releases, levels * strength, levels)

    def denoised(picture: Array, h: float) -> Array:
        return picture if h < _ROUNDING else non_local_means(picture, h, h, _TEMPLATE, _SEARCH)

    return each(releases, denoised, (levels * strength).tolist())


def non_local_means(picture: Array, h: float, h_color: float, template: int, search: int) -> Array:
    """(H, W, 3) uint8 RGB to the same. OpenCV's order of colours is blue first."""
    if min(template, search) < 1 or not (template % 2 and search % 2):
        raise HarnessError(f"windows of {template} and {search} pixels have no centre; use odd numbers (7 and 21)")
    blue_first = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    denoised = cv2.fastNlMeansDenoisingColored(blue_first, None, h, h_color, template, search)
    return cv2.cvtColor(denoised, cv2.COLOR_BGR2RGB)


def by_patches(releases: Bytes, thresholds: Tensor, levels: Tensor) -> Bytes:
    """DCT denoising: overlapping patches lose their small coefficients, and are averaged; then once more, as Wiener.

    The first pass cuts; the second weighs each coefficient by what the first left of it against the noise. Patches with
    few coefficients, where more noise was taken out, count for more.

    thresholds, levels  (n,) in grey levels
    """
    colours = _colours(releases.device)
    planes = torch.einsum("cd,ndhw->nchw", colours, releases.float()).flatten(0, 1).unsqueeze(1)
    cut, noise = (each.repeat_interleave(3).view(-1, 1, 1) for each in (thresholds, levels))
    found = _coefficients(planes)
    kept = (found.abs() >= cut).to(found.dtype)
    kept[:, 0] = 1  # a patch keeps its mean
    pilot = _coefficients(_overlapped(found * kept, kept, planes.shape))
    power = pilot.square_()
    gains = power / (power + noise.square() + 1e-6)
    planes = _overlapped(found * gains, gains, planes.shape)
    restored = torch.einsum("dc,ndhw->nchw", colours, planes.view(releases.shape))
    return restored.round_().clamp_(0, 255).to(torch.uint8)


def _coefficients(planes: Tensor) -> Tensor:
    """(m, 1, H, W) -> (m, 64, patches), borders mirrored."""
    reach = _PATCH - 1
    patches = functional.unfold(functional.pad(planes, (reach,) * 4, mode="reflect"), _PATCH, stride=_STEP)
    return _dct(planes.device) @ patches


def _overlapped(coefficients: Tensor, gains: Tensor, shape: torch.Size) -> Tensor:
    """Back to (m, 1, H, W): the weighted mean of all patches that hold a pixel."""
    reach = _PATCH - 1
    size = (shape[2] + 2 * reach, shape[3] + 2 * reach)
    weights = 1 / gains.square().sum(1, keepdim=True).clamp_(min=1)
    patches = (_dct(coefficients.device).T @ coefficients) * weights
    total = functional.fold(patches, size, _PATCH, stride=_STEP)
    count = functional.fold(weights.expand(patches.shape), size, _PATCH, stride=_STEP)
    inside = slice(reach, -reach)
    return total[:, :, inside, inside] / count[:, :, inside, inside]


@lru_cache(maxsize=4)
def _dct(device: torch.device) -> Tensor:
    """(64, 64) orthonormal two-dimensional DCT-II of an 8x8 patch."""
    place, wave = torch.arange(_PATCH) + 0.5, torch.arange(_PATCH).unsqueeze(1)
    rows = torch.cos(torch.pi * wave * place / _PATCH) * (2 / _PATCH) ** 0.5
    rows[0] /= 2**0.5
    return torch.kron(rows, rows).to(device)


@lru_cache(maxsize=4)
def _colours(device: torch.device) -> Tensor:
    """(3, 3) orthonormal: brightness and two differences. Independent noise stays independent, texture is shared."""
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    directions: Tensor = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return directions.to(device)
