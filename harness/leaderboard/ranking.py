"""Rank, ties and the Pareto front: by utility among the rows that pass, within one way of training on R releases.

A row is better than another where the paired difference over the same test images is significant: its interval, which
holds the trainings, excludes zero and its p-value stays below 5 % after Holm's correction for the pairs of that
training. Two rows without a significant difference are tied. The rank is 1 + the number of better rows.

A board compares every attack with the release as is and with smoothing; these comparisons are corrected for their
number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from harness.leaderboard.format import settings
from harness.leaderboard.row import Row, over_images
from harness.leaderboard.training import Kind, Variances, compared, p_of
from harness.scores import ranking
from harness.statistics import holm

LEVEL = 0.05


def rank(rows: list[Row], undefended: str) -> None:
    """Rank and mark rows in place, and sort them: the ranked, then references, then the most private first."""
    for training in dict.fromkeys((row.epochs, row.releases, row.training) for row in rows):
        alike = [row for row in rows if (row.epochs, row.releases, row.training) == training]
        _mark_front([row for row in alike if not row.missing])
        _place([row for row in alike if row.passing and row.utility and not row.reference])
    rows.sort(
        key=lambda row: (
            row.rank or math.inf,
            -(row.utility or {"mean": 0})["mean"] if row.rank else 0,
            row.defense != undefended,
            not row.reference,
            -row.worst[ranking()]["mean"],
            row.epochs or 0,
            row.releases or 0,
            named(row),
        )
    )


def named(row: Row) -> str:
    """noise_mix (sigma=20 weights=0.75,0.25)"""
    chosen = settings(row.settings)
    return f"{row.defense} ({chosen})" if chosen else row.defense


def _mark_front(judged: Sequence[Row]) -> None:
    points = {id(row): (row.worst[ranking()]["mean"], row.utility["mean"]) for row in judged if row.utility}
    for row in judged:
        here = points.get(id(row))
        row.pareto = here is not None and not any(_dominates(there, here) for there in points.values())


def _dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] >= b[0] and a[1] >= b[1] and a != b


def _place(ranked: list[Row]) -> None:
    pairs = list(combinations(sorted(ranked, key=lambda row: -(row.utility or {})["mean"]), 2))
    differences = [_difference(better, worse) for better, worse in pairs]
    corrected = holm([p for _, p in differences])
    for row in ranked:
        row.rank, row.tied = 1, []
    for (better, worse), (low, _), p in zip(pairs, differences, corrected, strict=True):
        if p < LEVEL and low > 0:
            worse.rank = (worse.rank or 1) + 1
        else:
            better.tied.append(named(worse))
            worse.tied.append(named(better))


def _difference(one: Row, other: Row) -> tuple[float, float]:
    """The lower end of the difference in accuracy and its p-value, paired over test images; both hold the trainings.

    Over the seeds that both were trained with; over all of each where they share none.
    """
    shared = sorted(set(one.hits) & set(other.hits))
    kind: Kind = ("utility",)
    variances: Variances = {kind: one.training_variance}
    if shared:
        apart = over_images({seed: one.hits[seed] - other.hits[seed] for seed in shared})
        share = 2 / len(shared)
    else:
        mean = np.mean(list(other.hits.values()), axis=0)
        apart = over_images({seed: hits - mean for seed, hits in one.hits.items()})
        share = 1 / len(one.hits) + 1 / len(other.hits)
    low = compared(apart, kind, variances, share)["low"]
    return low or 0.0, p_of(apart, kind, variances, share)


def correct(rows: Sequence[Row]) -> None:
    """Holm's correction over every comparison of the rows' attacks without controls; the p-values go to the attacks."""
    attacks = [attack for row in rows for attack in row.attacks if not attack.group.control]
    compared = [(attack, name, p) for attack in attacks for name, p in attack.p_values().items()]
    corrected = holm([p for *_, p in compared])
    for (attack, name, _), p in zip(compared, corrected.tolist(), strict=True):
        attack.holm[name] = (p, len(compared))
