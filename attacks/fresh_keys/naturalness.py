"""How much an image is like the adversary's own photographs: one score, learned from public images.

A secret with few values (a byte, a sign, an order of the channels) is found by trying all of them and keeping the image
that scores highest. The score is linear in a few dozen statistics, their squares, and the likelihood of all of them
under a Gaussian fitted to public images; its weights are those of a conditional logit: among the variants of a public
image, the image itself should win.
References: statistics of neighbouring pixels, Ruderman 1994; a Gaussian of statistics of pristine images as a measure
of quality, Mittal, Soundararajan, Bovik 2013 (NIQE); conditional logit, McFadden 1974.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from harness.images import to_images
from harness.types import Bytes

_FITTED = 512  # public images that the Gaussian is fitted to,
_CONTRASTED = 96  # and that are compared with variants of themselves,
_VARIANTS = 24  # so many each
_SHRINK = 0.1  # of the covariance towards its diagonal
_PENALTY = 0.01  # on the squared weights of the logit
_ITERATIONS = 60  # of L-BFGS
_GRID = 4  # cells a side of the thumbnail
_LUMINANCE = (0.299, 0.587, 0.114)
_CHUNK = 256
_LEAST = 1e-4  # of a mean difference, in images of range 1: below it lies less than rounding
_AS_SMOOTH = 1.02  # times the total variation of the smoothest variant, at most
_EVERY = 4  # one row in so many is enough to tell rough variants from smooth ones


@dataclass(frozen=True)
class Family:
    """Variants of an image, one for each value of a secret; the value 0 leaves the image as it is.

    said    the secret in words
    count   number of values
    change  change(images (n, 3, H, W) uint8, values (n,) int64) -> the same shape
    """

    said: str
    count: int
    change: Callable[[Bytes, Tensor], Bytes]


@dataclass(frozen=True)
class Naturalness:
    """The fitted score.

    mean, scale  (d,) float64 of the statistics over public images
    precision    (d, d) float64, inverse of their shrunk covariance
    weights      (2 d + 1,) float64 of the statistics, of their squares and of the log-likelihood
    """

    mean: Tensor
    scale: Tensor
    precision: Tensor
    weights: Tensor

    @classmethod
    def fit(cls, public: Bytes, device: str, family: Family | None = None) -> Naturalness:
        """Fit to at most 512 of the adversary's own images, (N, 3, H, W) uint8, H and W at least 8.

        family  what the score shall tell the image from; without one it is the log-likelihood alone
        """
        public = public[:_FITTED].to(device)
        found = _statistics(public)
        mean, count = found.mean(0), found.shape[1]
        covariance = (found - mean).T @ (found - mean) / max(len(found) - 1, 1)
        diagonal = covariance.diagonal().clamp(min=1e-6)
        precision = torch.linalg.inv((1 - _SHRINK) * covariance + _SHRINK * diagonal.diag())
        weights = torch.zeros(2 * count + 1, dtype=torch.float64, device=device)
        weights[-1] = 1
        score = cls(mean, diagonal.sqrt(), precision, weights)
        return score if family is None else score._contrasted(public[:_CONTRASTED], family)

    def __call__(self, images: Bytes) -> Tensor:
        """(n, 3, H, W) uint8 -> (n,) float64; larger is more natural."""
        return self._regressors(_statistics(images.to(self.mean.device))) @ self.weights

    def best(self, images: Bytes, family: Family, keep: int = 16) -> tuple[Bytes, Tensor]:
        """The most natural variant of each image; of equals the first.

        images   (n, 3, H, W) uint8
        keep     of more variants than these, only so many are scored: those with the smallest total variation
        returns  (n, 3, H, W) uint8, and (n,) int64 the value that made it
        """
        values = _smoothest(images, family, keep)
        scores = torch.stack([self(family.change(images, column)) for column in values.T], 1)
        chosen = values.gather(1, scores.argmax(1, keepdim=True).to(values.device)).squeeze(1)
        return family.change(images, chosen), chosen

    def best_by_channel(self, images: Bytes, family: Family, keep: int = 8) -> Bytes:
        """The same where every channel has a value of its own: one channel is improved after the other, twice round.

        The family must treat all channels alike. Returns (n, 3, H, W) uint8.
        """
        planes = [images[:, channel : channel + 1].expand(images.shape) for channel in range(3)]
        values = [_smoothest(plane, family, keep) for plane in planes]
        result = torch.cat([family.change(p, v[:, 0])[:, :1] for p, v in zip(planes, values, strict=True)], 1)
        highest = self(result)
        for channel in (0, 1, 2) * 2:
            for column in values[channel].T:
                tried = result.clone()
                tried[:, channel] = family.change(planes[channel], column)[:, 0]
                score = self(tried)
                better = score > highest
                result = torch.where(better.to(images.device).view(-1, 1, 1, 1), tried, result)
                highest = torch.where(better, score, highest)
        return result

    def _contrasted(self, public: Bytes, family: Family) -> Naturalness:
        values = torch.linspace(0, family.count - 1, min(family.count, _VARIANTS)).long().unique()
        variants = [family.change(public, value.expand(len(public)).to(public.device)) for value in values]
        regressors = torch.stack([self._regressors(_statistics(variant)) for variant in variants], 1)
        same = torch.stack([(variant == public).flatten(1).all(1) for variant in variants], 1)
        weights = self.weights.clone()
        weights[-1] = 0.1
        weights.requires_grad_()
        optimizer = torch.optim.LBFGS([weights], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            likelihood = functional.log_softmax(regressors @ weights, 1)
            right = likelihood.masked_fill(~same, -torch.inf).logsumexp(1)  # variants that change nothing are right too
            value = -right.mean() + _PENALTY * weights.square().sum()
            value.backward()
            return value

        with torch.enable_grad():
            optimizer.step(loss)
        return Naturalness(self.mean, self.scale, self.precision, weights.detach())

    def _regressors(self, statistics: Tensor) -> Tensor:
        away = statistics - self.mean
        unit = away / self.scale
        likelihood = -0.5 * ((away @ self.precision) * away).sum(1, keepdim=True)
        return torch.cat([unit, 0.5 * unit.square(), likelihood], 1)


def _smoothest(images: Bytes, family: Family, keep: int) -> Tensor:
    """(n, keep) values whose variants vary hardly more from pixel to pixel than the smoothest; or all of them.

    In increasing order, spread over those values; some may come twice.
    """
    everything = torch.arange(family.count, device=images.device)
    if family.count <= keep:
        return everything.expand(len(images), -1)
    rows = images[:, :, ::_EVERY]
    rough = [family.change(rows, value.expand(len(rows))).short().diff(dim=3) for value in everything]
    variation = torch.stack([differences.abs().sum((1, 2, 3), dtype=torch.long) for differences in rough], 1)
    smooth = variation <= _AS_SMOOTH * variation.amin(1, keepdim=True)
    sorted_values = everything.masked_fill(~smooth, family.count).sort(1).values
    spread = torch.linspace(0, 1, keep, device=images.device) * (smooth.sum(1, keepdim=True) - 1)
    return sorted_values.gather(1, spread.round().long())


def luminance(images: Tensor) -> Tensor:
    """(..., 3, H, W) -> (..., H, W)."""
    return (images * images.new_tensor(_LUMINANCE).view(3, 1, 1)).sum(-3)


def _statistics(images: Bytes) -> Tensor:
    return torch.cat([_of_chunk(to_images(chunk)) for chunk in images.split(_CHUNK)]).double()


def _of_chunk(images: Tensor) -> Tensor:
    """(n, d) float32 statistics of float images."""
    grey = luminance(images)
    across, down = grey.diff(dim=2), grey.diff(dim=1)
    spread = grey.std((1, 2)).clamp(min=_LEAST)
    sizes = [_log_mean(across), _log_mean(down), _log_mean(across.diff(dim=2)), _log_mean(down.diff(dim=1))]
    coarse = functional.avg_pool2d(grey.unsqueeze(1), 2).squeeze(1)
    sizes += [_log_mean(coarse.diff(dim=2)), _log_mean(coarse.diff(dim=1)), spread.log()]
    channels = images.flatten(2)
    sizes += [_log_mean(images.diff(dim=3)[:, c]) for c in range(3)]
    sizes += [channels.std(2).clamp(min=_LEAST).log()[:, c] for c in range(3)]
    shapes = [_skewness(grey), _skewness(across), _skewness(down), *_tails(across), *_tails(down)]
    levels = [_correlations(channels), _correlations(images.diff(dim=3).flatten(2))]
    thumbnail = functional.adaptive_avg_pool2d(images, _GRID)
    mean = thumbnail.mean((2, 3), keepdim=True)
    levels += [mean.flatten(1), (thumbnail - mean).flatten(1), channels.amin(2), channels.amax(2)]
    return torch.cat([torch.stack([*sizes, *shapes], 1), *levels], 1)


def _log_mean(differences: Tensor) -> Tensor:
    return differences.abs().flatten(1).mean(1).clamp(min=_LEAST).log()


def _skewness(fields: Tensor) -> Tensor:
    away = fields.flatten(1) - fields.flatten(1).mean(1, keepdim=True)
    return away.pow(3).mean(1) / away.std(1).clamp(min=_LEAST).pow(3)


def _tails(fields: Tensor) -> tuple[Tensor, Tensor]:
    """Mean absolute value against deviation (heavy tails: small), and the share of tiny differences."""
    flat = fields.flatten(1)
    deviation = flat.std(1).clamp(min=_LEAST)
    return flat.abs().mean(1) / deviation, (flat.abs() < 0.25 * deviation.unsqueeze(1)).float().mean(1)


def _correlations(channels: Tensor) -> Tensor:
    """(n, 3, pixels) -> (n, 3) Fisher's z of the correlations of the three pairs of channels."""
    away = channels - channels.mean(2, keepdim=True)
    unit = away / away.norm(dim=2, keepdim=True).clamp(min=_LEAST)
    pairs = (unit * unit.roll(1, 1)).sum(2)
    return torch.atanh(pairs.clamp(-0.999, 0.999))
