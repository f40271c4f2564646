"""Denoising: non-local means of fixed strength as in the paper, and denoising adapted to the noise level.

`denoise` is what Raynal et al. 2020, section 4.4, ran. `denoise_tuned` chooses between non-local means (Buades, Coll,
Morel 2011) and DCT denoising (Yu, Sapiro 2011) of several strengths in multiples of the noise level. The filters, and
how they differ from the originals, are in attacks/common/filters.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.observation import Observation
from harness.plugins.attacks.common import filters, rehearse
from harness.types import Array, Bytes, Generator, Guess

_REPORTED = 64  # releases whose median noise level goes into the report


def denoise(observation: Observation, rng: Generator, *, h: float, h_color: float, template: int, search: int) -> Guess:
    """Non-local means, the same strength for every release.

    h         strength on the brightness, in grey levels; h_color: on the colours
    template  side of the windows that are compared; search: of the area searched for them; in pixels, odd
    """

    def denoised(image: Array) -> Array:
        return filters.non_local_means(image, h, h_color, template, search)

    return Guess(candidates=rehearse.restore(observation, lambda releases: filters.per_image(releases, denoised)))


def denoise_tuned(
    observation: Observation, rng: Generator, *, non_local: Sequence[float], dct: Sequence[float]
) -> Guess:
    """Denoising whose strength is a multiple of the noise level of each release.

    The level is measured through the defense where that is granted and adds noise, else estimated from each release.
    A single setting is applied as it is and needs no grant; among several settings and "none" rehearsals choose.

    non_local  strengths h of non-local means to try, in noise levels
    dct        thresholds on the coefficients of 8x8 patches to try, in noise levels
    """
    settings = [("non-local", float(h)) for h in non_local] + [("dct", float(threshold)) for threshold in dct]
    measured = filters.measured_noise(observation) if "defense" in observation.granted else 0.0

    def levels(releases: Bytes) -> Tensor:
        if measured < filters.ROUNDING:
            return filters.estimate_sigma(releases)
        return torch.full((len(releases),), measured, device=releases.device)

    def denoised(releases: Bytes, setting: tuple[str, float]) -> Bytes:
        return filters.denoised(releases, levels(releases), setting)

    if len(settings) == 1:
        setting, report = settings[0], {"setting": rehearse.setting_name(settings[0])}
    else:
        setting, scores = rehearse.best_setting(observation, [("none", 0.0), *settings], denoised)
        report = rehearse.report_of(setting, scores)
    reported = observation.images[observation.targets[:_REPORTED]]
    return Guess(
        candidates=rehearse.restore(observation, lambda releases: denoised(releases, setting)),
        report={**report, "sigma": float(levels(reported).median()), "sigma_measured": measured >= filters.ROUNDING},
    )
