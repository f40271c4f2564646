"""Releases of other epochs that mix the same two sources in other shares, found from the images alone.

Two releases y0 = l0 a + (1-l0) b and y1 = l1 a + (1-l1) b with published shares l0 and l1 can be solved for a and b.
In features whitened by a photograph's spectrum, unrelated photographs are orthogonal, so:

    the same pair              cos(a, b) is near 0, and a and b stay within the range of pixels
    only the dominant shared   cos(a, b) is strongly positive (.65 for shares .75 and .25)
    exchanged, or none shared  cos(a, b) is strongly negative (-.37, -.6), and pixels leave their range

A flat dominant source with two textured partners can give a wrong cosine. A local test decides: where one source alone
has texture, wrongly solved layers both show it (local |cos| near 1), rightly solved ones do not.

With equal shares the two releases are the same image, and nothing can be solved. Limits: two sources; shares must be
published, few, and different (.5/.5 is not enough); a defense that moves pixels or adds noise hides the pairs;
near-duplicate originals count as one, and one flat source may be taken for another.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor

from harness.errors import Inapplicable
from harness.images import separable, to_images
from harness.observation import Observation
from harness.types import Array, Bytes, Images, Release

_GRID = 32  # cells a side that features are computed from, at most
_CHUNK = 256  # releases at a time
_ORTHOGONAL = 0.4  # largest |cos(a, b)| of two sources
_ENTANGLED = 0.2  # largest local |cos| of its gradients
_WINDOW = 8  # pixels a side in which that is measured
_ENERGIES = 64.0  # largest ratio of the energies of a and b
_OUTSIDE = 0.005  # largest share of pixels that leave their range
_APART = 0.05  # least difference of two shares to solve with


@dataclass(frozen=True)
class Match:
    """A release that mixes a target's two sources.

    epoch, row  where it is
    own, other  the share of the target's first source in the target and in this release
    doubt       local |cos| of the gradients of the two solved sources, 0 to 1; 0 is certain
    """

    epoch: int
    row: int
    own: float
    other: float
    doubt: float


def published_shares(mixing: Mapping[str, Any]) -> list[float]:
    """The first weight of every published vector of two; empty where they are drawn or more than two are mixed."""
    weights = mixing["weights"]
    if isinstance(weights, str | Mapping):
        return []
    vectors = np.atleast_2d(np.asarray(weights, np.float64))
    return sorted({float(max(vector)) for vector in vectors}) if vectors.shape[1] == 2 else []


def shared_pairs(releases: Sequence[Release], targets: Array, shares: Sequence[float]) -> list[list[Match]]:
    """For each target of epoch 0 the releases of other epochs that mix its two sources in other shares, surest first.

    targets  (n,) rows of epoch 0
    shares   the published shares of a dominant source, 0.5 to 1
    """
    matches: list[list[Match]] = [[] for _ in targets]
    roles = _roles(shares)
    if not roles or len(releases) < 2:
        return matches
    first = releases[0].images
    ours = features(first[torch.from_numpy(targets)])
    for epoch, release in enumerate(releases):
        for start in range(0, len(release) if epoch else 0, _CHUNK):
            theirs = features(release.images[start : start + _CHUNK])
            for i, j, own, other in _candidates(ours, theirs, roles):
                pair = to_images(torch.stack([first[int(targets[i])], release.images[start + j]]))
                doubt = _doubt(pair, own, other)
                if doubt < _ENTANGLED:
                    matches[i].append(Match(epoch, start + j, own, other, doubt))
    return [_consistent(own_matches) for own_matches in matches]


def features(images: Bytes) -> Tensor:
    """(N, D) float32: cosine coefficients of cell means, weighted by their frequency; no mean.

    A photograph's amplitudes fall with frequency; weighted, all coefficients count alike.
    """
    height, width = images.shape[2:]
    tall, wide = min(_GRID, height), min(_GRID, width)
    down, across = _cosines(height, tall), _cosines(width, wide)
    parts = []
    for start in range(0, len(images), _CHUNK):
        # Opponent colours: the RGB channels of a photograph are nearly the same.
        red, green, blue = to_images(images[start : start + _CHUNK]).unbind(1)
        opponent = torch.stack([(red + green + blue) / 3, 2 * (red - blue), 2 * (green - (red + blue) / 2)], 1)
        parts.append(separable(opponent, down, across).mul_(_frequencies(tall, wide).to(images.device)).flatten(1))
    return torch.cat(parts) if parts else torch.zeros(0, 3 * tall * wide)


def solve(own: float, other: float, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The two sources of two mixtures of any shape, given the share of the first source in each."""
    apart = own - other
    return ((1 - other) * first - (1 - own) * second) / apart, (own * second - other * first) / apart


def check_mixture(observation: Observation) -> None:
    """Inapplicable unless a release is a weighted average of two images, pixel by pixel."""
    traits = observation.defense.traits
    moved = traits & {"permutes_in_blocks", "keeps_pixels", "keyed", "sign_flip"}
    if "linear" not in traits or moved:
        reason = f"declares {', '.join(sorted(moved))}" if moved else "does not declare the trait `linear`"
        raise Inapplicable(f"it needs weighted averages of two images, pixel by pixel; the defense {reason}")
    if observation.sources != 2:
        raise Inapplicable(f"it separates mixtures of two sources; these have {observation.sources}")


def mixtures(releases: Sequence[Release], row: int, matches: Sequence[Match]) -> tuple[Images, Images]:
    """A target and its matches: (3, H, W) and (m, 3, H, W)."""
    others = torch.stack([releases[match.epoch].images[match.row] for match in matches])
    return to_images(releases[0].images[row]), to_images(others)


def solve_matches(first: Images, others: Images, matches: Sequence[Match]) -> Images:
    """(2, 3, H, W): least squares for the two sources of a target and its matches."""
    shares = torch.tensor([matches[0].own, *(match.other for match in matches)], dtype=torch.float64)
    system = torch.linalg.pinv(torch.stack([shares, 1 - shares], 1)).to(first)
    return torch.einsum("sm,mchw->schw", system, torch.cat([first[None], others]))


def _roles(shares: Sequence[float]) -> list[tuple[float, float]]:
    """The shares that a target and another release may give the target's dominant source, if they differ."""
    others = {role for share in shares for role in (share, 1 - share)}
    return [(own, other) for own in shares for other in sorted(others) if abs(own - other) >= _APART]


def _candidates(
    ours: Tensor, theirs: Tensor, roles: Sequence[tuple[float, float]]
) -> list[tuple[int, int, float, float]]:
    """(target, release, own, other) where the two solved sources are near orthogonal and of like energy."""
    across, left, right = ours @ theirs.T, ours.square().sum(1)[:, None], theirs.square().sum(1)[None]
    candidates = []
    for own, other in roles:
        # The inner products of a and b follow from those of the releases, without solving for a and b.
        a, b = (1 - other, -(1 - own)), (-other, own)
        aa = a[0] ** 2 * left + 2 * a[0] * a[1] * across + a[1] ** 2 * right
        bb = b[0] ** 2 * left + 2 * b[0] * b[1] * across + b[1] ** 2 * right
        ab = a[0] * b[0] * left + (a[0] * b[1] + a[1] * b[0]) * across + a[1] * b[1] * right
        orthogonal = ab.abs() < _ORTHOGONAL * (aa * bb).clamp_(min=1e-12).sqrt()
        plausible = orthogonal & (aa < _ENERGIES * bb) & (bb < _ENERGIES * aa)
        candidates += [(i, j, own, other) for i, j in plausible.nonzero().tolist()]
    return candidates


def _doubt(pair: Tensor, own: float, other: float) -> float:
    """How entangled the two solved sources are, 0 to 1; 1 where they leave the range of pixels."""
    solved = torch.stack(solve(own, other, pair[0], pair[1]))
    slack = 0.5 / 255 / abs(own - other) + 1 / 255  # rounding, as solving amplifies it
    if float(((solved < -slack) | (solved > 1 + slack)).float().mean()) > _OUTSIDE:
        return 1.0
    across, down = solved[..., :-1, 1:] - solved[..., :-1, :-1], solved[..., 1:, :-1] - solved[..., :-1, :-1]
    a, b = torch.cat([across, down], 1).unbind()
    window = min(_WINDOW, *a.shape[1:])
    ab, aa, bb = F.avg_pool2d(torch.stack([a * b, a * a, b * b]), window).sum(1).unbind()
    return float(ab.abs().sum() / (aa * bb).sqrt().sum().clamp(min=1e-12))


def _consistent(matches: list[Match]) -> list[Match]:
    """Surest first, without those that give the target another share than the surest match does."""
    matches = sorted(matches, key=lambda match: (match.doubt, match.epoch, match.row))
    surest = {(match.epoch, match.row): match for match in reversed(matches)}  # a release under its surest shares
    return [match for match in matches if match.own == matches[0].own and match is surest[match.epoch, match.row]]


@functools.lru_cache(maxsize=8)
def _cosines(size: int, cells: int) -> Tensor:
    """(cells, size) float64: area means, then the orthonormal cosine transform of them."""
    edges = torch.arange(cells + 1, dtype=torch.float64) * size / cells
    pixels = torch.arange(size, dtype=torch.float64)
    means = (torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)).clamp_(min=0)
    order, place = torch.arange(cells, dtype=torch.float64)[:, None], torch.arange(cells, dtype=torch.float64) + 0.5
    cosines = torch.cos(torch.pi * order * place / cells) * (2 / cells) ** 0.5
    cosines[0] /= 2**0.5
    transform: Tensor = cosines @ (means * cells / size)
    return transform


@functools.lru_cache(maxsize=8)
def _frequencies(tall: int, wide: int) -> Tensor:
    """(tall, wide): the frequency of every coefficient in cycles; 0 for the mean."""
    down, across = torch.arange(tall)[:, None] / 2, torch.arange(wide) / 2
    return (down.square() + across.square()).sqrt().float()
