"""How figures and settings are written, on every board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.settings import as_setting


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
    return " ".join(f"{name}={as_setting(value)}" for name, value in shown.items())
