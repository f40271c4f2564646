"""A board and its rows in few words: the verdict of a row, what all rows have in common, and what the figures say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.leaderboard.board import UNDEFENDED, Board
from harness.leaderboard.format import (
    brief_settings,
    count,
    epochs_and_releases,
    figure,
    percent,
    short,
    t_and_r,
    trimmed,
)
from harness.leaderboard.judgement import EXPOSED, REIDENTIFIED
from harness.leaderboard.ranking import named
from harness.leaderboard.row import Row
from harness.scores import label, ranking

_WORDS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def verdict_in_few_words(row: Row) -> str:
    """passes, rank 1= | fails all four | fails 3 of 4 | fails: exposed, re-identified | not judged

    A part that fails does so whatever the row still lacks; that it lacks something is said elsewhere.
    """
    failed = [name for name, passes in row.passes.items() if passes is False]
    if len(failed) == len(row.passes):
        return f"fails all {_word(len(failed))}"
    hidden = [name for name in failed if name in row.limits.values]
    together = len(hidden) > 1 and len(hidden) == len(row.limits.values)
    parts = (["not hidden"] if together else [label(name) for name in hidden]) + [
        words for name, words in ((EXPOSED, "exposed"), (REIDENTIFIED, "re-identified")) if name in failed
    ]
    if len(parts) > 2:
        return f"fails {len(failed)} of {len(row.passes)}"
    if parts:
        return f"fails: {', '.join(parts)}"
    if row.passing:
        return f"passes, rank {row.place}" if row.rank else "passes"
    return "not judged"


def _word(number: int) -> str:
    return _WORDS.get(number, str(number))


def in_common(rows: Sequence[Row]) -> list[str]:
    """What all rows are of, each in words: 10 epochs, 10 releases; resnet10t, default; 500 originals; 3 seeds.

    What differs between rows is left out: `row_settings` has it.
    """
    found = []
    if _same((row.epochs, row.releases) for row in rows):
        found.append(epochs_and_releases(rows[0].epochs, rows[0].releases))
    if _same(row.training for row in rows if row.training):
        found.append(next((f"trained: {row.training}" for row in rows if row.training), ""))
    for numbers, thing in (([row.originals for row in rows], "original"), ([row.seeds for row in rows], "seed")):
        found.append(count(numbers[0], thing) if _same(numbers) else f"{min(numbers)} to {max(numbers)} {thing}s")
    return [words for words in found if words]


def row_settings(row: Row, rows: Sequence[Row]) -> str:
    """The settings of a row in short, and its T, R and training where they differ between the rows."""
    parts = [brief_settings(row.settings)]
    if not _same((each.epochs, each.releases) for each in rows):
        parts.append(t_and_r(row.epochs, row.releases).replace(" = ", "="))
    if row.training and not _same(each.training for each in rows if each.training):
        parts.append(row.training)
    return " ".join(filter(None, parts))


def short_label(row: Row, rows: Sequence[Row]) -> str:
    """shuffle_mix block=8 .75/.25: what tells a row from the others, beside its mark in a chart."""
    return " ".join(filter(None, (row.defense, row_settings(row, rows))))


def _same(values: Iterable[object]) -> bool:
    return len(set(values)) <= 1


def findings(board: Board) -> list[str]:
    """What the figures of a board say: how many pass, of which least is seen, and whether its images can be judged by
    the thresholds."""
    if not board.rows:
        return []
    claims = [row for row in board.rows if not row.reference] or board.rows
    return [" ".join(_passing(claims)), *_most_private(board, claims), *_thresholds(board), *board.limits.words]


def _passing(claims: Sequence[Row]) -> list[str]:
    judged, passed = [row for row in claims if not row.missing], [row for row in claims if row.passing]
    said = []
    if passed:
        said.append(f"{len(passed)} of {count(len(judged), 'judged row')} pass: {', '.join(map(named, passed))}.")
    elif judged:
        said.append(f"None of {count(len(judged), 'judged row')} passes.")
    if waiting := len(claims) - len(judged):
        said.append(f"{count(waiting, 'row')} {'is' if waiting == 1 else 'are'} not yet judged.")
    if all(passes is False for row in claims for passes in row.passes.values()):
        already = "already " if waiting else ""
        said.append(f"{'It' if len(claims) == 1 else 'Each'} {already}fails every part of the verdict.")
    return said


def _most_private(board: Board, claims: Sequence[Row]) -> list[str]:
    """Most private by worst-case dSSIM: shuffle_mix (block=8), .516 [.504, .529] of null .760; 9.0% of ... exposed"""
    best = max(claims, key=lambda row: row.worst[ranking()]["mean"])
    worst = best.worst[ranking()]
    null = f" of null {short(worst['null']['mean'])}" if worst["null"] else ""
    text = f"Most private by worst-case {label(ranking())}: {named(best)}, {figure(worst)}{null}"
    if "share" in best.exposed:
        text += f"; {percent(best.exposed['share'])} of {count(best.exposed['n'], 'original')} exposed"
    if best.utility:
        text += f"; accuracy {figure(best.utility)}"
        plain = [row for row in board.rows if row.defense == UNDEFENDED and row.utility and row is not best]
        alike = [row for row in plain if (row.epochs, row.releases) == (best.epochs, best.releases)]
        text += f", undefended {short((alike[0].utility or {})['mean'])}" if alike else ""
    return [f"{text}."]


def _thresholds(board: Board) -> list[str]:
    """Whether images of this kind are unlike enough for the thresholds: by the nulls of the rows."""
    said = []
    for name, threshold in board.limits.values.items():
        nulls = [row.worst[name]["null"]["mean"] for row in board.rows if name in row.worst and row.worst[name]["null"]]
        limits = {row.judgements[name].figures.get("limit") for row in board.rows if name in row.judgements} - {None}
        if not nulls or not limits:
            continue
        between = f"{short(min(nulls))} to {short(max(nulls))}" if len(nulls) > 1 else short(nulls[0])
        if limits == {threshold}:
            by = f"the threshold {trimmed(threshold)} applies"
        elif threshold not in limits:
            by = f"too low for the threshold {trimmed(threshold)}, so rows are judged by their null - .05"
        else:
            by = f"the threshold {trimmed(threshold)} applies to some rows, to others their null - .05"
        said.append(f"{label(name)} {between}: {by}")
    size = f"{board.dataset['height']}x{board.dataset['width']}"
    return [f"Null of these images ({size}): {'; '.join(said)}."] if said else []
