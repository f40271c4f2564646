"""What a solution holds exactly: a known linear map of the original, and its closed-form inverse.

Blurring, pixelizing and the means of blocks act on the rows and on the columns of an image alone: y = R x C^T + noise.
R and C are found by calling the defense. With the spectrum of the adversary's images and the noise of its rehearsals,
the linear estimate of least squared error is one gain for each coefficient (Wiener 1949), in the basis of the singular
vectors of R and C after whitening rows and columns. A restored image is corrected towards y by the regularised
pseudo-inverse of the map, so that it agrees with what was measured (data consistency; Schwab et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from harness.images import separable, to_images
from harness.observation import Observation
from harness.plugins.attacks.linking.features import block_of
from harness.plugins.attacks.restoration.unet import UNet
from harness.randomness import derive, torch_generator
from harness.types import Images

Pair: TypeAlias = tuple[Tensor, Tensor]
"""A matrix for rows and a matrix for columns."""

SAMPLE = 256
"""Images that the spectra are taken from."""

_STRENGTHS = (1.0, 0.1, 10.0)  # times the noise's variance; the first estimate is the one to restore
_ERROR = 0.1  # of the images' variance is what a network's error is about, which sets the weight of the correction
_SAME = 1e-3  # largest difference between the defense and the map
_NOISY = 0.1  # of the coefficients' variance: with more noise than this, it is not the map that was measured
_CUT = 1e-4  # of the largest singular value: less is lost
_TINY = 1e-12
_CHUNK = 32
_TRIED = 4  # images that the map is compared with the defense on


@dataclass(frozen=True)
class Measurement:
    """The map, in float32 on the device; p and q coefficients of rows and columns.

    mean      (3, H, W) mean of the adversary's images; measured_mean: the map of it
    analysis  (p, H) and (q, W) from a measured image to the coefficients of its estimate
    synthesis (H, p) and (W, q) from these to the image
    gains     (strengths, p, q)
    seen      (r, H) and (s, W) from a measured image to the coefficients of the map
    map       (r, H) and (s, W) the same from an image
    back      (H, r) and (W, s) from the coefficients to the image
    weights   (r, s) of the correction
    symmetric whether the map of a mirrored image is the mirrored map
    """

    mean: Tensor
    measured_mean: Tensor
    analysis: Pair
    synthesis: Pair
    gains: Tensor
    seen: Pair
    map: Pair
    back: Pair
    weights: Tensor
    symmetric: bool

    @property
    def planes(self) -> int:
        """Number of planes of the estimates."""
        return 3 * len(self.gains)

    def estimates(self, measured: Images) -> Tensor:
        """(n, 3, H, W) -> (n, 3 strengths, H, W), the best linear estimate first."""
        coefficients = _both(self.analysis, measured - self.measured_mean)
        each = coefficients.unsqueeze(1) * self.gains.unsqueeze(1)
        return (_both(self.synthesis, each) + self.mean).flatten(1, 2)

    def corrected(self, images: Images, measured: Images) -> Images:
        """(..., 3, H, W) images, moved so that the map of them is nearly what was measured."""
        missing = _both(self.seen, measured) - _both(self.map, images)
        return images + _both(self.back, self.weights * missing)


class MeasuredUNet(nn.Module):
    """A U-Net with the linear estimates before its input.

    (n, C, H, W) float32, of which the first three planes were measured -> (n, k, 3, H, W) float32, not clipped.

    network     for C planes, and those of the estimates
    estimating  where there are estimates
    """

    def __init__(self, network: UNet, estimating: Measurement | None):
        super().__init__()
        self.network, self.estimating = network, estimating

    def forward(self, inputs: Tensor) -> Tensor:
        planes, kind = inputs, inputs.device.type
        if self.estimating is not None:
            with torch.autocast(kind, enabled=False):
                planes = torch.cat([self.estimating.estimates(inputs[:, :3]), inputs], 1)
        restored = self.network(planes.contiguous(memory_format=torch.channels_last)).float()
        pictures: Tensor = restored.unflatten(1, (self.network.images, 3))
        return pictures


def measure(observation: Observation, measured: Tensor, images: Images) -> Measurement | None:
    """The map of this defense; None where it is not one of rows and columns, loses nothing, or was not measured.

    measured  (n, 3 or more, H, W) float rehearsed releases or solutions, SAMPLE of them are enough
    images    (n, 3, H, W) what the map acted on: the originals, or their mixtures
    """
    axes = _block_axes(observation) or _probed_axes(observation)
    if axes is None:
        return None
    images = images.to(observation.device)
    mean = images.mean(0)
    centred, noise = images - mean, measured[:, :3].to(images) - _both(axes, images)
    seen, back, weights = _correction(axes, centred, noise)
    of_map = seen[0] @ axes[0], seen[1] @ axes[1]
    if float(_variance(seen, noise).sum()) > _NOISY * float(_variance(of_map, centred).sum()):
        return None
    analysis, synthesis, gains = _estimate(axes, centred, noise)
    return Measurement(
        mean, _both(axes, mean), _float(analysis), _float(synthesis), gains.float(),
        _float(seen), _float(of_map), _float(back), weights.float(),
        symmetric=float((axes[1] - axes[1].flip(0, 1)).abs().max()) < _SAME,
    )  # fmt: skip


def _estimate(axes: Pair, centred: Images, noise: Images) -> tuple[Pair, Pair, Tensor]:
    """Analysis, synthesis and gains. Whitening makes the covariance of the images nearly the identity in any basis."""
    of_rows, of_columns = _root(centred), _root(centred.transpose(-1, -2))
    (left, values, right), (left2, values2, right2) = _svd(axes[0] @ of_rows), _svd(axes[1] @ of_columns)
    whitened = right.T @ torch.linalg.inv(of_rows), right2.T @ torch.linalg.inv(of_columns)
    gain, analysis = torch.outer(values, values2), (left.T, left2.T)
    signal, variance = _variance(whitened, centred), _variance(analysis, noise)
    gains = [gain * signal / (gain.square() * signal + strength * variance) for strength in _STRENGTHS]
    return analysis, (of_rows @ right, of_columns @ right2), torch.stack(gains)


def _correction(axes: Pair, centred: Images, noise: Images) -> tuple[Pair, Pair, Tensor]:
    """From measured images to the coefficients of the map, from these to images, and their weights.

    Each weight is of least squared error where the restored image's own error has a tenth of the images' variance in
    its coefficient, and depends neither on the noise nor on other coefficients.
    """
    (left, values, right), (left2, values2, right2) = map(_svd, axes)
    gain, seen, back = torch.outer(values, values2), (left.T, left2.T), (right, right2)
    error = _ERROR * _variance((right.T, right2.T), centred)
    return seen, back, gain / (gain.square() + _variance(seen, noise) / error)


def _both(matrices: Pair, images: Tensor) -> Tensor:
    """rows @ image @ columns^T, in the precision of the images."""
    rows, columns = (matrix.to(images) for matrix in matrices)
    return torch.matmul(torch.matmul(rows, images), columns.T)


def _float(pair: Pair) -> Pair:
    return pair[0].float().contiguous(), pair[1].float().contiguous()


def _svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left singular vectors (m, p), singular values (p,), right singular vectors (n, p); the smallest are left out."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    kept = values > _CUT * values[0]
    return left[:, kept], values[kept], right.T[:, kept]


def _variance(matrices: Pair, images: Images) -> Tensor:
    """(p, q) float64 mean square of every coefficient."""
    return _both(matrices, images).square().mean((0, 1)).double().clamp(min=_TINY)


def _root(centred: Tensor) -> Tensor:
    """(H, H) root of the covariance of an image's columns, symmetric."""
    columns = centred.transpose(-1, -2).flatten(0, 2)
    values, vectors = torch.linalg.eigh((columns.T @ columns).double() / len(columns))
    root: Tensor = (vectors * values.clamp(min=_CUT**2 * float(values[-1]) + _TINY).sqrt()) @ vectors.T
    return root


def _block_axes(observation: Observation) -> Pair | None:
    block = block_of(observation)
    if block is None or block == 1:
        return None
    ones = torch.full((block, block), 1 / block, dtype=torch.float64, device=observation.device)
    height, width = (
        torch.kron(torch.eye(side // block, dtype=torch.float64, device=observation.device), ones)
        for side in observation.images.shape[2:]
    )
    return height, width


def _probed_axes(observation: Observation) -> Pair | None:
    """R and C, from the defense of images with one white row or column; None where it is no such map."""
    height, width = observation.images.shape[2:]
    rows = torch.eye(height).view(height, 1, height, 1).expand(-1, 3, -1, width)
    columns = torch.eye(width).view(width, 1, 1, width).expand(-1, 3, height, -1)
    tried = to_images(observation.public.images[:_TRIED])
    once, again = (_applied(observation, tried, draw) for draw in (1, 2))
    if float((once - again).abs().max()) > _SAME:
        return None
    axes = (
        _applied(observation, rows, 1).double().mean((1, 3)).T.contiguous(),
        _applied(observation, columns, 2).double().mean((1, 2)).T.contiguous(),
    )
    own = tried.to(once)
    if float((separable(own, *axes) - once).abs().max()) > _SAME:
        return None
    return None if float((own - once).abs().max()) < _SAME else axes


def _applied(observation: Observation, images: Images, draw: int) -> Images:
    """The defense of every image mixed with itself."""
    rng = torch_generator(derive(b"", "measurement", draw), observation.device)
    parts = []
    for some in images.split(_CHUNK):
        sources = some.to(observation.device).unsqueeze(1).repeat(1, observation.sources, 1, 1, 1)
        weights = torch.full(sources.shape[:2], 1 / observation.sources, device=sources.device)
        parts.append(observation.apply(sources, weights, rng))
    return torch.cat(parts)
