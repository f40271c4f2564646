"""Filters that several attacks apply to releases: smoothing, non-local means, and denoising of DCT patches.

References:
    Buades, Coll, Morel 2011, Non-local means denoising (OpenCV's fastNlMeansDenoisingColored, as Raynal et al. 2020)
    Yu, Sapiro 2011, DCT image denoising: a simple and effective image denoising algorithm
    Immerkaer 1996, Fast noise variance estimation

Differences to the originals: `denoise_patches` adds a second pass with Wiener gains, and weighs a patch by how few
coefficients it keeps; `estimate_sigma` takes the median of the mask's responses (Donoho, Johnstone 1994), not the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import HarnessError
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.types import Array, Bytes

ROUNDING = 0.5
"""Grey levels: a noise level below it counts as none, since rounding alone leaves 0.3."""
_MEASURED = 64  # rehearsed releases that a noise level is measured on
_TEMPLATE, _SEARCH = 7, 21  # windows of non-local means that OpenCV recommends, in pixels
_PATCH = 8  # side of a DCT patch, in pixels
_STEP = 3  # between patches, in pixels: at 2 it takes twice as long and gains .005 to .01 dSSIM


def per_image(releases: Bytes, function: Callable[..., Array], *arguments: Any) -> Bytes:
    """Apply a function of NumPy arrays to one image after the other.

    releases   (n, 3, H, W) uint8
    function   function(image (H, W, 3) uint8 RGB, ...) -> the same shape and type
    arguments  sequences of n values, one per image, passed on as further arguments
    returns    (n, 3, H, W) uint8, on the device of the releases
    """
    images = releases.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    filtered = [function(image, *values) for image, *values in zip(images, *arguments, strict=True)]
    return torch.from_numpy(np.stack(filtered)).permute(0, 3, 1, 2).contiguous().to(releases.device)


def smoothed(releases: Bytes, setting: tuple[str, float]) -> Bytes:
    """(n, 3, H, W) uint8, filtered by a Gaussian or a median.

    setting  ("gaussian", standard deviation in pixels) or ("median", side in pixels, odd); 0 changes nothing
    """
    kind, width = setting
    if not width:
        return releases
    if kind == "median":
        return per_image(releases, partial(cv2.medianBlur, ksize=int(width)))
    return per_image(releases, partial(cv2.GaussianBlur, ksize=(0, 0), sigmaX=width))


def measured_noise(observation: Observation) -> float:
    """Standard deviation of what the defense adds to uniformly grey images, in grey levels.

    Measured by a rehearsal; none of the defense's settings is read.
    """
    rows = rehearse.first_rows(observation, _MEASURED)
    grey = torch.full((len(rows), *observation.images.shape[1:]), 128, dtype=torch.uint8, device=observation.device)
    release, _ = observation.rehearse(grey, observation.public.labels[rows], epoch=-1)
    return float(release.images.float().sub_(128).square().mean().sqrt())


def estimate_sigma(releases: Bytes) -> Tensor:
    """(n,) standard deviation of the noise of each release, in grey levels, from the release alone.

    The mask's response to constant areas, slopes and straight edges along the axes is zero. Noise is everywhere and
    texture is not, so the median response is that of the noise.
    """
    mask = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]], device=releases.device) / 6
    planes = releases.float().flatten(0, 1).unsqueeze(1)
    responses = functional.conv2d(planes, mask.view(1, 1, 3, 3)).view(len(releases), -1)
    return responses.abs_().median(1).values / 0.6745  # the median of |N(0, 1)|


def denoised(releases: Bytes, levels: Tensor, setting: tuple[str, float]) -> Bytes:
    """(n, 3, H, W) uint8, denoised with a strength in multiples of each release's noise level.

    levels   (n,) noise levels, in grey levels
    setting  ("non-local", h), ("dct", threshold), in multiples of the level, or ("none", 0)
    """
    method, strength = setting
    if method == "none":
        return releases
    if method == "dct":
        return denoise_patches(releases, levels * strength, levels)

    def denoise(image: Array, h: float) -> Array:
        return image if h < ROUNDING else non_local_means(image, h, h, _TEMPLATE, _SEARCH)

    return per_image(releases, denoise, (levels * strength).tolist())


def non_local_means(image: Array, h: float, h_color: float, template: int, search: int) -> Array:
    """Non-local means of an (H, W, 3) uint8 RGB image, by OpenCV.

    h, h_color        strength on the brightness and on the colours, in grey levels
    template, search  sides of the windows that are compared and of the area searched for them, in pixels; HarnessError
                      where they are not odd
    """
    if min(template, search) < 1 or not (template % 2 and search % 2):
        raise HarnessError(f"windows of {template} and {search} pixels have no centre; use odd numbers (7 and 21)")
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    smooth = cv2.fastNlMeansDenoisingColored(bgr, None, h, h_color, template, search)
    return cv2.cvtColor(smooth, cv2.COLOR_BGR2RGB)


def denoise_patches(releases: Bytes, thresholds: Tensor, levels: Tensor) -> Bytes:
    """DCT denoising: threshold the coefficients of overlapping 8x8 patches and average the patches, in two passes.

    The first pass sets small coefficients to zero; the second scales each by its Wiener gain, estimated from the result
    of the first. Patches with fewer coefficients, where more noise was removed, weigh more.

    releases            (n, 3, H, W) uint8
    thresholds, levels  (n,) in grey levels: below which a coefficient is set to zero, and the noise level
    """
    colours = _colours(releases.device)
    planes = torch.einsum("cd,ndhw->nchw", colours, releases.float()).flatten(0, 1).unsqueeze(1)
    cut, noise = (values.repeat_interleave(3).view(-1, 1, 1) for values in (thresholds, levels))
    coefficients = _coefficients(planes)
    kept = (coefficients.abs() >= cut).to(coefficients.dtype)
    kept[:, 0] = 1  # a patch keeps its mean
    pilot = _coefficients(_overlapped(coefficients * kept, kept, planes.shape))
    power = pilot.square_()
    gains = power / (power + noise.square() + 1e-6)
    planes = _overlapped(coefficients * gains, gains, planes.shape)
    restored = torch.einsum("dc,ndhw->nchw", colours, planes.view(releases.shape))
    return restored.round_().clamp_(0, 255).to(torch.uint8)


def _coefficients(planes: Tensor) -> Tensor:
    """DCT of all patches, borders mirrored: (m, 1, H, W) -> (m, 64, patches)."""
    reach = _PATCH - 1
    patches = functional.unfold(functional.pad(planes, (reach,) * 4, mode="reflect"), _PATCH, stride=_STEP)
    return _dct(planes.device) @ patches


def _overlapped(coefficients: Tensor, gains: Tensor, shape: torch.Size) -> Tensor:
    """Inverse DCT to (m, 1, H, W): at each pixel the weighted mean of all patches that contain it."""
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
    pixel, frequency = torch.arange(_PATCH) + 0.5, torch.arange(_PATCH).unsqueeze(1)
    rows = torch.cos(torch.pi * frequency * pixel / _PATCH) * (2 / _PATCH) ** 0.5
    rows[0] /= 2**0.5
    return torch.kron(rows, rows).to(device)


@lru_cache(maxsize=4)
def _colours(device: torch.device) -> Tensor:
    """(3, 3) orthonormal: brightness and two colour differences; independent noise stays independent."""
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    directions: Tensor = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return directions.to(device)
