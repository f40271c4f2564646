"""What a tracker is sent of a run: its settings, and the scores of each finished piece.

Both are read from what identifies records (`RunSpec`), which names no machine and no file. Images, the numbers of
single images, reasons of failures and text that may be a path are not among them.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import harness
from harness.leaderboard.format import settings as written
from harness.records import RunResult, RunSpec

Figures: TypeAlias = dict[str, float]
MAY_BE_A_PATH = "(not sent: it may be a path)"
_LONGEST = 500
"""Letters of a setting: what every tracker takes."""
_DATA = ("name", "fingerprint", "height", "width", "classes", "private", "public", "test")
_PLAIN = ("seed", "epochs", "releases", "targets", "device", "threads")
_REFUSED = re.compile(r"[^\w\-. /:]")
"""What MLflow takes in no name of a metric."""


def settings(specs: Iterable[RunSpec]) -> dict[str, str]:
    """The settings of a run, by name: of each the values that its pieces have, with semicolons between."""
    found: dict[str, dict[str, None]] = defaultdict(dict)

    def add(name: str, value: Any) -> None:
        if value is not None:
            found[name][str(value)] = None

    for spec in specs:
        inputs = spec.inputs
        for name in _DATA:
            add("dataset" if name == "name" else f"dataset {name}", _sendable(inputs["dataset"].get(name)))
        for name in _PLAIN:
            add(name, _sendable(inputs.get(name)))
        for name in ("defense", "attack"):
            if entry := inputs.get(name):
                add(name, f"{_sendable(entry['name'])} {written(_knobs(entry))}".strip())
        for name, value in _knobs(inputs.get("utility") or {}).items():
            add(f"utility {name}", value)
        for name, version in inputs.get("versions", {}).items():
            add(f"version {name}", version)
    joined = {name: "; ".join(values) for name, values in found.items()}
    return {"harness": harness.__version__, **{name: text[:_LONGEST] for name, text in joined.items()}}


def series(specs: Sequence[RunSpec]) -> dict[str, str]:
    """By key of each piece the name that its scores are sent under: `mix/smooth`, `mix/release`, `mix/utility`.

    Where pieces of one name differ in a setting, it is in the name: `noise_mix sigma 20/smooth`. Seeds are steps.
    """
    alike: dict[tuple[str, ...], list[RunSpec]] = defaultdict(list)
    for spec in specs:
        alike[(spec.kind, *spec.names)].append(spec)
    names = {}
    for (kind, *parts), group in alike.items():
        told = [_told(spec) for spec in group]
        vary = [knob for knob in dict.fromkeys(knob for each in told for knob in each)
                if len({each.get(knob) for each in told}) > 1]  # fmt: skip
        for spec, each in zip(group, told, strict=True):
            said = [f"{knob} {each[knob]}" for knob in vary if knob in each]
            defense, attack = parts[0], parts[1] if kind == "attack" else kind
            names[spec.key] = _REFUSED.sub("_", "/".join([" ".join([defense, *said]), attack]))
    return names


def figures(result: RunResult) -> Figures:
    """What is sent of a piece: `ok`, 1 or 0; the seconds that it took; of each score its mean, `_low` and `_high`."""
    found: Figures = {"ok": float(result.status == "ok"), "seconds": float(result.seconds)}
    for name, score in result.scores.items():
        for end, column in (("mean", name), ("low", f"{name}_low"), ("high", f"{name}_high")):
            value = score.get(end)
            if value is not None and math.isfinite(value):
                found[_REFUSED.sub("_", column)] = float(value)
    return found


def _told(spec: RunSpec) -> dict[str, str]:
    """The settings that may tell two pieces of one name apart, as text."""
    inputs = spec.inputs
    told: dict[str, Any] = {"dataset": f"{inputs['dataset']['name']} {inputs['dataset']['fingerprint'][:8]}"}
    told |= {name: inputs.get(name) for name in ("epochs", "releases")}
    told |= _knobs(inputs["defense"]) | {f"attack {k}": v for k, v in _knobs(inputs.get("attack") or {}).items()}
    told |= {f"utility {name}": value for name, value in _knobs(inputs.get("utility") or {}).items()}
    return {name: written({"": value}).removeprefix("=") for name, value in told.items() if value is not None}


def _knobs(entry: Mapping[str, Any]) -> dict[str, Any]:
    together = {**entry.get("params", {}), **entry.get("mixing", {})}
    return {name: _sendable(value) for name, value in together.items()}


def _sendable(value: Any) -> Any:
    """The value, without text in it that may be a path of this machine."""
    if isinstance(value, Mapping):
        return {_sendable(name): _sendable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_sendable(inner) for inner in value]
    return MAY_BE_A_PATH if isinstance(value, str) and re.search(r"[/\\~]", value) else value
