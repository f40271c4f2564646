"""Against an order that is not shuffled: what stands at one place in every epoch is one original's.

"If index i always held x_i, averaging epochs would undo everything": partners and noise average out, the original
stays. Whether the order says something is seen in the releases themselves: at equal places they are more alike than at
unequal ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import Inapplicable
from harness.images import to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.plugins.attacks.denoise import denoised_by, estimate_sigma
from harness.plugins.attacks.invert import expected_weights
from harness.plugins.attacks.smooth import smoothed
from harness.randomness import key_from
from harness.types import Array, Bytes, Generator, Guess, Release

_CELL = 4  # pixels a side: finer detail is mostly noise
FAR = 6.0  # deviations above the likeness of shifted orders: one order in a billion comes so far by chance
_SHIFTS = 64
_REHEARSED = 48
_CHUNK = 64


def standing(observation: Observation, rng: Generator, *, gaussians: Sequence[float], dct: Sequence[float]) -> Guess:
    """The mean of every place over the epochs, less what the partners add on average, denoised as rehearsals choose.

    gaussians  standard deviations to smooth the mean with, in pixels
    dct        thresholds of its denoising, in noise levels (see attacks.denoise)
    """
    stands = order_stands(observation.releases)
    if stands < FAR:
        raise Inapplicable(f"places are no more alike over the epochs than in other orders ({stands:.1f} deviations)")
    share = float(expected_weights(observation, key_from(rng))[0])
    means = mean_of_places(observation.releases, share)
    settings = [("none", 0.0), *(("gaussian", each) for each in gaussians), *(("dct", each) for each in dct)]
    rehearsed, originals = _rehearsal(observation, share)
    scores = {setting: float(rehearse.likeness(_cleaned(rehearsed, setting), originals).mean()) for setting in settings}
    setting = max(scores, key=scores.__getitem__)
    targets = torch.from_numpy(observation.targets)
    parts = [_cleaned(means[rows], setting) for rows in targets.split(_CHUNK)]
    return Guess(torch.cat(parts).unsqueeze(1), report={"stands": stands, **rehearse.told(setting, scores)})


def order_stands(releases: Sequence[Release]) -> float:
    """How far the likeness of equal places lies above that of shifted ones, in standard deviations over the shifts.

    0 where it cannot show: in one epoch, or where epochs differ in length.
    """
    lengths = {len(release) for release in releases}
    if len(releases) < 2 or len(lengths) > 1 or lengths.pop() < 4:
        return 0.0
    first, second = (_cells(releases[epoch].images) for epoch in (0, 1))
    count = len(first)
    shifts = torch.linspace(1, count - 1, min(_SHIFTS, count - 1)).long().unique()
    apart = torch.stack([(first * second.roll(int(shift), 0)).sum(1).mean() for shift in shifts])
    return float(((first * second).sum(1).mean() - apart.mean()) / apart.std().clamp(min=1e-6))


def mean_of_places(releases: Sequence[Release], share: float) -> Bytes:
    """(N, 3, H, W) uint8 from the releases of T epochs, place by place.

    share  of the original that stands there; the rest of the mean is the average picture
    """
    average = torch.stack([_mean(release.images) for release in releases]).mean(0)
    found = torch.empty_like(releases[0].images)
    for start in range(0, len(found), _CHUNK):
        rows = slice(start, start + _CHUNK)
        total = torch.stack([to_images(release.images[rows]) for release in releases]).mean(0)
        found[rows] = to_bytes((total - (1 - share) * average) / share)
    return found


def _mean(images: Bytes) -> Tensor:
    return torch.stack([to_images(part).sum(0) for part in images.split(_CHUNK)]).sum(0) / len(images)


def _cells(images: Bytes) -> Tensor:
    """(N, d) means of cells, less the average image, of length 1."""
    cells = torch.cat(
        [functional.avg_pool2d(to_images(p), _CELL, ceil_mode=True).flatten(1) for p in images.split(256)]
    )
    return functional.normalize(cells - cells.mean(0), dim=1)


def _rehearsal(observation: Observation, share: float) -> tuple[Bytes, Bytes]:
    """What the mean of places would be of some public images, and these images."""
    rows = rehearse.some(observation, _REHEARSED)
    own = observation.public.images[torch.from_numpy(rows)].to(observation.device)
    releases = [
        in_order(observation, own, observation.public.labels[rows], e) for e in range(len(observation.releases))
    ]
    least = min(map(len, releases))
    return mean_of_places([Release(r.images[:least], r.labels[:least]) for r in releases], share), own[:least]


def in_order(observation: Observation, images: Bytes, labels: Array, epoch: int) -> Release:
    """A rehearsed release in the order of its first sources, as a client that does not shuffle would send it.

    The first images only, where mixtures are fewer than images (matching): then none is at its own place.
    """
    release, secret = observation.rehearse(images, labels, epoch)
    if len(set(secret.sources[:, 0].tolist())) < len(images):
        raise Inapplicable("not every image leads a mixture: nothing can stand at one place")
    order = torch.from_numpy(secret.sources[:, 0].argsort())
    return Release(release.images[order.to(release.images.device)], release.labels[order.to(release.labels.device)])


def _cleaned(images: Bytes, setting: tuple[str, float]) -> Bytes:
    if setting[0] == "dct":
        return denoised_by(images, estimate_sigma(images), setting)
    return images if setting[0] == "none" else smoothed(images, setting)
