"""How figures and settings are written, on every board.

What stands under every board: how its figures are to be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.registry.settings import format_setting
from harness.scores import thresholds


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


def settings(given: Mapping[str, Any]) -> str:
    """As -D and -A take them; an image that is mixed with nothing needs no weights."""
    shown = {name: value for name, value in given.items() if not (name == "weights" and value == [1.0])}
    return " ".join(f"{name}={format_setting(value)}" for name, value in shown.items())


NOTES = (
    "Mean [95 % interval]; distances to the dominant original, bootstrap over n originals; proportions by Wilson. "
    "Worst: per original the minimum over looking at the release (look) and every reconstruction run, controls apart. "
    "Recognised: top-1 of the strongest recogniser against the dominant source's class; read it against the row none. "
    "Utility: accuracy on clean test images; lost: paired, against undefended; with one seed the intervals do not hold "
    "what another training would do. Rank: by utility among judged rows that pass by dSSIM, 1 + the rows that are "
    "better by a paired difference (Holm); = tied with another; ref: a reference, listed and not ranked. "
    "* on the Pareto front of both, among judged rows. Passes: lower end of the worst case at or above "
    + " and ".join(f"{value} ({name})" for name, value in thresholds().items())
    + ", thresholds of a survey at 96 to 256 px: at 64 px a blank grey image has dSSIM .80 to a photograph."
)
LINKS = "A figure links to its record, small numbers to others behind it; a worst case to those of the named attack."
ATTACK_NOTES = (
    "Look is the release itself, the floor of every row. Left: the attack alone, without that floor. Below look, below "
    "smooth: how much closer the attack comes, paired over originals. Re-identified: the original comes first in a "
    "gallery. An attack sees more than smoothing where it is closer than smooth by dSSIM and, apart from that, by "
    "dHaar or in re-identification. Controls never enter the worst case; what failed or was skipped says nothing for "
    "the defense. †: no difference any more after Holm's correction for all comparisons of the board with look and "
    "smooth."
)
REPORTED_NOTES = (
    "As printed, on the authors' images and by their attacks: not measured here, without intervals, never ranked, and "
    "not to be compared with the rows above figure by figure."
)
