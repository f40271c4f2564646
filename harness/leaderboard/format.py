"""How figures and settings are written on every board, and the notes under it that say how to read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.registry.settings import format_setting
from harness.scores import label, ranking, thresholds


def figure(score: Mapping[str, Any] | None) -> str:
    """.71 [.69, .73]"""
    if not score or score["mean"] is None:
        return "-"
    if score["low"] is None:
        return short(score["mean"])
    return f"{short(score['mean'])} [{short(score['low'])}, {short(score['high'])}]"


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


def notes() -> str:
    """How to read a board."""
    limits = " and ".join(f"{value} ({name})" for name, value in thresholds().items())
    return (
        "Mean [95 % interval]; distances to the dominant original, bootstrap over n originals; proportions by Wilson. "
        "Worst: per original the minimum over no attack (the release as is, look) and every reconstruction run, "
        "without controls. Recognised: top-1 of the strongest recogniser against the dominant source's class; compare "
        "it with the row none. Utility: accuracy on clean test images; accuracy drop: paired, against undefended; with "
        "one seed the intervals do not cover what another training would change. Rank: by utility among judged rows "
        f"that pass by {label(ranking())}, 1 + the rows that are better by a significant paired difference (Holm); =: "
        "no significant difference to another; ref: a reference, listed and not ranked. *: on the Pareto front of both "
        f"among judged rows. Passes: lower end of the worst case at or above {limits}, thresholds of a survey at 96 "
        "to 256 px: at 64 px a constant image has a dSSIM of about .8 to a photograph."
    )


LINKS = "A figure links to its record, small numbers to others behind it; a worst case to those of the named attack."
ATTACK_NOTES = (
    "No attack (release as is) is the baseline of every row. After attack: one attack alone, without the minimum with "
    "the release. Gain over release, over smoothing: how much closer the attack comes, paired over originals. "
    "Re-identified: the original comes first in a gallery. An attack reveals more than smoothing where it is closer "
    "than smooth by the distance that ranks and also by another distance or in re-identification. Controls never enter "
    "the worst case; an attack that failed or was skipped says nothing about the defense. †: no longer significant "
    "after Holm's correction for all comparisons of the board with the release and with smooth."
)
REPORTED_NOTES = (
    "As printed, on the authors' images and by their attacks: not measured here, without intervals, never ranked, and "
    "not comparable with the rows above figure by figure."
)
