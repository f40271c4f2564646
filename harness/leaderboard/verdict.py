"""What a row says in words: its strongest attack, the scores after it, and the requirements that the row misses.

An attack is said to reveal more than smoothing only where it comes closer than `smooth` by dSSIM and also by another
judged distance or in re-identification, each by a paired interval: dSSIM alone favours smooth guesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.leaderboard.attack_results import SMOOTH, AttackResult
from harness.leaderboard.board import Board
from harness.leaderboard.format import count, epochs_and_releases, figure, short, trimmed
from harness.leaderboard.ranking import LEVEL, named
from harness.leaderboard.row import MULTI_RELEASE, Row
from harness.leaderboard.worst_case import LOOK
from harness.scores import ANY, hit_rates, judged, label, ranking, threshold

NO_ATTACK = "no attack (release as is)"


def on_board(board: Board) -> list[str]:
    """What a reader must know before quoting the table."""
    lines = [f"Warning: {row.defense}: {text}." for row in board.rows for text in row.warnings]
    for text in dict.fromkeys(text for row in board.rows for text in row.code_notes):
        names = dict.fromkeys(named(row) for row in board.rows if text in row.code_notes)
        lines.append(f"Records: {', '.join(names)}: {text}.")
    lines += [f"Records: {text}." for text in board.left_out]
    for missing in dict.fromkeys("; ".join(row.missing) for row in board.rows if row.missing):
        names = dict.fromkeys(row.defense for row in board.rows if "; ".join(row.missing) == missing)
        lines.append(f"Not yet judged, so not ranked: {', '.join(map(repr, names))}. Missing: {missing}.")
    lines += [_tied(row) for row in board.rows if row.tied]
    if any(not row.missing for row in board.rows) and not any(row.rank for row in board.rows):
        first = ranking()
        lines.append(
            f"No defense passes: every worst-case {label(first)} is below {threshold(first)}. Rows are not ranked."
        )
    return lines


def _tied(row: Row) -> str:
    others = ", ".join(row.tied)
    return f"Rank {row.place}: the utility of {named(row)} does not differ significantly from that of {others}."


def on_row(row: Row) -> list[str]:
    """The verdict on one defense: a headline, then a line for each result."""
    lines = [headline(row), _worst(row)]
    nearest = [name for name in judged() if ANY + name in row.worst]
    if nearest and len(row.settings.get("weights", [])) != 1:
        cases = ", ".join(f"{label(name)} {figure(row.worst[ANY + name])}" for name in nearest)
        lines.append(f"worst case to the nearest source: {cases}")
    worst = (row.worst[name]["attack"] for name in judged() if name in row.worst)
    shown = dict.fromkeys((*worst, MULTI_RELEASE, SMOOTH))
    lines += [_alone(attack) for name in shown for attack in row.attacks if attack.name == name and attack.distances]
    lines += [_strongest(row, name) for name in hit_rates(leading=True) if name in row.strongest]
    lines += [text for text in (_useful(row), _judgement(row)) if text]
    if row.not_run:
        lines.append(f"Says nothing about {'; '.join(row.not_run)}.")
    lines += [f"Records: {text}." for text in row.code_notes]
    return [*lines, *(f"Warning: {text}." for text in row.warnings)]


def headline(row: Row) -> str:
    """noise_mix (sigma=20 weights=0.75,0.25), 10 epochs, 1 release, 500 originals, 3 seeds"""
    parts = [named(row), epochs_and_releases(row.epochs, row.releases)]
    return ", ".join([*filter(None, parts), count(row.originals, "original"), count(row.seeds, "seed")])


def beyond_smoothing(attack: AttackResult) -> bool | None:
    """Whether an attack reveals more than smoothing: by the first judged distance and by another score. None: unknown.

    Each by its paired interval and, on a board, after the correction for all of its comparisons.
    """
    gained = {
        name: more["low"] is not None and more["low"] > 0 and significant(more)
        for name, more in attack.gain_over_smoothing.items()
    }
    if ranking() not in gained:
        return None
    return gained.pop(ranking()) and any(gained.values())


def significant(more: Mapping[str, Any]) -> bool:
    """Whether a paired difference is below the level after Holm's correction; true where nothing was corrected."""
    return more.get("holm") is None or bool(more["holm"] < LEVEL)


def _worst(row: Row) -> str:
    """Per image the minimum over the release and every attack; named is the attack that lowers the mean most."""
    names = [name for name in judged() if name in row.worst]
    first = row.worst[ranking()]["attack"]
    alone = f"worst attack {first}" if first != LOOK else "no attack alone lowers the mean"
    if all(_unmoved(row, name) for name in names):
        alone = NO_ATTACK
    others = dict.fromkeys(row.worst[name]["attack"] for name in names[1:])
    further = [other for other in others if other not in (first, LOOK)]
    text = f"{alone}; worst case per image: {'; '.join(_reduced(row, name) for name in names)}"
    return text + (f" (most by {', '.join(further)})" if further else "")


def _reduced(row: Row, name: str) -> str:
    worst, limit = row.worst[name], threshold(name)
    before = "" if _unmoved(row, name) else f"{short(row.scores[name]['mean'])} -> "
    text = f"{label(name)} {before}{figure(worst)}, p5 {short(worst['p5'])}, min {short(worst['min'])}"
    if limit is None:
        return text
    share = f"{worst['below']:.0%} [{worst['below_low']:.0%}, {worst['below_high']:.0%}]"
    return f"{text}, below {trimmed(limit)} for {share}"


def _unmoved(row: Row, name: str) -> bool:
    return bool(row.worst[name]["mean"] == row.scores[name]["mean"])


def _alone(attack: AttackResult) -> str:
    """One attack by itself, compared with smoothing, and whether it reveals more."""
    parts = []
    for name in judged():
        if name in attack.distances:
            text = f"{label(name)} {figure(attack.distances[name])}"
            more = attack.gain_over_smoothing.get(name)
            parts.append(text + (f", {_than(more)}{_doubt(more)}" if more else ""))
    for name in hit_rates(leading=True):
        if name in attack.hit_rates:
            more = attack.gain_over_smoothing.get(name)
            beyond = f", {figure(more)} more often than after smooth{_doubt(more)}" if more else ""
            parts.append(f"{label(name)} {figure(attack.hit_rates[name])}{beyond}")
    named = f"after {attack.name}{' (= no attack)' if attack.equals_release else ''} alone"
    line = f"{NO_ATTACK if attack.name == LOOK else named}: {'; '.join(parts)}"
    if attack.name in (LOOK, SMOOTH) or attack.equals_release:
        return line
    claim = {
        True: "reveals more than smoothing",
        False: "not shown to reveal more than smoothing",
        None: "smooth was not run, so nothing is claimed beyond smoothing",
    }
    return f"{line}: {claim[beyond_smoothing(attack)]}"


def _doubt(more: Mapping[str, Any]) -> str:
    """Said of a difference whose own interval excludes zero, but not after the correction for many comparisons."""
    excludes = more["low"] is not None and more["low"] * more["high"] > 0
    return " (not significant after Holm's correction)" if excludes and not significant(more) else ""


def _than(more: dict[str, Any]) -> str:
    """.450 [.430, .470] less than after smooth"""
    if more["mean"] >= 0:
        return f"{figure(more)} less than after smooth"
    ends = {"low": None, "high": None}
    if more["low"] is not None:
        ends = {"low": -more["high"], "high": -more["low"]}
    return f"{figure({'mean': -more['mean'], **ends})} more than after smooth"


def _strongest(row: Row, name: str) -> str:
    best = row.strongest[name]
    before = f", no attack {figure(row.scores[name])}" if name in row.scores and best["attack"] != LOOK else ""
    chance = f", chance {short(best['chance'])}" if best["chance"] is not None else ""
    attack = NO_ATTACK if best["attack"] == LOOK else best["attack"]
    return f"{label(name)}: {attack} {figure(best)}{chance}{before}"


def _useful(row: Row) -> str | None:
    if not row.utility:
        return None
    return f"utility {figure(row.utility)} of {row.utility['n']} test images" + (
        f", accuracy drop {figure(row.accuracy_drop)}" if row.accuracy_drop else ""
    )


def _judgement(row: Row) -> str:
    if row.missing:
        return f"Not judged: missing {'; '.join(row.missing)}."
    passed = [label(name) for name, yes in row.passes.items() if yes]
    if not passed:
        return f"Does not pass, by {' or by '.join(map(label, row.passes))}."
    return f"Passes by {' and by '.join(passed)}{'' if len(passed) == len(row.passes) else ' alone'}."
