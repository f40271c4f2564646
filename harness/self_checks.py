"""Self-checks that records can answer: where one does not hold, a figure beside it is not to be trusted.

An undefended release is the original; true pairing and weights see no less than guessed ones; another image than the
right one is found by chance alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from harness.groups import Group, pooled, reading
from harness.records import RunResult
from harness.statistics import paired
from harness.wording import figure, short

_BY_CHANCE = 1e-4  # so seldom may a sound harness be warned of
_SHOWN = 5e-4  # what three decimals show; less is the rounding of float32 or of a solver


def broken(defense: Mapping[str, Any], releases: Sequence[RunResult], groups: Sequence[Group]) -> list[str]:
    """One line for every check that the records of a row do not pass."""
    found = [_undefended(releases)] if defense["name"] == "none" and defense["mixing"]["weights"] == [1.0] else []
    named = {group.name: group for group in groups if group.sound}
    if "oracle" in named and "multi_release" in named:
        found.append(_oracle(named["oracle"], named["multi_release"]))
    if "random_other" in named:
        found.append(_random_other(named["random_other"]))
    return [line for line in found if line]


def _undefended(releases: Sequence[RunResult]) -> str | None:
    score = pooled(releases, "dssim", proportion=False)
    return f"none has dSSIM {figure(score)}, not 0" if score["mean"] > _SHOWN else None


def _oracle(oracle: Group, blind: Group) -> str | None:
    seeds = [
        seed
        for seed in oracle.sound
        if seed in blind.sound and all("attacked_dssim" in group.sound[seed].arrays for group in (oracle, blind))
    ]
    if not seeds:
        return None
    units = np.concatenate([oracle.sound[seed].arrays["units"] for seed in seeds])
    left, guessed = (
        np.concatenate([group.sound[seed].arrays["attacked_dssim"] for seed in seeds]) for group in (oracle, blind)
    )
    more = paired(left, guessed, units=units)
    if more["low"] is None or more["low"] < _SHOWN:
        return None
    return f"oracle leaves {figure(more)} more dSSIM than multi_release, which knows less"


def _random_other(group: Group) -> str | None:
    if not any("reid_rank1" in record.arrays for record in group.sound.values()):
        return None
    score = reading(group.sound.values(), "reid_rank1")
    if score["chance"] is None or score["mean"] is None:
        return None
    hits = round(score["mean"] * score["n"])
    if binomtest(hits, score["n"], score["chance"], alternative="greater").pvalue > _BY_CHANCE:
        return None
    return f"random_other is re-identified {figure(score)}, above chance {short(score['chance'])}"
