"""How often the 95 % intervals of `harness calibrate` hold the truth, for SIMULATED people whose truth is known.

A person does not recognise a source with the chance 1 / (1 + exp(-(dSSIM - threshold - person - image) / width)), where
person and image are normal deviations; the two or three sources of an image share its deviation, and their dSSIMs are
correlated. AUC and thresholds of the population are integrals over these normal distributions, computed by quadrature.
A second metric is noise: its AUC is .5.

    python experiments/calibration_coverage.py                # 500 repetitions of each design, some minutes
    python experiments/calibration_coverage.py --repetitions 100
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

from harness.study.calibration import thresholds
from harness.study.calibration.clustered import Clusters, of_share
from harness.study.calibration.roc import ACC, CUT_OFF, curve, influence

if TYPE_CHECKING:
    from harness.types import Array

MEAN, SPREAD, TOGETHER = 0.55, 0.2, 0.5
"""Of dSSIM over pairs, and its correlation within an image."""
HALF, WIDTH, PERSON, IMAGE = 0.6, 0.06, 0.06, 0.06
"""Of the psychometric function: the dSSIM at which half is recognised, its width, and what people and images differ."""
SOURCES = np.repeat([2, 3], [42, 7])
"""Of the 49 images of a survey: 105 pairs."""


@dataclass(frozen=True)
class Truth:
    """Of the population."""

    auc: float
    t_acc: float
    t_cut_off: float


def truth() -> Truth:
    """By quadrature; deviations of people and images enter through their sum, which is normal."""
    grid = np.linspace(MEAN - 6 * SPREAD, MEAN + 6 * SPREAD, 4001)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    deviation = np.hypot(PERSON, IMAGE) * nodes
    chance = expit((grid[:, None] - HALF - deviation) / WIDTH) @ weights / weights.sum()
    density, step = norm.pdf(grid, MEAN, SPREAD), grid[1] - grid[0]
    f1, f0 = (part / (part.sum() * step) for part in (chance * density, (1 - chance) * density))
    below1, below0 = ((np.cumsum(part) - part / 2) * step for part in (f1, f0))
    cut = below1 * f1 - (1 - below0) * f0
    ends = MEAN - 2 * SPREAD, MEAN + 2 * SPREAD
    return Truth(
        float((f1 * below0).sum() * step),
        brentq(lambda t: np.interp(t, grid, f1 - f0), *ends),
        brentq(lambda t: np.interp(t, grid, cut), *ends),
    )


@dataclass(frozen=True)
class Simulated:
    """SIMULATED judgements: distances by dSSIM and by noise, whether hidden, and clusters."""

    dssim: Array
    noise: Array
    hidden: Array
    clusters: Clusters


def simulate(rng: np.random.Generator, people: int, surveys: int) -> Simulated:
    """Each person answers one of some surveys of 49 images, as many people each."""
    image = np.repeat(np.arange(len(SOURCES) * surveys), np.tile(SOURCES, surveys))
    shared = rng.normal(size=image.max() + 1)[image]
    dssim = MEAN + SPREAD * (np.sqrt(TOGETHER) * shared + np.sqrt(1 - TOGETHER) * rng.normal(size=len(image)))
    noise, of_image = rng.normal(size=len(image)), IMAGE * rng.normal(size=image.max() + 1)[image]
    asked = np.split(np.arange(len(image)), surveys)
    pair = np.concatenate([asked[person % surveys] for person in range(people)])
    person = np.repeat(np.arange(people), [len(asked[person % surveys]) for person in range(people)])
    of_person = PERSON * rng.normal(size=people)
    chance = expit((dssim[pair] - HALF - of_person[person] - of_image[pair]) / WIDTH)
    return Simulated(dssim[pair], noise[pair], rng.random(len(pair)) < chance, Clusters(person, image[pair]))


FIGURES = ("AUC", "AUC of noise", "t_acc", "t_cut_off")
DESIGNS = {
    "24 people, a survey each": (24, 24),
    "12 people, a survey each": (12, 12),
    "24 people, one survey": (24, 1),
    "24 people, four surveys": (24, 4),
}


def covered(found: Simulated, of: Truth) -> Array:
    """(4,) whether each interval of FIGURES holds the truth; where there is none, NaN."""
    held = []
    for distances, auc in ((found.dssim, of.auc), (found.noise, 0.5)):
        contributions = influence(distances, found.hidden)
        ends = of_share(curve(distances, found.hidden).auc, contributions, found.clusters)
        held.append(_holds(ends, auc))
    whole = curve(found.dssim, found.hidden)
    for criterion, threshold in ((ACC, of.t_acc), (CUT_OFF, of.t_cut_off)):
        estimate = whole.point(criterion).threshold
        held.append(
            _holds(thresholds.interval(found.dssim, found.hidden, found.clusters, criterion, estimate), threshold)
        )
    return np.array(held)


def _holds(ends: tuple[float | None, float | None], value: float) -> float:
    low, high = ends
    return np.nan if low is None or high is None else float(low <= value <= high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=17)
    args = parser.parse_args()
    of = truth()
    print(f"SIMULATED people, {args.repetitions} repetitions, seed {args.seed}; share of intervals that hold the truth")
    print(f"population: AUC {of.auc:.3f}, t_acc {of.t_acc:.3f}, t_cut_off {of.t_cut_off:.3f}\n")
    print("| design | " + " | ".join(FIGURES) + " |")
    print("|---|" + "---|" * len(FIGURES))
    for number, (name, (people, surveys)) in enumerate(DESIGNS.items()):
        rng = np.random.default_rng([args.seed, number])
        held = np.array([covered(simulate(rng, people, surveys), of) for _ in range(args.repetitions)])
        print(f"| {name} | " + " | ".join(f"{share:.3f}" for share in np.nanmean(held, 0)) + " |", flush=True)


if __name__ == "__main__":
    main()
