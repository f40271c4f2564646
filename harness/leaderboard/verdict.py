"""What a row says in words: its strongest attack, the scores after it, and the requirements that the row misses.

An attack is said to reveal more than smoothing only where it comes closer than `smooth` by dSSIM and also by another
judged distance or in re-identification, each by a paired interval: dSSIM alone favours smooth guesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.leaderboard.attack_results import SMOOTH, AttackResult
from harness.leaderboard.board import Board
from harness.leaderboard.format import LOOK, NO_ATTACK, attack_name, count, epochs_and_releases, figure, short, trimmed
from harness.leaderboard.judgement import EXPOSED, REIDENTIFIED
from harness.leaderboard.ranking import LEVEL, named
from harness.leaderboard.row import MULTI_RELEASE, Row
from harness.scores import hit_rates, judged, label, ranking

AS_IS = f"{NO_ATTACK} (release as is)"
PARTS = {EXPOSED: "exposed", REIDENTIFIED: "re-identified"}


def on_board(board: Board) -> list[str]:
    """What a reader must know before quoting the table."""
    lines = [f"Warning: {row.defense}: {text}." for row in board.rows for text in row.warnings]
    lines += [_mismatch(row) for row in board.rows if row.mismatch]
    for text in dict.fromkeys(text for row in board.rows for text in row.code_notes):
        names = dict.fromkeys(named(row) for row in board.rows if text in row.code_notes)
        lines.append(f"Records: {', '.join(names)}: {text}.")
    lines += [f"Records: {text}." for text in board.left_out]
    for missing in dict.fromkeys("; ".join(row.missing) for row in board.rows if row.missing):
        names = dict.fromkeys(row.defense for row in board.rows if "; ".join(row.missing) == missing)
        lines.append(f"Not yet judged, so not ranked: {', '.join(map(repr, names))}. Missing: {missing}.")
    if any(row.seeds == 1 for row in board.rows):
        lines.append("Rows of one seed: intervals of trained figures are of this training only; none is significant.")
    lines += [_tied(row) for row in board.rows if row.tied]
    if any(not row.missing for row in board.rows) and not any(row.passing for row in board.rows):
        lines.append("No defense passes: each fails at least one part, or is not judged by it. Rows are not ranked.")
    return lines


def _mismatch(row: Row) -> str:
    return f"Not judged: {named(row)}: its rehearsals do not match its releases: {'; '.join(row.mismatch)}."


def _tied(row: Row) -> str:
    others = ", ".join(row.tied)
    return f"Rank {row.place}: the utility of {named(row)} does not differ significantly from that of {others}."


def on_row(row: Row) -> list[str]:
    """The verdict on one defense: a headline, whether it passes and by which parts, then a line for each result."""
    lines = [headline(row), _judgement(row), *parts(row), _worst(row), *_chosen(row)]
    worst = (row.worst[name]["attack"] for name in judged() if name in row.worst)
    shown = dict.fromkeys((*worst, MULTI_RELEASE, SMOOTH))
    lines += [_alone(attack) for name in shown for attack in row.attacks if attack.name == name and attack.distances]
    lines += [_strongest(row, name) for name in hit_rates(leading=True) if name in row.strongest]
    lines += _learned_nothing(row)
    lines += [text for text in (_useful(row),) if text]
    if row.not_run:
        lines.append(f"Says nothing about {'; '.join(row.not_run)}.")
    lines += [f"Records: {text}." for text in row.code_notes]
    return [*lines, *(f"Warning: {text}." for text in row.warnings)]


def remarks(row: Row) -> list[str]:
    """What is to be known of a row beside the parts of its verdict and its figures."""
    lines = [f"missing: {'; '.join(row.missing)}"] if row.missing else []
    lines += _learned_nothing(row)
    lines += [f"says nothing about {'; '.join(row.not_run)}"] if row.not_run else []
    lines += [f"records: {text}" for text in row.code_notes]
    return [*lines, *(f"warning: {text}" for text in row.warnings)]


def _learned_nothing(row: Row) -> list[str]:
    """learned nothing: cnn on 3 of 3 seeds, no better than the constant guess that it answers"""
    lines = []
    for attack in row.attacks:
        learned = [run.facts.get("learned") for run in attack.group.ok_runs.values()]
        if nothing := learned.count(False):
            on = f"on {nothing} of {count(len(learned), 'seed')}"
            lines.append(f"learned nothing: {attack.name} {on}, no better than the constant guess that it answers")
    return lines


def parts(row: Row) -> list[str]:
    """hidden by dSSIM: no (.540 of null .750, threshold .66), and so on for each part of the verdict."""
    lines = []
    for name, part in row.judgements.items():
        if name in (EXPOSED, REIDENTIFIED):
            lines.append(f"{PARTS[name]}: {part.words} ({_passed(part.passes)})")
        else:
            answer = {True: "yes", False: "no", None: "not judged"}[part.passes]
            lines.append(f"hidden by {label(name)}: {answer} ({part.words})")
    return lines


def failure(name: str) -> str:
    """How the failure of a part is written: not hidden by dSSIM, exposed, re-identified."""
    return PARTS.get(name) or f"not hidden by {label(name)}"


def _passed(passes: bool | None) -> str:
    return {True: "passes", False: "fails", None: "not judged"}[passes]


def headline(row: Row) -> str:
    """noise_mix (sigma=20 weights=0.75,0.25), 10 epochs, 1 release, 500 originals, 3 seeds"""
    about = [named(row), epochs_and_releases(row.epochs, row.releases)]
    return ", ".join([*filter(None, about), count(row.originals, "original"), count(row.seeds, "seed")])


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
    """Per original the minimum over the releases and every attack, beside its null."""
    return f"worst case: {'; '.join(_reduced(row, name) for name in judged() if name in row.worst)}"


def _chosen(row: Row) -> list[str]:
    """The best single attack, and the one chosen on half of the originals, by each distance."""
    lines = []
    for name in judged():
        if name in row.worst:
            single, chosen = row.worst[name]["single"], row.worst[name]["chosen"]
            names = " or ".join(map(attack_name, chosen["attacks"]))
            lines.append(
                f"best single attack by {label(name)}: {attack_name(single['attack'])} {figure(single)}; "
                f"chosen on half of the originals, scored on the other: {names} {figure(chosen)}"
            )
    return lines


def _reduced(row: Row, name: str) -> str:
    worst, limit = row.worst[name], row.limits.of(name)
    before = "" if name not in row.scores else f"{short(row.scores[name]['mean'])} -> "
    null = f" of null {short(worst['null']['mean'])}" if worst["null"] else ""
    text = f"{label(name)} {before}{figure(worst)}{null}, p5 {short(worst['p5'])}, min {short(worst['min'])}"
    if limit is not None:
        share = f"{worst['below']:.0%} [{worst['below_low']:.0%}, {worst['below_high']:.0%}]"
        text += f", below {trimmed(limit)} for {share}"
    return text


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
    named = f"after {attack.name}{f' (= {NO_ATTACK})' if attack.equals_release else ''} alone"
    line = f"{NO_ATTACK if attack.name == LOOK else named}: {'; '.join(parts)}"
    if attack.name in (LOOK, SMOOTH) or attack.equals_release:
        return line
    claim = {
        True: "reveals more than smoothing",
        False: "not shown to reveal more than smoothing",
        None: "not compared with smooth: it was not run, or the numbers of guesses differ",
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
    """The strongest attack by a hit rate with the rates that follow it, its chance, its floor, and without attack."""
    best = row.strongest[name]
    said = [f"{attack_name(best['attack'])} {figure(best)}"]
    said += [f"{label(other)} {figure(score)}" for other, score in best["beside"].items() if score]
    said += [f"chance {short(best['chance'])}"] if best["chance"] is not None else []
    if name in row.scores and best["attack"] != LOOK:
        said.append(f"{NO_ATTACK} {figure(row.scores[name])}")
    line = f"{label(name)}: {', '.join(said)}"
    floor = floor_of(row, name)
    if floor is not None:
        rates = [figure(floor.hit_rates[name])]
        rates += [f"{label(other)} {figure(floor.hit_rates.get(other))}" for other in best["beside"]]
        line += f"; floor {floor.name} {', '.join(rates)}"
    return line


def floor_of(row: Row, name: str) -> AttackResult | None:
    """The floor that a recogniser is read beside; None for other hit rates, and where it was not run."""
    floor = row.recognisers.floor
    found = [attack for attack in row.attacks if floor is not None and attack.group is floor]
    return next((attack for attack in found if name in attack.hit_rates), None)


def _useful(row: Row) -> str | None:
    if not row.utility:
        return None
    return f"utility {figure(row.utility)} of {row.utility['n']} test images" + (
        f", accuracy drop {figure(row.accuracy_drop)}" if row.accuracy_drop else ""
    )


def _judgement(row: Row) -> str:
    failed = [failure(name) for name, passes in row.passes.items() if passes is False]
    open_ = [failure(name) for name, passes in row.passes.items() if passes is None]
    if row.missing:
        said = f" It fails whatever is missing: {', '.join(failed)}." if failed else ""
        return f"Not judged: missing {'; '.join(row.missing)}.{said}"
    if failed:
        return f"Does not pass: {', '.join(failed)}."
    return f"Not judged by {', '.join(open_)}." if open_ else "Passes: every part."
