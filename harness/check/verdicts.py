"""The verdict on each defense, before and after: what passed and does not any more, and what passes now.

Every figure may stay within its tolerance while the verdict turns, so the parts of the verdict
(harness.leaderboard.judgement), and whether rehearsals match the releases, are compared as they stand.

A verdict near its limit turns by chance. The baseline's seeds say whether it does: they are judged in groups of as many
as the new run has, and a verdict on which the groups do not agree may turn without failing the check.

A planted fault (a defense with that trait) must fail some part, whatever the baseline says; and each part that it
failed on all of the baseline's seeds it must fail still. No raised version explains that it does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from harness.check.changes import (
    EXPLAINED,
    NOT_CAUGHT,
    PRIVACY_GAINED,
    PRIVACY_LOST,
    UNCHANGED,
    VERDICT_MISSING,
    WITHIN,
    Change,
)
from harness.check.series import Match, Series, raised
from harness.leaderboard.completeness import not_compared
from harness.leaderboard.row import Row, RowRecords, make_row
from harness.leaderboard.training import Variances, pooled_variances
from harness.records import RunResult

REHEARSAL = "rehearsal"
"""The part beside those of a row's verdict: whether nothing says that the defense behaves otherwise when rehearsed."""
_WORDS = {True: "passes", False: "does not pass", None: "not judged"}


class Part(NamedTuple):
    """One part of a verdict: whether it passes, the words, and what it was decided by."""

    passes: bool | None
    words: str
    figures: Mapping[str, Any]


def verdict_changes(matches: Sequence[Match]) -> list[Change]:
    """A line for each part of the verdict on each defense that both sides have released."""
    pairs = [
        (match, match.before, match.after)
        for match in matches
        if match.before and match.after and not match.not_comparable and match.after.kind == "release"
    ]
    pairs = [(match, old, new) for match, old, new in pairs if old.ok_records and new.ok_records]
    passing = _passing_faults(matches)
    if not pairs:
        return passing
    before, after = ([side for match in matches if (side := part(match))] for part in (_before, _after))
    seeds = [_seeds_of_all(_row_of(new, after)) for *_, new in pairs]
    known = [_seeds_of_all(_row_of(old, before)) for _, old, _ in pairs]
    now = _verdicts([new for *_, new in pairs], after, seeds)
    grouped = list(zip_longest(*map(_groups, known, seeds), fillvalue=frozenset[int]()))
    groups = [_verdicts([old for _, old, _ in pairs], before, group) for group in grouped]
    changes = passing
    for at, (match, old, new) in enumerate(pairs):
        versions = _versions(_row_of(old, before), _row_of(new, after))
        for part, found in now[at].items():
            was = [group[at][part] for group in groups if part in group[at]]
            if was:
                changes.append(_change(match, part, was, found, versions))
    return changes


def _passing_faults(matches: Sequence[Match]) -> list[Change]:
    """The planted faults of the new run that fail no part of the verdict."""
    side = [match.after for match in matches if match.after]
    faults = [each for each in side if each.planted and each.kind == "release" and each.ok_records]
    found = _verdicts(faults, side, [_seeds_of_all(_row_of(each, side)) for each in faults])
    return [
        Change(f"{each.names[1]} {each.kind}", "verdict", NOT_CAUGHT, ("every part passes, or is not judged",))
        for each, parts in zip(faults, found, strict=True)
        if all(part.passes is not False for part in parts.values())
    ]


def _before(match: Match) -> Series | None:
    return match.before


def _after(match: Match) -> Series | None:
    return match.after


def _seeds_of_all(row: Iterable[Series]) -> frozenset[int]:
    """The seeds that the release and every attack on it were run on."""
    return frozenset.intersection(*(frozenset(each.records) for each in row))


def _groups(known: Collection[int], seeds: Collection[int]) -> list[frozenset[int]]:
    """The baseline's seeds in groups of as many as there are new ones, the new run's own first."""
    own = frozenset(seeds) if set(seeds) <= set(known) else frozenset[int]()
    rest, size = sorted(set(known) - own), max(1, len(seeds))
    parts = [frozenset(rest[at : at + size]) for at in range(0, len(rest) - size + 1, size)]
    return [own, *parts] if own else parts or [frozenset(known)]


def _row_of(release: Series, side: Iterable[Series]) -> list[Series]:
    """The release and the attacks on it."""
    return [release, *(each for each in side if each.attacks(release))]


def _verdicts(
    releases: Sequence[Series], side: Sequence[Series], seeds: Sequence[Collection[int]]
) -> list[dict[str, Part]]:
    """Of the row of each release on its seeds; of one that has none of them, nothing."""
    variances: Variances = {}
    given = []
    for release, mine in zip(releases, seeds, strict=True):
        attacks = [record for each in _row_of(release, side)[1:] for record in _of_seeds(each.records, mine)]
        given.append(RowRecords(_of_seeds(release.ok_records, mine), attacks, variances=variances))
    variances |= pooled_variances(sample for each in given if each.releases for sample in each.samples())
    return [_verdict(make_row(each), each.releases) if each.releases else {} for each in given]


def _of_seeds(records: Mapping[int, RunResult], seeds: Collection[int]) -> list[RunResult]:
    return [record for seed, record in records.items() if seed in seeds]


def _verdict(row: Row, releases: Sequence[RunResult]) -> dict[str, Part]:
    parts = {name: Part(each.passes, each.words, each.figures) for name, each in row.judgements.items()}
    matches, words = (None, "not compared") if not_compared(releases) else (True, "matches the release")
    said = Part(False, "; ".join(row.mismatch), {}) if row.mismatch else Part(matches, words, {})
    return {**parts, REHEARSAL: said}


def _change(match: Match, part: str, before: Sequence[Part], now: Part, versions: Mapping[bool, list[str]]) -> Change:
    """`before`: the verdict of each group of the baseline's seeds; the first is what the new run is compared with."""
    name, part, was = match.name, f"verdict ({part})", before[0].passes
    if was is now.passes:
        return Change(name, part, UNCHANGED)
    turned = f"{_WORDS[was]} -> {_WORDS[now.passes]} ({before[0].words} -> {now.words})"
    if match.planted:
        caught = all(each.passes is False for each in before)
        return Change(name, part, NOT_CAUGHT if caught else WITHIN, (turned,))
    if was is None:  # nothing was claimed before
        return Change(name, part, WITHIN, (turned,))
    if any(each.passes is not was for each in before) and not _beyond(now, before):
        return Change(name, part, WITHIN, (f"{turned}; the baseline's seeds do not agree on it",))
    if now.passes is None:
        return Change(name, part, VERDICT_MISSING, (turned,))
    what, explaining = PRIVACY_LOST if was else PRIVACY_GAINED, versions[not was]
    return Change(name, part, EXPLAINED if explaining else what, (turned, *explaining))


def _beyond(now: Part, groups: Sequence[Part]) -> bool:
    """Whether the seeds of the baseline, although they do not agree, are all on one side of the new run."""
    if now.figures.get("seen") and not any(group.figures.get("seen") for group in groups):
        return True
    shares = [(each.figures.get("low"), each.figures.get("high")) for each in (now, *groups)]
    known = [(float(low), float(high)) for low, high in shares if low is not None and high is not None]
    if len(known) < len(shares):
        return False
    (low, high), before = known[0], known[1:]
    return low > max(most for _, most in before) or high < min(least for least, _ in before)


def _versions(old: Sequence[Series], new: Sequence[Series]) -> dict[bool, list[str]]:
    """The raised versions of a row that explain a loss (False): an attack's; and a gain (True): all others."""
    found: dict[bool, list[str]] = {}
    for gain in (False, True):
        was, now = ({entry["name"]: entry for each in side for entry in _entries(each, gain)} for side in (old, new))
        found[gain] = [text for name, entry in now.items() for text in raised(was.get(name), entry)]
    return found


def _entries(series: Series, gain: bool) -> list[Mapping[str, Any]]:
    return series.entries if gain else [series.attack] if series.attack else []
