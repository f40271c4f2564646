"""Brightness, contrast, tone curve and colours of the releases set to those of the adversary's own images.

Against a defense whose secret is a factor, a gamma, a curve or a matrix of colours: a release that is merely darkened,
faded or tinted is far from its original by every metric, and yet easily restored.
References: histogram specification, Gonzalez, Woods 2008, section 3.3; colour transfer by means and covariances,
Reinhard et al. 2001, with the symmetric map of Pitie, Kokaram 2007.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.images import to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.types import Bytes, Generator, Guess, Images

SETTINGS = ("as it is", "brightness", "contrast", "channels", "gamma", "curve", "channel curves", "colours")
_TYPICAL = 512  # public images that are averaged
_LEAST = 1e-3
_GAMMAS = (0.1, 10.0)  # the range of exponents
_BISECTIONS = 20


def brightness_contrast(observation: Observation, rng: Generator) -> Guess:
    """Each release with the correction of its own that makes it typical; rehearsals choose which kind of correction."""
    typical = TypicalLevels.of(observation.public.images)
    setting, scores = rehearse.best_setting(observation, SETTINGS, typical.corrected)
    return Guess(
        candidates=rehearse.restore(observation, lambda releases: typical.corrected(releases, setting)),
        report=rehearse.report_of(setting, scores),
    )


@dataclass(frozen=True)
class TypicalLevels:
    """Averages over public images, all float32 and for images in [0, 1].

    moments      by setting ("brightness", "contrast", "channels"): mean and deviation, (1, 1 or 3, 1, 1)
    sorted       (pixels,) the mean of the sorted luminances, of which every image's are made to be
    by_channel   (3, pixels) the same for every channel
    covariance   (3, 3) mean covariance of the channels
    """

    moments: dict[str, tuple[Tensor, Tensor]]
    sorted: Tensor
    by_channel: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, public: Bytes) -> TypicalLevels:
        """Of at most 512 public images, (N, 3, H, W) uint8."""
        images = to_images(public[:_TYPICAL])
        moments = {}
        for setting in ("brightness", "contrast", "channels"):
            mean, deviation = _moments(images, setting)
            moments[setting] = mean.mean(0, keepdim=True), deviation.mean(0, keepdim=True)
        channels = images.flatten(2)
        covariance = _covariances(channels).mean(0)
        luminance = channels.mean(1).sort(1).values.mean(0)
        return cls(moments, luminance, channels.sort(2).values.mean(0), covariance)

    def corrected(self, releases: Bytes, setting: str) -> Bytes:
        """(n, 3, H, W) uint8 -> the same shape, each image corrected on its own.

        brightness      a gain, to the typical mean
        contrast        a gain and an offset, to the typical mean and deviation; channels: these for each channel
        gamma           an exponent, to the typical mean
        curve           an increasing function of grey levels, to the typical histogram; channel curves: of each channel
        colours         a matrix and an offset, to the typical means and covariance of the channels
        """
        if setting == "as it is":
            return releases
        images = to_images(releases)
        if setting == "gamma":
            return to_bytes(_with_gamma(images, float(self.moments["brightness"][0])))
        if setting == "curve":
            return to_bytes(self._along_curve(images))
        if setting == "channel curves":
            order = images.flatten(2).argsort(dim=2, stable=True)
            levels = self.by_channel.to(images).expand(len(images), -1, -1)
            return to_bytes(torch.zeros_like(levels).scatter(2, order, levels).view(images.shape))
        if setting == "colours":
            return to_bytes(self._with_colours(images))
        mean, deviation = _moments(images, setting)
        typical_mean, typical_deviation = (moment.to(images) for moment in self.moments[setting])
        if setting == "brightness":
            return to_bytes(images * (typical_mean / mean.clamp(min=_LEAST)))
        return to_bytes((images - mean) * (typical_deviation / deviation.clamp(min=_LEAST)) + typical_mean)

    def _along_curve(self, images: Images) -> Images:
        """One curve for all three channels, estimated where it is defined: at the grey levels of the image."""
        levels = images.flatten(1)
        count = levels.shape[1]
        ranks = torch.zeros_like(levels).scatter(
            1,
            levels.argsort(dim=1, stable=True),
            torch.arange(count, device=images.device).expand(levels.shape).float(),
        )
        own = self.by_channel.flatten().sort().values.to(images)
        byte = (levels * 255).round().long()  # equal levels stay equal: they get the mean rank
        sums = torch.zeros(len(images), 256, device=images.device).scatter_add(1, byte, ranks)
        counts = torch.zeros_like(sums).scatter_add(1, byte, torch.ones_like(ranks))
        mean = (sums / counts.clamp(min=1)).gather(1, byte)
        place = (mean / (count - 1) * (len(own) - 1)).round().long().clamp(0, len(own) - 1)
        return own[place].view(images.shape)

    def _with_colours(self, images: Images) -> Images:
        channels = images.flatten(2)
        mean = channels.mean(2, keepdim=True)
        root = _root(self.covariance.to(images).double())
        middle = root @ _covariances(channels).double() @ root
        matrix = root @ torch.linalg.inv(_root(middle)) @ root  # symmetric; turns the covariance into the typical one
        changed = matrix.to(images) @ (channels - mean) + self.moments["channels"][0].to(images).flatten(2)
        return torch.reshape(changed, images.shape)


def _with_gamma(images: Images, mean: float) -> Images:
    """To the power at which the mean is the given one, by bisection on the exponent's logarithm."""
    low, high = (torch.full((len(images), 1, 1, 1), gamma, device=images.device).log() for gamma in _GAMMAS)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        bright = (images ** middle.exp()).mean((1, 2, 3), keepdim=True) > mean
        low, high = torch.where(bright, middle, low), torch.where(bright, high, middle)
    return images ** ((low + high) / 2).exp()


def _moments(images: Tensor, setting: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every image, or of each of its channels."""
    over = (2, 3) if setting == "channels" else (1, 2, 3)
    return images.mean(over, keepdim=True), images.std(over, keepdim=True)


def _covariances(channels: Tensor) -> Tensor:
    """(n, 3, pixels) -> (n, 3, 3)."""
    away = channels - channels.mean(2, keepdim=True)
    return away @ away.mT / channels.shape[2]


def _root(matrices: Tensor) -> Tensor:
    """The symmetric square root of positive semidefinite matrices (..., 3, 3), kept away from 0."""
    values, vectors = torch.linalg.eigh(matrices)
    return torch.matmul(vectors, values.clamp(min=1e-6).sqrt().unsqueeze(-1) * vectors.mT)
