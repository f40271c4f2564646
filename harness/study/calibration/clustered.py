"""Intervals for judgements that share people and images: two-way clustered variance.

A person gives many judgements, and an image is judged by many people, so judgements are not independent in either way.
The variance of a sum of contributions is that of clusters of people, plus that of clusters of images, less that of both
together (Cameron, Gelbach and Miller 2011, Journal of Business & Economic Statistics 29(2)), each with the factor
G / (G - 1); quantiles are Student's with the smaller number of clusters less one. Where each person has a survey of
their own, images are nested in people and the sum is the variance over people. Where there is one person, or an attack,
images alone are clusters: the interval does not hold the choice of people.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

if TYPE_CHECKING:
    from harness.types import Array


@dataclass(frozen=True)
class Clusters:
    """Which judgements belong together.

    people, images  (n,) the cluster of each judgement, numbered from 0
    """

    people: Array
    images: Array

    @staticmethod
    def of(people: Sequence[str], images: Sequence[str]) -> Clusters:
        """From the names of both."""
        return Clusters(*(np.unique(np.asarray(names, str), return_inverse=True)[1] for names in (people, images)))

    @property
    def counts(self) -> tuple[int, int]:
        """How many people and images."""
        return _count(self.people), _count(self.images)

    @property
    def by(self) -> tuple[str, ...]:
        """What the intervals hold: people, images; a single one of either is no cluster."""
        return tuple(name for name, count in zip(("people", "images"), self.counts, strict=True) if count > 1)

    @property
    def quantile(self) -> float:
        """Student's 97.5 % quantile; infinite where nothing can be said."""
        several = [count for count in self.counts if count > 1]
        return float(stdtrit(min(several) - 1, 0.975)) if several else math.inf

    def variance(self, contributions: Array) -> Array:
        """Of the sum of contributions that sum to about 0.

        contributions  (n,) or (n, k), of each judgement to k sums. Returns () or (k,)
        """
        _, images = self.counts
        parts = {name: _one_way(contributions, getattr(self, name)) for name in self.by}
        if len(parts) < 2:
            return next(iter(parts.values()), np.full(contributions.shape[1:], math.inf))
        both = _one_way(contributions, self.people.astype(np.int64) * images + self.images)
        greater = np.maximum(parts["people"], parts["images"])
        found = parts["people"] + parts["images"] - both
        return np.where(found > 0, found, greater)  # the difference may be negative by chance


def _count(clusters: Array) -> int:
    return len(np.unique(clusters))


def _one_way(contributions: Array, clusters: Array) -> Array:
    names, at = np.unique(clusters, return_inverse=True)
    sums = np.zeros((len(names), *contributions.shape[1:]))
    np.add.at(sums, at, contributions)
    sums -= sums.mean(0)
    found: Array = (sums**2).sum(0) * len(names) / (len(names) - 1) if len(names) > 1 else np.full(sums.shape[1:], 0.0)
    return found


Ends = tuple[float, float] | tuple[None, None]


def of_share(share: float, contributions: Array, clusters: Clusters) -> Ends:
    """95 % interval of a figure between 0 and 1, on the logit scale; none at 0 or 1, or without two clusters.

    contributions  (n,) of each judgement to the figure's deviation from its expectation
    """
    variance, quantile = float(clusters.variance(contributions)), clusters.quantile
    if not 0 < share < 1 or not math.isfinite(variance) or variance <= 0:
        return None, None
    logit, reach = math.log(share / (1 - share)), quantile * math.sqrt(variance) / (share * (1 - share))
    return _logistic(logit - reach), _logistic(logit + reach)


def _logistic(value: float) -> float:
    return 0.5 * (1 + math.tanh(value / 2))
