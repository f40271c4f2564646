"""Against an order that is not shuffled: the images at one position of every epoch are averaged.

Where a position always holds the same original, partners and noise average out over the epochs and the original stays.
Whether the order is shuffled shows in the releases themselves: if it is not, images at equal positions of two epochs
are more alike than images at shifted positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import Inapplicable
from harness.images import to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import filters, rehearse
from harness.randomness import key_from
from harness.types import Array, Bytes, Generator, Guess, Release

UNSHUFFLED = 6.0
"""Standard deviations above the likeness of shifted orders: by chance one order in a billion comes so far."""
_CELL = 4  # pixels a side: finer detail is mostly noise
_SHIFTS = 64
_REHEARSED = 48
_CHUNK = 64


def unshuffled_order(
    observation: Observation, rng: Generator, *, gaussians: Sequence[float], dct: Sequence[float]
) -> Guess:
    """The mean of every position over the epochs, less the partners' mean share, denoised as rehearsals choose.

    Inapplicable where the order is shuffled.

    gaussians  standard deviations to smooth the mean with, in pixels
    dct        thresholds of DCT denoising, in noise levels (see attacks.denoise)
    """
    deviations = order_deviations(observation.releases)
    if deviations < UNSHUFFLED:
        raise Inapplicable(
            f"positions are no more alike over the epochs than in other orders ({deviations:.1f} deviations)"
        )
    share = float(rehearse.expected_weights(observation, key_from(rng))[0])
    means = mean_of_positions(observation.releases, share)
    settings = [("none", 0.0), *(("gaussian", width) for width in gaussians), *(("dct", level) for level in dct)]
    rehearsed, originals = _rehearsal(observation, share)
    scores = {
        setting: float(rehearse.best_ssim(_filtered(rehearsed, setting), originals).mean()) for setting in settings
    }
    setting = max(scores, key=scores.__getitem__)
    targets = torch.from_numpy(observation.targets)
    parts = [_filtered(means[rows], setting) for rows in targets.split(_CHUNK)]
    return Guess(torch.cat(parts).unsqueeze(1), report={"stands": deviations, **rehearse.report_of(setting, scores)})


def order_deviations(releases: Sequence[Release]) -> float:
    """How far the likeness of equal positions lies above that of shifted ones, in standard deviations over the shifts.

    0 where it cannot show: in one epoch, or where epochs differ in length.
    """
    lengths = {len(release) for release in releases}
    if len(releases) < 2 or len(lengths) > 1 or lengths.pop() < 4:
        return 0.0
    first, second = (_cells(releases[epoch].images) for epoch in (0, 1))
    count = len(first)
    shifts = torch.linspace(1, count - 1, min(_SHIFTS, count - 1)).long().unique()
    shifted = torch.stack([(first * second.roll(int(shift), 0)).sum(1).mean() for shift in shifts])
    return float(((first * second).sum(1).mean() - shifted.mean()) / shifted.std().clamp(min=1e-6))


def mean_of_positions(releases: Sequence[Release], share: float) -> Bytes:
    """(N, 3, H, W) uint8, an estimate of the original at each position, from the releases of T epochs.

    share  of that original in its releases, on average; the rest of the mean is the average image
    """
    average = torch.stack([_mean(release.images) for release in releases]).mean(0)
    estimates = torch.empty_like(releases[0].images)
    for start in range(0, len(estimates), _CHUNK):
        rows = slice(start, start + _CHUNK)
        mean = torch.stack([to_images(release.images[rows]) for release in releases]).mean(0)
        estimates[rows] = to_bytes((mean - (1 - share) * average) / share)
    return estimates


def _mean(images: Bytes) -> Tensor:
    return torch.stack([to_images(part).sum(0) for part in images.split(_CHUNK)]).sum(0) / len(images)


def _cells(images: Bytes) -> Tensor:
    """(N, d) means of cells, less the average image, of length 1."""
    cells = torch.cat(
        [functional.avg_pool2d(to_images(p), _CELL, ceil_mode=True).flatten(1) for p in images.split(256)]
    )
    return functional.normalize(cells - cells.mean(0), dim=1)


def _rehearsal(observation: Observation, share: float) -> tuple[Bytes, Bytes]:
    """The means of positions of some public images, and these images."""
    rows = rehearse.first_rows(observation, _REHEARSED)
    own, labels = observation.public.images[torch.from_numpy(rows)].to(observation.device), observation.public.labels
    epochs = range(len(observation.releases))
    releases = [rehearse_in_order(observation, own, labels[rows], epoch) for epoch in epochs]
    shortest = min(map(len, releases))
    cut = [Release(release.images[:shortest], release.labels[:shortest]) for release in releases]
    return mean_of_positions(cut, share), own[:shortest]


def rehearse_in_order(observation: Observation, images: Bytes, labels: Array, epoch: int) -> Release:
    """A rehearsed release in the order of its first sources, as a client that does not shuffle would send it.

    Inapplicable where there are fewer mixtures than images (matching): then positions do not belong to originals.
    """
    release, secret = observation.rehearse(images, labels, epoch)
    if len(set(secret.sources[:, 0].tolist())) < len(images):
        raise Inapplicable("not every image is the first source of a mixture: positions do not belong to originals")
    order = torch.from_numpy(secret.sources[:, 0].argsort())
    return Release(release.images[order.to(release.images.device)], release.labels[order.to(release.labels.device)])


def _filtered(images: Bytes, setting: tuple[str, float]) -> Bytes:
    if setting[0] == "dct":
        return filters.denoised(images, filters.estimate_sigma(images), setting)
    return images if setting[0] == "none" else filters.smoothed(images, setting)
