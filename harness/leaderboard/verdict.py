"""What a row says in words: its worst attack, what is left, and what the row still lacks.

That an attack beats a defense is said only where it comes closer than `smooth` by dSSIM and, apart from that, by dHaar
or in re-identification, each by a paired interval: dSSIM alone flatters smooth guesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.leaderboard.attack_results import SMOOTH, AttackResult
from harness.leaderboard.board import Board
from harness.leaderboard.format import figure, settings, short
from harness.leaderboard.ranking import LEVEL, named
from harness.leaderboard.row import MULTI_RELEASE, Row
from harness.scores import thresholds

SIGNS = {"dssim": "dSSIM", "dhaar": "dHaar"}


def on_board(board: Board) -> list[str]:
    """What a stranger must know before quoting the table."""
    lines = [f"Warning: {row.defense}: {text}." for row in board.rows for text in row.warnings]
    for text in dict.fromkeys(text for row in board.rows for text in row.code_notes):
        names = dict.fromkeys(named(row) for row in board.rows if text in row.code_notes)
        lines.append(f"Records: {', '.join(names)}: {text}.")
    for lacks in dict.fromkeys("; ".join(row.missing) for row in board.rows if row.missing):
        names = dict.fromkeys(row.defense for row in board.rows if "; ".join(row.missing) == lacks)
        lines.append(f"Not yet judged, so not ranked: {', '.join(names)}. Lacking: {lacks}.")
    lines += [_tied(row) for row in board.rows if row.tied]
    if any(not row.missing for row in board.rows) and not any(row.rank for row in board.rows):
        lines.append("No defense passes: none keeps a worst-case dSSIM of 0.66. Rows are not ranked.")
    return lines


def _tied(row: Row) -> str:
    return f"Rank {row.place}: {named(row)} cannot be told apart in utility from {', '.join(row.tied)}."


def on_row(row: Row) -> list[str]:
    """The verdict on one defense: a headline, then a line for each thing that was found."""
    lines = [headline(row), _worst(row)]
    if "any_dssim" in row.worst and len(row.settings.get("weights", [])) != 1:
        nearest = ", ".join(f"{sign} {figure(row.worst[f'any_{name}'])}" for name, sign in SIGNS.items())
        lines.append(f"any source: {nearest} left")
    told = dict.fromkeys((row.worst["dssim"]["attack"], row.worst["dhaar"]["attack"], MULTI_RELEASE, SMOOTH))
    lines += [_alone(attack) for name in told for attack in row.attacks if attack.name == name and attack.distances]
    lines += [text for text in (_reidentified(row), _recognised(row), _attribute(row), _useful(row)) if text]
    lines.append(_standing(row))
    if row.not_run:
        lines.append(f"Says nothing of {'; '.join(row.not_run)}.")
    lines += [f"Records: {text}." for text in row.code_notes]
    return [*lines, *(f"Warning: {text}." for text in row.warnings)]


def headline(row: Row) -> str:
    """noise_mix (sigma=20 weights=0.75,0.25), 10 epochs, 500 originals, 3 seeds"""
    parts = [named(row)]
    parts += [_count(row.epochs, "epoch")] if row.epochs else []
    return ", ".join([*parts, _count(row.worst["dssim"]["n"], "original"), _count(row.seeds, "seed")])


def beyond_smoothing(attack: AttackResult) -> bool | None:
    """Whether an attack sees more than smoothing does: by dSSIM, and by dHaar or re-identification. None: not known.

    Each by its paired interval and, on a board, after the correction for all of its comparisons.
    """
    gained = {
        name: more["low"] is not None and more["low"] > 0 and survives(more)
        for name, more in attack.gain_over_smoothing.items()
    }
    if "dssim" not in gained:
        return None
    return gained["dssim"] and (gained.get("dhaar", False) or gained.get("reid_rank1", False))


def survives(more: Mapping[str, Any]) -> bool:
    """Whether a paired difference is one after Holm's correction; taken on trust where there was none to correct."""
    return more.get("holm") is None or bool(more["holm"] < LEVEL)


def _worst(row: Row) -> str:
    """Per image the least over looking and every attack; named is the attack that alone lowers the mean most."""
    named, other = (row.worst[name]["attack"] for name in SIGNS)
    alone = f"worst attack {named}" if named != "look" else "no attack alone lowers the mean"
    if all(_unmoved(row, name) for name in SIGNS):
        alone = "look"
    text = f"{alone}; worst case per image: {_fallen(row, 'dssim')}; {_fallen(row, 'dhaar')}"
    return text + (f" (most by {other})" if other not in (named, "look") else "")


def _fallen(row: Row, name: str) -> str:
    worst, limit = row.worst[name], short(thresholds()[name]).rstrip("0")
    before = "" if _unmoved(row, name) else f"{short(row.scores[name]['mean'])} -> "
    share = f"{worst['below']:.0%} [{worst['below_low']:.0%}, {worst['below_high']:.0%}]"
    spread = f"p5 {short(worst['p5'])}, min {short(worst['min'])}"
    return f"{SIGNS[name]} {before}{figure(worst)} left, {spread}, below {limit} for {share}"


def _unmoved(row: Row, name: str) -> bool:
    return bool(row.worst[name]["mean"] == row.scores[name]["mean"])


def _alone(attack: AttackResult) -> str:
    """One attack by itself, against smoothing; with what may be claimed of it."""
    parts = []
    for name, sign in SIGNS.items():
        if name in attack.distances:
            text = f"{sign} {figure(attack.distances[name])}"
            parts.append(
                text + (f", {_than(attack.gain_over_smoothing[name])}" if name in attack.gain_over_smoothing else "")
            )
    if "reid_rank1" in attack.hit_rates:
        text = f"re-identified {figure(attack.hit_rates['reid_rank1'])}"
        more = attack.gain_over_smoothing.get("reid_rank1")
        parts.append(text + (f", {figure(more)} more often than from smooth" if more else ""))
    line = f"{attack.name}{' (= look)' if attack.is_look else ''} alone leaves {'; '.join(parts)}"
    if attack.name == SMOOTH or attack.is_look:
        return line
    claim = {
        True: "more than smoothing",
        False: "not shown to be more than smoothing",
        None: "smooth was not run, so no claim beyond smoothing",
    }
    return f"{line}: {claim[beyond_smoothing(attack)]}"


def _than(more: dict[str, Any]) -> str:
    """.450 [.430, .470] less than smooth"""
    if more["mean"] >= 0:
        return f"{figure(more)} less than smooth"
    ends = {"low": None, "high": None}
    if more["low"] is not None:
        ends = {"low": -more["high"], "high": -more["low"]}
    return f"{figure({'mean': -more['mean'], **ends})} more than smooth"


def _reidentified(row: Row) -> str | None:
    best = row.reidentified
    if best is None:
        return None
    looked = f", look {figure(row.scores['reid_rank1'])}" if "reid_rank1" in row.scores else ""
    mine = looked if best["attack"] != "look" else ""
    return f"re-identified (rank 1): {_read(best['attack'], best['rank1'])}{mine}"


def _recognised(row: Row) -> str | None:
    best = row.recognition
    return f"class recognised (top 1): {_read(best['attack'], best['top1'])}" if best else None


def _attribute(row: Row) -> str | None:
    best = row.attribute
    return f"attribute read: {_read(best['attack'], best)}" if best else None


def _read(name: str, score: dict[str, Any]) -> str:
    return f"{name} {figure(score)}" + (f", chance {short(score['chance'])}" if score["chance"] is not None else "")


def _useful(row: Row) -> str | None:
    if not row.utility:
        return None
    return f"utility {figure(row.utility)} of {row.utility['n']} test images" + (
        f", lost {figure(row.gap)}" if row.gap else ""
    )


def _standing(row: Row) -> str:
    if row.missing:
        return f"Not judged: lacks {'; '.join(row.missing)}."
    passed = [SIGNS[name] for name, yes in row.passes.items() if yes]
    if not passed:
        return "Does not pass, by dSSIM or by dHaar."
    return f"Passes by {' and by '.join(passed)}{'' if len(passed) == len(SIGNS) else ' alone'}."


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def document(row: Row) -> dict[str, Any]:
    """The verdict as `run --json` prints it."""
    return {
        "defense": row.defense,
        "settings": settings(row.settings),
        "epochs": row.epochs,
        "seeds": row.seeds,
        "worst": row.worst,
        "passes": row.passes,
        "reidentified": row.reidentified,
        "attacks": [attack_document(attack) for attack in row.attacks],
        "lacks": row.missing,
        "unjudged": row.not_run,
        "warnings": row.warnings,
        "text": on_row(row),
    }


def attack_document(attack: AttackResult) -> dict[str, Any]:
    """One attack on one defense, numbers in full."""
    group = attack.group
    return {
        "attack": attack.name,
        "params": dict(attack.params),
        "status": attack.status,
        "reason": attack.reason,
        "control": group.control,
        "external": attack.external,
        "granted": list(group.granted),
        "epochs": group.epochs,
        "seeds": sorted(group.ok_runs),
        "is_look": attack.is_look,
        "left": attack.distances,
        "read": attack.hit_rates,
        "from_look": attack.gain_over_release,
        "from_smooth": attack.gain_over_smoothing,
        "beyond_smoothing": beyond_smoothing(attack),
        "records": attack.records,
    }
