"""Does a defense behave alike in rehearsals and in releases? What an attack learned from rehearsals rests on it.

Statistics of every release of the private images are compared with the same statistics of rehearsals, releases of
public images by the function that attacks call. Two tests: Kolmogorov and Smirnov's for the distribution, Rosenbaum's
(1954, "Tables for a nonparametric test of location") for a few images beyond all of the other side.

Private and public images differ a little without any defense, and a defense may draw something once for a whole
release. A difference therefore counts only as far as it exceeds both the largest that any statistic has between their
plain mixtures, by the same plans and in the same rows, and the largest that this statistic has between two rehearsals:
the distance of the distributions, or the number of images beyond, less that margin, has the p-value that it would have
by itself. Each release is compared with three rehearsals of each of two sizes: the distance to the nearest of a size
counts, and the images beyond all rehearsals together. Holm's correction is over all statistics, releases and tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional

from harness.client.client import Client
from harness.images import average, to_images
from harness.observation import Observation
from harness.randomness import derive, numpy_generator
from harness.registry import Entry, bind
from harness.run.row_check import row_faults
from harness.statistics import holm
from harness.types import Array, Bytes, Images, Release, Secret

SIGNIFICANT = 0.001
_ROWS = 100  # images of a release that are compared, at most
_REHEARSED = 3  # rehearsals of each size
_DIGITS = 5  # of a statistic: beyond, images that are all the same differ by the order of a sum
_FEW = 64  # public images of the smaller rehearsals
_FIRST = 2_000_000  # number of the first rehearsal: none that an attack makes itself
_WORSE, _BETTER = 0.2, 0.4  # mean SSIM by which a real score must differ from the rehearsed one to count; other members
# of an ensemble may add candidates to the one that was rehearsed, so that more is allowed upwards
_REHEARSES = Entry("rehearsal_check", "attacks", "", granted=("defense",))
_OF_THE_WHOLE = {"alike"}  # one image that is shown raises it for others: no independent outliers
_WORDS = {
    "mean_red": "mean of red", "mean_green": "mean of green", "mean_blue": "mean of blue",
    "deviation_red": "deviation of red", "deviation_green": "deviation of green", "deviation_blue": "deviation of blue",
    "entropy": "entropy of grey levels", "gradient": "gradient energy", "high_frequencies": "share of high frequencies",
    "bit_0": "lowest bit", "bit_3": "fourth bit", "bit_0_neighbours": "lowest bits of neighbours",
    "saturated": "saturated pixels", "neighbours": "correlation of neighbours", "distinct": "distinct values",
    "mixture": "correlation with the mixture", "mixture_gradients": "correlation of gradients with the mixture",
    "dominant": "correlation with the dominant source", "mixture_distance": "distance to the mixture",
    "mixture_dssim": "dSSIM to the mixture", "dominant_dssim": "dSSIM to the dominant source",
    "largest_share": "largest share", "alike": "likeness of the release's images",
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """Statistics of some images of one release, and of their plain mixtures: (n,) each."""

    released: Mapping[str, Array]
    plain: Mapping[str, Array]


def compare(client: Client, defense: Entry, seed: int) -> dict[str, Any]:
    """Whether releases differ from rehearsals: the fact `rehearsal` of a release record.

    returns  mismatch (None where nothing differs and nothing was compared, for there are no public images);
             statistics: by name the smallest p and the smallest p after Holm's correction; said: what differs, in words
    """
    said = row_faults(client, defense, seed)
    if not len(client.splits.public):
        not_compared = "not compared: there are no public images"
        return {"mismatch": True if said else None, "statistics": {}, "said": [*said, not_compared]}
    measure = _measurer(client)
    rehearsals = [[measure(*each) for each in some] for some in _rehearsals(client, defense, seed)]
    p_values: dict[tuple[str, int, int], float] = {}
    for number in range(client.releases):
        release, secret = client.release(defense, seed, number)
        real = measure(release, secret, client.originals)
        for size, some in enumerate(rehearsals):
            p_values |= {(name, number, size): p for name, p in distances(real, some).items()}
        beyond = outliers(real, [each for some in rehearsals for each in some])
        p_values |= {(name, number, len(rehearsals)): p for name, p in beyond.items()}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    figures: dict[str, dict[str, float]] = {}
    for key, p in p_values.items():
        best = figures.setdefault(key[0], {"p": 1.0, "holm": 1.0})
        best["p"], best["holm"] = min(best["p"], p), min(best["holm"], corrected[key])
    differing = sorted((name for name in figures if figures[name]["holm"] < SIGNIFICANT), key=lambda n: figures[n]["p"])
    said += [_WORDS[name] for name in differing]
    return {"mismatch": bool(said), "statistics": figures, "said": said}


def compare_scores(report: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, Any] | None:
    """Whether an attack scores otherwise than it rehearsed: the fact `rehearsal` of its record; None where it says not.

    report  the attack's own: rehearsed_ssim, the mean SSIM of each setting, and which setting it chose
    arrays  attacked_dssim, (n,)
    """
    rehearsed, chosen = report.get("rehearsed_ssim"), report.get("setting", report.get("chosen"))
    real = arrays.get("attacked_dssim")
    chosen = chosen[0] if isinstance(chosen, (list, tuple)) and chosen else chosen
    if not isinstance(rehearsed, Mapping) or chosen not in rehearsed or real is None or len(real) < 2:
        return None
    ssim = 1 - np.asarray(real, np.float64)
    apart = float(ssim.mean() - rehearsed[chosen])
    error = max(float(ssim.std(ddof=1)), 1e-3) * (1 / len(ssim) + 1 / _FEW) ** 0.5
    p = float(2 * stats.t.sf(max(-apart - _WORSE, apart - _BETTER, 0) / error, min(len(ssim), _FEW) - 1))
    mismatch = p < SIGNIFICANT
    words = f"SSIM {ssim.mean():.2f} where {rehearsed[chosen]:.2f} was rehearsed"
    return {"mismatch": mismatch, "statistics": {"ssim": {"p": p, "holm": p}}, "said": [words] if mismatch else []}


# Two samples


def distances(real: Sample, rehearsals: Sequence[Sample]) -> dict[str, float]:
    """By statistic the p-value of Kolmogorov and Smirnov's distance to the nearest rehearsal, less the margin."""
    plain = _plain_distance(real, rehearsals)
    found = {}
    for name, values in real.released.items():
        nearest = min((each.released[name] for each in rehearsals), key=partial(_distance, values))
        excess = _distance(values, nearest) - max(plain, _spread(rehearsals, name))
        n, m = len(values), len(nearest)
        found[name] = float(stats.kstwo.sf(excess, max(round(n * m / (n + m)), 1))) if excess > 0 else 1.0
    return found


def outliers(real: Sample, rehearsals: Sequence[Sample]) -> dict[str, float]:
    """By statistic the p-value of the number of images beyond all those rehearsed, less the margin.

    Where rehearsals differ from each other, as many images as these distances stand for are no news.
    """
    joined = _joined(rehearsals)
    plain = max(_beyond(real.plain[name], joined.plain[name]) for name in real.plain)
    plain_distance, found = _plain_distance(real, rehearsals), {}
    for name in sorted(set(real.released) - _OF_THE_WHOLE):
        values, n = real.released[name], len(real.released[name])
        among = n * max(_spread(rehearsals, name) - plain_distance, 0.0)
        excess = _beyond(values, joined.released[name]) - max(plain, round(among))
        found[name] = min(1.0, 2 * _chance_beyond(max(excess, 0), n, len(joined.released[name])))
    return found


def _plain_distance(real: Sample, rehearsals: Sequence[Sample]) -> float:
    return max(_distance(real.plain[name], each.plain[name]) for name in real.plain for each in rehearsals)


def _spread(rehearsals: Sequence[Sample], name: str) -> float:
    """The largest distance of a statistic between two rehearsals."""
    pairs = combinations([each.released[name] for each in rehearsals], 2)
    return max((_distance(one, other) for one, other in pairs), default=0.0)


def _joined(samples: Sequence[Sample]) -> Sample:
    def along(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return Sample(along([each.released for each in samples]), along([each.plain for each in samples]))


def _distance(one: Array, other: Array) -> float:
    """Kolmogorov and Smirnov's."""
    values = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(side), values, "right") / len(side) for side in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def _beyond(one: Array, other: Array) -> int:
    """How many of `one` are below, or above, all of the other: the larger of the two numbers."""
    return int(max((one < other.min()).sum(), (one > other.max()).sum()))


def _chance_beyond(count: int, n: int, m: int) -> float:
    """Chance that the `count` largest of n + m values of one distribution are all among the n (Rosenbaum)."""
    places = np.arange(count)
    return float(np.exp(np.log((n - places) / (n + m - places)).sum()))


# Releases and rehearsals


Originals = Callable[[Array], Bytes]


def _rehearsals(client: Client, defense: Entry, seed: int) -> Iterator[list[tuple[Release, Secret, Originals]]]:
    """Some rehearsals of as many public images as there are private ones, and some of fewer, as attacks make them."""
    observation, public = client.observe(defense, _REHEARSES, seed), client.splits.public
    for size, count in enumerate((len(client.splits.private), _FEW)):
        made: list[tuple[Release, Secret, Originals]] = []
        for number in range(_REHEARSED):
            key = derive(b"", "rehearsed", size, number)
            rows = _drawn(public.labels, count, observation, numpy_generator(key))
            own = torch.from_numpy(public.images[rows]).to(client.device)
            release, secret = observation.rehearse(own, public.labels[rows], _FIRST + _REHEARSED * size + number)
            made.append((release, secret, partial(_picked, own)))
        yield made


def _picked(images: Bytes, rows: Array) -> Bytes:
    return images[torch.from_numpy(rows).to(images.device)]


def _drawn(labels: Array, count: int, observation: Observation, rng: np.random.Generator) -> Array:
    """Rows of public images: whole classes where mixtures stay within a class and are few, else any."""
    rows = rng.permutation(len(labels))[:count]
    if observation.defense.mixing["intra_class"]:
        least = np.concatenate([np.flatnonzero(labels == label)[: observation.sources] for label in np.unique(labels)])
        rows = np.union1d(rows, least)
    return rows


# Statistics


def _measurer(client: Client) -> Callable[[Release, Secret, Originals], Sample]:
    dssim = bind(client.registry.get("metrics", "dssim"))

    def measure(release: Release, secret: Secret, originals: Originals) -> Sample:
        count = len(release)
        rows = numpy_generator(derive(b"", "compared", count)).permutation(count)[:_ROWS]
        sources = to_images(originals(secret.sources[rows]).to(client.device))
        shares = torch.from_numpy(secret.shares[rows]).to(client.device)
        released = to_images(release.images[torch.from_numpy(rows).to(release.images.device)].to(client.device))
        dominant = sources[torch.arange(len(rows)), torch.from_numpy(secret.dominant[rows])]
        mixed = average(sources, shares).mul(255).round().div(255)
        beside = {"largest_share": shares.amax(1)}
        both = (statistics(images, mixed, dominant, dssim) | beside for images in (released, mixed))
        told = ({name: values.double().cpu().numpy().round(_DIGITS) for name, values in each.items()} for each in both)
        return Sample(*told)

    return measure


def statistics(
    images: Images, mixtures: Images, dominant: Images, dssim: Callable[[Images, Images], Tensor]
) -> dict[str, Tensor]:
    """Of each image (N, 3, H, W), by itself and beside its plain mixture and its dominant source: (N,) by name."""
    levels = images.mul(255).round().to(torch.int64)
    grey, mixed, lead = (_luminance(each) for each in (images, mixtures, dominant))
    down, across = images.diff(dim=2), images.diff(dim=3)
    coarse = functional.avg_pool2d(grey[:, None], 2)[:, 0]
    variance = grey.flatten(1).var(1)
    lowest = (levels & 1).double()
    counts = torch.stack([torch.bincount(each, minlength=256) for each in levels.flatten(1)]).double()
    shares = counts / counts.sum(1, keepdim=True)
    found = {}
    for channel, colour in enumerate(("red", "green", "blue")):
        found[f"mean_{colour}"] = images[:, channel].mean((1, 2))
        found[f"deviation_{colour}"] = images[:, channel].flatten(1).std(1)
    return found | {
        "entropy": -torch.special.xlogy(shares, shares).sum(1),
        "gradient": down.square().mean((1, 2, 3)) + across.square().mean((1, 2, 3)),
        "high_frequencies": 1 - coarse.flatten(1).var(1) / variance.clamp(min=1e-9),
        "bit_0": lowest.mean((1, 2, 3)),
        "bit_3": ((levels >> 3) & 1).double().mean((1, 2, 3)),
        "bit_0_neighbours": (lowest[..., 1:] == lowest[..., :-1]).double().mean((1, 2, 3)),
        "saturated": ((levels == 0) | (levels == 255)).double().mean((1, 2, 3)),
        "neighbours": _correlation(grey[..., 1:], grey[..., :-1]),
        "distinct": (counts > 0).sum(1).double(),
        "mixture": _correlation(grey, mixed),
        "mixture_gradients": _correlation(grey.diff(dim=2), mixed.diff(dim=2)),
        "dominant": _correlation(grey, lead),
        "mixture_distance": (images - mixtures).abs().mean((1, 2, 3)),
        "mixture_dssim": dssim(images, mixtures),
        "dominant_dssim": dssim(images, dominant),
        "alike": _alike(grey),
    }


def _luminance(images: Images) -> Tensor:
    """(N, H, W) float64."""
    red, green, blue = images.double().unbind(1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """(N,) of (N, H, W) each; 0 where one does not vary."""
    return (_normalised(one) * _normalised(other)).sum(1)


def _normalised(values: Tensor) -> Tensor:
    flat = values.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    unit: Tensor = centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-9)
    return unit


def _alike(grey: Tensor) -> Tensor:
    """(N,) mean absolute correlation with the other images."""
    likeness = (_normalised(grey) @ _normalised(grey).T).abs().fill_diagonal_(0)
    return likeness.sum(1) / max(len(grey) - 1, 1)
