"""How much a release reveals at most: the worst case per original, and the attack with the highest hit rate.

Every figure names the records that it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from harness.leaderboard.attack_results import AttackResult
from harness.leaderboard.attack_runs import AttackRuns, mean_reduction, pooled_hits
from harness.records import RunResult
from harness.scores import ATTACKED, SCORES, followers, threshold
from harness.statistics import share_below, summarise
from harness.types import Array

LOOK = "look"


def keys(records: Iterable[RunResult], array: str | None = None) -> list[str]:
    """The names of these records; of those alone that hold an array."""
    return [record.spec.key for record in records if array is None or array in record.arrays]


def worst_case(releases: Sequence[RunResult], attacks: Sequence[AttackRuns], metric: str) -> dict[str, Any]:
    """Per release the minimum over the release as is and every attack on it, then per original, then the statistics.

    below, below_low, below_high  share of originals below the threshold, with Wilson's interval; None without one
    attack                        the attack that alone lowers the mean most, or look
    """
    values: list[Array] = []
    for release in releases:
        least = release.arrays[metric]
        for group in attacks:
            attack = group.ok_runs.get(release.inputs["seed"])
            if attack and ATTACKED + metric in attack.arrays:
                least = np.minimum(least, attack.arrays[ATTACKED + metric])
        values.append(least)
    joined, units = np.concatenate(values), np.concatenate([release.arrays["units"] for release in releases])
    limit = threshold(metric)
    below = {"mean": None, "low": None, "high": None} if limit is None else share_below(joined, limit, units=units)
    reductions = [
        (mean_reduction(group, releases, metric), group.name, keys(group.ok_runs.values())) for group in attacks
    ]
    most, strongest, theirs = max(reductions, default=(0.0, LOOK, []))
    entering = [record for group in attacks for record in group.ok_runs.values()]
    return {
        **summarise(joined, units=units, proportion=False),
        "below": below["mean"],
        "below_low": below["low"],
        "below_high": below["high"],
        "attack": strongest if most > 0 else LOOK,
        "attack_records": theirs if most > 0 else keys(releases),
        "records": [*keys(releases), *keys(entering, ATTACKED + metric)],
    }


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
