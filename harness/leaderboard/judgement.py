"""Whether a defense passes: hidden by each distance, nobody exposed, not re-identified. Passing needs all of them.

hidden         the lower end of the mean worst case is at or above the threshold, to the dominant original and to the
               nearest source (a defense says itself which source dominates). Where the null's mean is below the
               threshold + .05, images of this size cannot be judged by the paper's threshold: at or above the null
               - .05 instead.
exposed        an original is exposed where its worst case is below half of its own null. The upper Wilson end of the
               share exposed is at most .02, which takes 189 originals; one original below .05 whose null is above .3
               fails the row. By the distance that ranks, to the dominant original and to the nearest source. There
               the null is the larger of two: a scheme can show one picture in all images, so what cannot show it
               counts beside them (harness.run.shown). So does one original that is not scored, in rows that hold
               it. So do originals that images show (below .05) which do not hold them, where they are more than
               distractors (Fisher's exact test, times the number of seeds), or one of them is unlike anything that
               cannot show it and no distractor is shown; these enter no worst case. And so does
               an original that an embedding or an attack names for certain (harness.run.certain), however few they
               are: a picture that no distance recognises, tilted and enlarged, may be named all the same.
re-identified  for every attack, and the release as is, and every embedding: the hits on each seed against chance
               (exact binomial), the smallest p-value times the number of seeds, then Holm over attacks and embeddings.
               All images of the original that dominates in one ranking, and one image of any source by itself. Of the
               release also elsewhere: images that do not hold an original are most like one of them more often than
               like one of the gallery's distractors (Fisher's exact test); the share is the excess.
               Passes where none is above chance, or where all that are have an upper Wilson end of at most .05.

With several seeds the unit stays the original: a share is the mean over seeds of a seed's share, its Wilson interval is
of as many originals as one seed has. Seeds may repeat each other's hits (an attack that always answers the same image
does), so their hits are not added up as if they were more originals; the smallest of S p-values times S holds whatever
their dependence (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import binomtest, fisher_exact

from harness.leaderboard.attack_runs import AttackRuns
from harness.leaderboard.format import LOOK, attack_name, short, trimmed
from harness.leaderboard.limits import Limits, paper_limits
from harness.leaderboard.per_original import units_of
from harness.leaderboard.worst_case import WorstCase
from harness.records import RunResult
from harness.scores import ANY, label, ranking, reidentifications
from harness.statistics import holm, wilson
from harness.types import Array

EXPOSED, REIDENTIFIED = "exposed", "reidentified"
NEAR_NULL = 0.05  # how far below its null a worst case may be where the threshold says nothing
HALF = 0.5  # of its own null: an original whose worst case is below is exposed
MOST_EXPOSED, MOST_REIDENTIFIED = 0.02, 0.05  # upper Wilson ends
LEAST_ORIGINALS = 189  # none exposed of fewer has an upper end above .02
SEEN, UNSEEN = 0.05, 0.3  # one original below the first whose null is above the second fails the row
LEVEL = 0.05
NO_NULL = "not measured: null"
NO_ROWS = "not measured: originals that are not scored, and rows of others"
ANY_SOURCE, ELSEWHERE = " as any source", " in images that do not hold them"
NOT_LOOKED_FOR = f"originals{ELSEWHERE}"


@dataclass(frozen=True)
class Judgement:
    """One part of the verdict.

    passes   None: not judged, and the words say why
    words    for a reader, without the name of the part
    figures  what it was decided by, JSON-able
    """

    passes: bool | None
    words: str
    figures: Mapping[str, Any] = field(default_factory=dict)


def passing(parts: Iterable[bool | None]) -> bool | None:
    """False where a part fails, else None where one is not judged."""
    found = list(parts)
    return False if False in found else None if None in found else True


def hidden(
    worst: Mapping[str, Any], not_measured: Sequence[str] = (), limits: Limits | None = None
) -> dict[str, Judgement]:
    """By each distance with a threshold. `not_measured`: distances that some attack was not measured by."""
    found, limits = {}, limits or paper_limits()
    for name, threshold in limits.values.items():
        variants = [variant for variant in (name, ANY + name) if variant in worst]
        if name in not_measured or name not in variants:
            found[name] = Judgement(None, f"not measured after every attack by {label(name)}")
            continue
        parts = [_hidden(worst[variant], threshold, limits.whose(name)) for variant in variants]
        words = "; nearest source ".join(part.words for part in parts)
        found[name] = Judgement(passing(part.passes for part in parts), words, {"limit": parts[0].figures["limit"]})
    return found


def _hidden(worst: Mapping[str, Any], threshold: float, whose: str) -> Judgement:
    low, null = worst["low"] if worst["low"] is not None else worst["mean"], worst["null"]
    if null is None:
        return Judgement(None, f"{short(worst['mean'])}, {NO_NULL}", {"limit": None})
    of = f"{short(worst['mean'])} of null {short(null['mean'])}"
    if null["mean"] >= threshold + NEAR_NULL:
        return Judgement(bool(low >= threshold), f"{of}, threshold {trimmed(threshold)}", {"limit": threshold})
    limit = null["mean"] - NEAR_NULL
    said = f"{of}, at least null - .05: this size cannot be judged by the {whose}threshold {trimmed(threshold)}"
    return Judgement(bool(low >= limit), said, {"limit": limit})


def exposed(
    cases: Mapping[str, WorstCase], releases: Sequence[RunResult] = (), attacks: Sequence[AttackRuns] = ()
) -> Judgement:
    """Nobody is exposed by a row's own images, scored or not, nor by rows that say they hold others, nor is named for
    certain.

    cases     worst cases by distance and variant; those by the distance that ranks decide
    releases  records of the releases as they are; older ones say nothing of other rows, and are not judged
    attacks   those that are no controls
    """
    own = _exposed_by_own(cases)
    if own.passes is False:
        return own
    shown = _shown_in_own_rows(releases) or _shown_in_wrong_rows(releases) or _named(releases, attacks)
    if shown or own.passes is None:
        return shown or own
    lacking = any(name not in release.facts for release in releases for name in ("own_rows", "wrong_rows"))
    return Judgement(None, NO_ROWS, own.figures) if lacking else own


def _shown_in_own_rows(releases: Sequence[RunResult]) -> Judgement | None:
    """A failure where an original, scored or not, is shown by an image that holds it."""
    counts = [(each["shown"], each["originals"]) for each in _facts(releases, "own_rows")]
    if not any(shown for shown, _ in counts):
        return None
    return _are_shown(counts, "shown, scored or not")


def _named(releases: Sequence[RunResult], attacks: Sequence[AttackRuns]) -> Judgement | None:
    """A failure where originals are named for certain, by whatever names most of them."""
    tried = [
        (count, len(record.arrays[name]), name, run)
        for run, records in ((None, list(releases)), *((each, list(each.ok_runs.values())) for each in attacks))
        for record in records
        for name in [variant for each in reidentifications() for variant in (each, ANY + each)]
        if name in record.arrays and (count := record.scores.get(name, {}).get("certain", 0))
    ]
    if not tried:
        return None
    count, n, name, run = max(tried, key=lambda each: each[0] / each[1])
    low, high = wilson(count, n)
    figures = {"share": count / n, "low": low, "high": high, "n": n, "seen": count}
    by = f"{_by(name.removeprefix(ANY), run)} after {attack_name(run.name if run else LOOK)}"
    return Judgement(False, f"{count} of {n} named for certain by {by}", figures)


def _by(embedding: str, attack: AttackRuns | None) -> str:
    """The features in words; an attack that ranks the gallery itself has its own."""
    ranks = attack is not None and attack.entry.get("kind") == "reidentification"
    return "its own ranking" if ranks else reidentifications()[embedding]


def _shown_in_wrong_rows(releases: Sequence[RunResult]) -> Judgement | None:
    """A failure where originals are shown by images that do not hold them: any, or more than distractors."""
    counts = _facts(releases, "wrong_rows")
    p = []
    for each in counts:
        table = [(each["shown"], each["targets"]), (each["distractors_shown"], each["distractors"])]
        p.append(float(fisher_exact([[hits, n - hits] for hits, n in table], alternative="greater").pvalue))
    alone = any(each.get("unlike_any") and not each["distractors_shown"] for each in counts)
    if not alone and (not p or len(p) * min(p) >= LEVEL):
        return None
    return _are_shown([(each["shown"], each["targets"]) for each in counts], f"shown{ELSEWHERE}")


def _facts(releases: Sequence[RunResult], name: str) -> list[Mapping[str, int]]:
    return [found for release in releases if (found := release.facts.get(name))]


def _are_shown(counts: Sequence[tuple[int, int]], how: str) -> Judgement:
    """A failure; counts are of each seed, how many of how many."""
    n = max(n for _, n in counts)
    share = float(np.mean([shown / n for shown, n in counts]))
    low, high = wilson(share * n, n)
    figures = {"share": share, "low": low, "high": high, "n": n, "seen": max(shown for shown, _ in counts)}
    return Judgement(False, f"{_number(share * n)} of {n} {how}", figures)


def _exposed_by_own(cases: Mapping[str, WorstCase]) -> Judgement:
    mine = {name: cases[name] for name in (ranking(), ANY + ranking()) if name in cases}
    parts = [_exposed(case) for case in mine.values()]
    if not parts:
        return Judgement(None, NO_NULL)
    verdict = passing(part.passes for part in parts)
    decisive = next((part for part in parts if part.passes is verdict), parts[0])
    worse = max(parts, key=lambda part: part.figures.get("share", 0.0)) if verdict else decisive
    nearest = " to the nearest source" if len(parts) > 1 and worse is parts[1] else ""
    return Judgement(verdict, worse.words + nearest, worse.figures)


def _exposed(case: WorstCase) -> Judgement:
    if case.null is None:
        return Judgement(None, NO_NULL)
    unseen = case.null if case.unseen is None else np.fmax(case.null, case.unseen)
    seen = len(np.unique(case.units[(case.values < SEEN) & (unseen > UNSEEN)]))  # on any seed
    known = np.isfinite(case.null)
    values, null, seeds = case.values[known], case.null[known], case.seeds[known]
    n = len(np.unique(case.units[known]))
    if n == 0:
        return Judgement(None, NO_NULL)
    share = float(np.mean([np.mean(values[seeds == seed] < HALF * null[seeds == seed]) for seed in np.unique(seeds)]))
    low, high = wilson(share * n, n)
    figures = {"share": share, "low": low, "high": high, "n": n, "seen": seen}
    several = f" (mean of {len(np.unique(seeds))} seeds)" if len(np.unique(seeds)) > 1 else ""
    count = f"{_number(share * n)} of {n}{several}"
    if seen:
        said = f"{count}; {seen} below {trimmed(SEEN)} where the null is above {trimmed(UNSEEN)}"
        return Judgement(False, said, figures)
    if n < LEAST_ORIGINALS:
        return Judgement(None, f"{count}; too few originals, needs {LEAST_ORIGINALS}", figures)
    return Judgement(bool(high is not None and high <= MOST_EXPOSED), f"{count}, upper end {short(high)}", figures)


def _number(count: float) -> str:
    return f"{count:.1f}".removesuffix(".0")


def reidentified(releases: Sequence[RunResult], attacks: Sequence[AttackRuns]) -> Judgement:
    """Of the releases as they are and of every attack that is no control, by every embedding."""
    runs = [(LOOK, None, list(releases)), *((group.name, group, list(group.ok_runs.values())) for group in attacks)]
    found = [
        (name, embedding, trial | {"features": _by(embedding, group)} if trial else None)
        for name, group, records in runs
        for embedding in reidentifications()
        for trial in (_trial(records, embedding), _trial(records, ANY + embedding))
    ]
    found += [(LOOK, embedding, _elsewhere(releases, embedding)) for embedding in reidentifications()]
    tried = [(name, embedding, trial) for name, embedding, trial in found if trial is not None]
    judged_by = [each for name in reidentifications() for each in (name, ANY + name)]
    answers = [*releases, *(record for group in attacks if _reconstructs(group) for record in group.ok_runs.values())]
    lacking = dict.fromkeys(
        reidentifications()[name.removeprefix(ANY)]
        for name in judged_by
        if not all(name in record.arrays for record in answers)
    )
    if not all("elsewhere" in record.facts for record in releases):
        lacking[NOT_LOOKED_FOR] = None
    if not tried:
        return Judgement(None, "not measured")
    corrected = holm([trial["p"] for *_, trial in tried])
    above = [at for at, p in enumerate(corrected) if p < LEVEL]
    shares = [at for at, (*_, trial) in enumerate(tried) if trial["as"] != ELSEWHERE]  # an excess of none is noise
    at = max(above or shares, key=lambda at: (tried[at][2]["share"], -corrected[at], -at))
    name, embedding, trial = tried[at]
    figures = {
        "attack": name,
        "embedding": embedding,
        **trial,
        "holm": float(corrected[at]),
        "above_chance": bool(above),
    }
    most = max((tried[at][2]["high"] for at in above), default=0.0)
    if above and most > MOST_REIDENTIFIED:
        return Judgement(False, _reached(figures), figures)
    if lacking:
        return Judgement(None, f"not measured: {', '.join(lacking)}", figures)
    if above:
        said = f"{_reached(figures)}, upper end {short(most)} of at most {trimmed(MOST_REIDENTIFIED)}"
        return Judgement(True, said, figures)
    return Judgement(True, f"nobody: at chance {short(trial['chance'])} after each of {len(tried)} attempts", figures)


def _reconstructs(attack: AttackRuns) -> bool:
    """Whether it answers with images, which every embedding ranks."""
    return attack.entry.get("kind") == "reconstruction"


def _reached(figures: Mapping[str, Any]) -> str:
    share = short(figures["share"])
    by = f"{figures.get('features') or reidentifications()[figures['embedding']]}{figures['as']}"
    return f"{share} by {by} after {attack_name(figures['attack'])} (chance {short(figures['chance'])})"


def _trial(records: Sequence[RunResult], name: str) -> dict[str, Any] | None:
    """One attack by one embedding: the share of originals that come first, and its p-value against chance."""
    measured = [record for record in records if name in record.arrays and record.scores.get(name, {}).get("chance")]
    if not measured:
        return None
    hits = [_hits(record, name) for record in measured]
    chances = [record.scores[name]["chance"] for record in measured]
    p = [_above(each, chance) for each, chance in zip(hits, chances, strict=True)]
    share, n = float(np.mean([each.mean() for each in hits])), max(map(len, hits))
    low, high = wilson(share * n, n)
    bounded = {"share": share, "low": low, "high": high, "n": n, "chance": float(np.mean(chances))}
    return {**bounded, "p": min(1.0, len(p) * min(p)), "as": ANY_SOURCE if name.startswith(ANY) else ""}


def _elsewhere(releases: Sequence[RunResult], name: str) -> dict[str, Any] | None:
    """By one embedding: the share of originals that images show which do not hold them, beyond that of distractors."""
    counts = [found for release in releases if (found := release.facts.get("elsewhere", {}).get(name))]
    counts = [each for each in counts if each["distractors"]]
    if not counts:
        return None
    p, shares = [], []
    for each in counts:
        table = [(each["named"], each["targets"]), (each["distractors_named"], each["distractors"])]
        p.append(float(fisher_exact([[hits, n - hits] for hits, n in table], alternative="greater").pvalue))
        mine, chance = (hits / n for hits, n in table)
        shares.append(max(0.0, (mine - chance) / (1 - chance)) if chance < 1 else 0.0)
    share, n = float(np.mean(shares)), max(each["targets"] for each in counts)
    low, high = wilson(share * n, n)
    bounded = {"share": share, "low": low, "high": high, "n": n, "chance": 0.0}
    return {**bounded, "p": min(1.0, len(p) * min(p)), "as": ELSEWHERE}


def _above(hits: Array, chance: float) -> float:
    return float(binomtest(int(hits.sum()), len(hits), chance, alternative="greater").pvalue)


def _hits(record: RunResult, name: str) -> Array:
    """(n,) whether an original came first; in older records in any of its rows."""
    units, rows = np.unique(units_of(record, name), return_inverse=True)
    found = np.zeros(len(units))
    np.maximum.at(found, rows, record.arrays[name])
    return found
