"""Brightness and contrast of the releases set to those of the adversary's own images.

Against a defense whose secret is a factor: a release that is merely darkened, faded or tinted is far from its original
by every metric, and yet easily restored.
"""

from __future__ import annotations

from torch import Tensor

from harness.images import to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.types import Bytes, Generator, Guess

_SETTINGS = ("as it is", "brightness", "contrast", "channels")
_TYPICAL = 512  # public images that are averaged


def brightness_contrast(observation: Observation, rng: Generator) -> Guess:
    """The releases with one gain (brightness), a gain and an offset (contrast), or these for each channel.

    Each release gets its own, such that its mean, or its mean and deviation, are those of the average public image;
    rehearsals choose.
    """
    public = to_images(observation.public.images[:_TYPICAL])
    typical = {setting: [part.mean(0, keepdim=True) for part in _moments(public, setting)] for setting in _SETTINGS[1:]}

    def corrected(releases: Bytes, setting: str) -> Bytes:
        if setting == _SETTINGS[0]:
            return releases
        images = to_images(releases)
        mean, deviation = _moments(images, setting)
        typical_mean, typical_deviation = (moment.to(images) for moment in typical[setting])
        if setting == "brightness":
            return to_bytes(images * (typical_mean / mean.clamp(min=1e-3)))
        return to_bytes((images - mean) * (typical_deviation / deviation.clamp(min=1e-3)) + typical_mean)

    setting, scores = rehearse.best_setting(observation, _SETTINGS, corrected)
    return Guess(
        candidates=rehearse.restore(observation, lambda releases: corrected(releases, setting)),
        report=rehearse.report_of(setting, scores),
    )


def _moments(images: Tensor, setting: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every image, or of each of its channels."""
    over = (2, 3) if setting == "channels" else (1, 2, 3)
    return images.mean(over, keepdim=True), images.std(over, keepdim=True)
