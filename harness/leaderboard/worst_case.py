"""How much a release reveals at most: the worst case per original beside its null, and the attacks that reach most.

Per original the minimum over the releases as they are and every attack that is no control. The null is the same minimum
of what answers another original of the same class: as many tries, nothing seen of this one. Because the minimum over
attacks chooses with the truth in hand, the best single attack stands beside it, and the attack that is chosen on one
half of the originals and scored on the other, both ways. Every figure names the records that it comes from.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.leaderboard.attack_results import AttackResult
from harness.leaderboard.attack_runs import AttackRuns, pooled_hits
from harness.leaderboard.format import LOOK
from harness.leaderboard.limits import Limits, paper_limits
from harness.leaderboard.per_original import PerOriginal, least, units_of
from harness.leaderboard.training import Kind, Variances, summarised
from harness.records import RunResult
from harness.scores import ATTACKED, SCORES, UNSEEN, WORST, base, followers
from harness.statistics import per_unit, share_below, summarise
from harness.training_variance import Sample
from harness.types import Array


def keys(records: Iterable[RunResult], array: str | None = None) -> list[str]:
    """The names of these records; of those alone that hold an array."""
    return [record.spec.key for record in records if array is None or array in record.arrays]


@dataclass(frozen=True)
class WorstCase:
    """The worst case of each original on each seed, by one distance.

    values, null  (M,) the minimum over everything, and the mean over derangements of the same minimum of what
                  answers another original, NaN where there is none; the null is None where some record has none
    units, seeds  (M,) the original and the seed of each
    unseen        (M,) what images come to that cannot show the original, whatever was released; None: not measured
    alone         (M,) of the releases as they are (None) and of each attack by itself, by its place
    attacks       the attacks that entered, by place
    lacking       the attacks, or `look`, whose records have no null
    """

    values: Array
    null: Array | None
    units: Array
    seeds: Array
    alone: Mapping[int | None, Array]
    attacks: Mapping[int, AttackRuns]
    lacking: tuple[str, ...]
    unseen: Array | None = None

    @property
    def sample(self) -> Sample:
        return Sample(self.values, self.units, self.seeds)


def worst_values(releases: Sequence[RunResult], attacks: Sequence[AttackRuns], metric: str) -> WorstCase | None:
    """The worst case by a judged distance or its variant to the nearest source; None where no release has it.

    An attack that was not run on a seed, or does not answer for an original, reveals there what the releases reveal.
    """
    parts = [part for release in releases if (part := _of_seed(release, attacks, metric)) is not None]
    if not parts:
        return None
    entered = sorted({at for part in parts for at in part[1]})
    alone: dict[int | None, Array] = {None: np.concatenate([look.values for look, *_ in parts])}
    alone |= {at: np.concatenate([found.get(at, look.values) for look, found, *_ in parts]) for at in entered}
    lacking = tuple(dict.fromkeys(name for *_, names, _ in parts for name in names))
    null = None if lacking else np.concatenate([_mean(null) for *_, null in parts if null is not None])
    return WorstCase(
        np.minimum.reduce(list(alone.values())),
        null,
        np.concatenate([look.units for look, *_ in parts]),
        np.concatenate(
            [np.full(len(look.units), seed) for (look, *_), seed in zip(parts, _seeds(releases, metric), strict=True)]
        ),
        alone,
        {at: attacks[at] for at in entered},
        lacking,
        _unseen([release for release in releases if least(release, metric) is not None], metric),
    )


def _unseen(releases: Sequence[RunResult], metric: str) -> Array | None:
    """Of the originals of `least`, one release after the other."""
    array, found = f"{UNSEEN}{base(metric)}", []
    for release in releases:
        look = least(release, metric)
        if look is None or array not in release.arrays:
            return None
        of = units_of(release, array)
        found.append(release.arrays[array][np.searchsorted(of, look.units)])
    return np.concatenate(found)


def _seeds(releases: Sequence[RunResult], metric: str) -> list[int]:
    return [release.inputs["seed"] for release in releases if least(release, metric) is not None]


def _of_seed(
    release: RunResult, attacks: Sequence[AttackRuns], metric: str
) -> tuple[PerOriginal, dict[int, Array], list[str], Array | None] | None:
    """Of one seed: the releases as they are, each attack alone, who lacks a null, and the null of all together."""
    look = least(release, metric)
    if look is None:
        return None
    lacking = [] if look.null is not None else [LOOK]
    null = None if look.null is None else look.null.copy()
    alone = {}
    for at, group in enumerate(attacks):
        record = group.ok_runs.get(release.inputs["seed"])
        found = least(record, metric) if record else None
        if found is None:
            continue
        known = np.isin(found.units, look.units)
        rows = np.searchsorted(look.units, found.units[known])
        alone[at] = look.values.copy()
        alone[at][rows] = found.values[known]
        if found.null is None:
            lacking.append(group.name)
        elif null is not None:
            null[rows] = np.fmin(null[rows], found.null[known])
    return look, alone, lacking, null


def _mean(null: Array) -> Array:
    """(m,) over derangements; NaN where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mean: Array = np.nanmean(null, axis=1)
    return mean


def worst_case(
    found: WorstCase,
    releases: Sequence[RunResult],
    metric: str,
    kind: Kind | None = None,
    variances: Variances | None = None,
    limits: Limits | None = None,
) -> dict[str, Any]:
    """The statistics of a worst case: an original's figure is its mean over seeds.

    below, below_low, below_high  share of originals below the threshold, with Wilson's interval; None without one
    null          the statistics of the null; None where it was not measured
    single        the best single attack, or look: its own distance alone, without any minimum
    chosen        the attack chosen on one half of the originals and scored on the other, both ways
    attack        the name of the best single attack, with its records
    """
    variances = variances or {}
    limit = (limits or paper_limits()).of(metric)
    below = {"mean": None, "low": None, "high": None}
    if limit is not None:
        below = share_below(found.values, limit, units=found.units)
    entering = [record for group in found.attacks.values() for record in group.ok_runs.values()]
    single = _single(found, releases, kind, variances)
    return {
        **summarised(found.sample, False, kind, variances),
        "below": below["mean"],
        "below_low": below["low"],
        "below_high": below["high"],
        "null": _null(found),
        "single": single,
        "chosen": _chosen(found, kind, variances),
        "attack": single["attack"],
        "attack_records": single["records"],
        "records": [
            *keys(releases),
            *(key for name in (WORST + metric, ATTACKED + metric) for key in keys(entering, name)),
        ],
    }


def _null(found: WorstCase) -> dict[str, Any] | None:
    if found.null is None:
        return None
    there = np.isfinite(found.null)
    return summarise(found.null[there], units=found.units[there], proportion=False) if there.any() else None


def _single(found: WorstCase, releases: Sequence[RunResult], kind: Kind | None, variances: Variances) -> dict[str, Any]:
    """The attack whose mean over originals is least; look where none is less than the releases as they are."""
    means = {at: float(per_unit(values, found.units).mean()) for at, values in found.alone.items()}
    best = min(means, key=lambda at: (means[at], at is not None, "" if at is None else found.attacks[at].name))
    group = None if best is None else found.attacks[best]
    return {
        "attack": group.name if group else LOOK,
        **summarised(
            found.sample._replace(values=found.alone[best]), False, kind if group and group.trained else None, variances
        ),
        "records": keys(group.ok_runs.values()) if group else keys(releases),
    }


def _chosen(found: WorstCase, kind: Kind | None, variances: Variances) -> dict[str, Any]:
    """Each original after the attack that is best on the half that it is not in."""
    upper = np.array([_in_upper_half(unit) for unit in found.units.tolist()], bool)
    values, names = found.values.copy(), []
    for half in (upper, ~upper):
        others = ~half if (~half).any() else half  # a single original is in one half alone
        means = {at: float(per_unit(each[others], found.units[others]).mean()) for at, each in found.alone.items()}
        best = min(means, key=lambda at: (means[at], at is not None, "" if at is None else found.attacks[at].name))
        values[half] = found.alone[best][half]
        names.append(LOOK if best is None else found.attacks[best].name)
    return {
        "attacks": list(dict.fromkeys(names)),
        **summarised(found.sample._replace(values=values), False, kind, variances),
    }


def _in_upper_half(original: int) -> bool:
    """A fixed half of all originals, the same for every seed, attack and board."""
    return bool(hashlib.sha256(str(original).encode()).digest()[0] & 1)


def strongest(releases: Sequence[RunResult], attacks: Sequence[AttackResult], name: str) -> dict[str, Any] | None:
    """The attack, or the release as is, with the highest hit rate beyond chance; None where nothing has this score.

    An attack that is granted the answer (`Score.answer`) counts only where no other was run. Beside the score stand
    the scores that follow it, of the same attack.
    """
    score = SCORES[name]
    found = [result for result in attacks if name in result.hit_rates]
    found = [result for result in found if score.answer not in result.group.granted] or found
    tried = [
        (result.name, result.params.get("arch"), list(result.group.ok_runs.values()), result.hit_rates)
        for result in found
    ]
    if score.of_release and any(name in release.arrays for release in releases):
        together = (name, *followers(name))
        measured = [each for each in together if any(each in release.arrays for release in releases)]
        tried.insert(0, (LOOK, None, list(releases), {each: pooled_hits(releases, each) for each in measured}))
    if not tried:
        return None
    by = "mean" if any(rates[name]["corrected"] is None for *_, rates in tried) else "corrected"
    attack, arch, records, rates = max(tried, key=lambda each: round(each[3][name][by], 12))
    return {
        "attack": attack,
        "arch": arch,
        **rates[name],
        "beside": {other: rates.get(other) for other in followers(name)},
        "records": keys(records, name),
    }
