"""How figures and settings are written on every board, and the notes under it that say how to read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.leaderboard.training import HOLDS
from harness.registry.settings import format_setting
from harness.scores import label, thresholds
from harness.training_variance import THIS_TRAINING

ONE_TRAINING = "‡"
LOOK, NO_ATTACK = "look", "no attack"
"""The registry key of the release as is, and what boards call it."""


def attack_name(name: str) -> str:
    """How boards write an attack."""
    return NO_ATTACK if name == LOOK else name


def figure(score: Mapping[str, Any] | None) -> str:
    """.71 [.69, .73]; with a mark where the interval is of one training alone."""
    if not score or score["mean"] is None:
        return "-"
    if score["low"] is None:
        return short(score["mean"])
    mark = ONE_TRAINING if score.get(HOLDS) == THIS_TRAINING else ""
    return f"{short(score['mean'])} [{short(score['low'])}, {short(score['high'])}]{mark}"


def stacked(score: Mapping[str, Any] | None) -> str:
    """A figure, and its interval under it."""
    return figure(score).replace(" [", "\n[").replace(", ", " ")


def short(value: float | None) -> str:
    """.710; a dash for what is not known."""
    if value is None:
        return "-"
    text = f"{round(value, 3) + 0.0:.3f}"  # no -.000
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def trimmed(value: float) -> str:
    """.66: a threshold, without trailing zeros."""
    return short(value).rstrip("0")


def settings(given: Mapping[str, Any]) -> str:
    """As -D and -A take them; an image that is mixed with nothing needs no weights."""
    shown = {name: value for name, value in given.items() if not (name == "weights" and value == [1.0])}
    return " ".join(f"{name}={format_setting(value)}" for name, value in shown.items())


def brief_settings(given: Mapping[str, Any]) -> str:
    """The same for a narrow table: sigma=20 .75/.25, without what is switched off.

    Rows that differ in their settings differ here too: a knob that is missing and one that is false are the same.
    """
    shown = {name: value for name, value in given.items() if value is not False}
    weights = shown.pop("weights", None)
    knobs = settings(shown)
    if not isinstance(weights, list):
        return " ".join(filter(None, (knobs, format_setting(weights) if weights else "")))
    vectors = weights if weights and isinstance(weights[0], list) else [weights]
    written = " or ".join("/".join(map(_share, vector)) for vector in vectors if vector != [1.0])
    return " ".join(filter(None, (knobs, written)))


def _share(value: float) -> str:
    """.75"""
    return f"{value:g}".removeprefix("0") or "0"


def percent(share: float) -> str:
    """9.0%, 77%: of a share in [0, 1]."""
    return f"{share:.0%}" if share == 0 or share >= 0.0995 else f"{share:.1%}"


def count(number: int, thing: str) -> str:
    """3 seeds, 1 seed"""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def epochs_and_releases(epochs: int | None, releases: int | None) -> str:
    """10 epochs, 1 release; without what is not known."""
    known = ((epochs, "epoch"), (releases, "release"))
    return ", ".join(count(number, thing) for number, thing in known if number)


def t_and_r(epochs: int | None, releases: int | None) -> str:
    """T = 10, R = 1; where both are equal T alone, and without what is not known."""
    known = (("T", epochs), ("R", None if releases == epochs else releases))
    return ", ".join(f"{name} = {number}" for name, number in known if number)


def notes(given: Mapping[str, float] | None = None) -> list[str]:
    """How to read a board with these thresholds (the paper's), in short; more is in docs/boards-and-statistics.md."""
    limits = " and ".join(f"{trimmed(value)} ({label(name)})" for name, value in (given or thresholds()).items())
    return [
        f"{label(next(iter(thresholds())))}: distance of the release of epoch 0 to the original; 0 is the original "
        "itself. Worst: per original the minimum over all releases and every attack but controls. ±: the longer "
        f"side of the 95 % interval; {ONE_TRAINING}: it is of this training only (one seed).",
        "Exposed: originals whose worst case is below half of their null, the same minimum against other originals.",
        "Re-identified: the largest share of originals that an attack finds in a gallery; nobody: at chance.",
        "Accuracy: of a model trained on the releases, on clean test images; in brackets its difference to the "
        "undefended model's.",
        f"A row passes where it is hidden (worst case at or above {limits}, or near its null where images are too "
        "small for that), exposes nobody and is not re-identified. Rank: by utility among rows that pass; =: no "
        "significant difference to another. Reference (in italics): a yardstick, never ranked.",
        "Details: docs/boards-and-statistics.md.",
    ]


MARKDOWN_NOTES = (
    "Every name of an attack, every distance and every accuracy leads to its record of the first seed; the other "
    "records, and all further scores, are in the JSON and CSV files beside this page and on the page of "
    "`harness report`."
)
ATTACK_NOTES = (
    "One attack alone: the distance after it, and how much closer it comes than smoothing (one guess on each side, "
    "paired over originals). Controls never enter the worst case; an attack that failed or was skipped says nothing "
    "about the defense. †: not significant after Holm's correction for all comparisons of the board."
)
REPORTED_NOTES = (
    "As printed, on the authors' images and by their attacks: not measured here, without intervals, never ranked, and "
    "not comparable with the rows above figure by figure."
)
