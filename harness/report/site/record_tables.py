"""A record as tables: its scores, and what else it holds line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.leaderboard.format import attack_name, settings, short
from harness.records import RunResult
from harness.report.columns import figure_cell
from harness.scores import ATTACKED, SCORES, label, ranking
from harness.system.text import shortened

MOST_LINES = 300
"""Lines of a table of inputs or facts; a record may hold thousands."""
LONGEST = 600
"""Letters of a value."""
_STATISTICS = ("p5", "min", "n", "chance")


@dataclass(frozen=True)
class ScoreLine:
    """One score of a record. label: how boards write it; empty where they do not show it."""

    name: str
    label: str
    figure: str
    interval: str
    rest: Sequence[str]


def score_lines(record: RunResult) -> list[ScoreLine]:
    """Those that boards know first, in their order, then the others by name."""
    lines = []
    order = [known for name in SCORES for known in (name, ATTACKED + name)]
    for name in sorted(record.scores, key=lambda name: (order.index(name) if name in order else len(order), name)):
        score = record.scores[name]
        cell = figure_cell({"low": None, "high": None, **score})
        rest = [str(score.get(part, "-")) if part == "n" else short(score.get(part)) for part in _STATISTICS]
        lines.append(ScoreLine(name, _known(name), cell.words, cell.interval, rest))
    return lines


def _known(name: str) -> str:
    if name in SCORES:
        return label(name)
    plain = name.removeprefix(ATTACKED)
    return f"{label(plain)} after attack" if plain != name and plain in SCORES else ""


def flat(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A table of tables line by line: ("defense.params", "block=8"); the last line says where there are too many."""
    lines: list[tuple[str, str]] = []
    for name, value in _lines(table, ""):
        if len(lines) == MOST_LINES:
            lines.append(("...", "more lines are in the JSON file of the record"))
            break
        lines.append((name, shortened(value, LONGEST)))
    return lines


def _lines(table: Mapping[str, Any], above: str) -> Iterator[tuple[str, str]]:
    """Each table without another in it is one line."""
    for key, value in table.items():
        name = f"{above}.{key}" if above else str(key)
        if isinstance(value, Mapping) and any(map(_holds_tables, value.values())):
            yield from _lines(value, name)
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            for at, each in enumerate(value, 1):
                rest = {inner: what for inner, what in each.items() if inner not in ("name", "params")}
                yield f"{name}: {each.get('name', at)}", _words({**rest, **(each.get("params") or {})})
        else:
            yield name, _words(value)


def _holds_tables(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(each, Mapping) for each in value))


def _words(value: Any) -> str:
    """In one line, tables as block=8 weights=0.5,0.5."""
    if isinstance(value, Mapping):
        return " ".join(f"{name}={_words(each)}" for name, each in value.items()) or "none"
    if isinstance(value, list):
        return ",".join(map(_words, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Heading:
    """What a record is of, in words: `multi_release on shuffle_mix`, block=8, imagenette10_96, seed 0."""

    title: str
    settings: str
    dataset: str
    seed: int


def heading(record: RunResult) -> Heading:
    inputs, kind = record.inputs, record.spec.kind
    defense = inputs["defense"]
    title = {"release": f"Release of {defense['name']}", "utility": f"Utility of {defense['name']}"}.get(kind)
    chosen = settings({**defense["params"], "weights": defense["mixing"]["weights"]})
    if title is None:
        attack = inputs["attack"]
        title = f"{attack_name(attack['name'])} on {defense['name']}"
        own = settings({k: f"({len(v)} entries)" if isinstance(v, dict) else v for k, v in attack["params"].items()})
        chosen = "; ".join(filter(None, (f"{defense['name']}: {chosen}" if chosen else "", own and f"attack: {own}")))
    return Heading(title, chosen, str(inputs["dataset"]["name"]), int(inputs["seed"]))


def brief_result(record: RunResult) -> str:
    """What a list of records shows of one: its status, or one score."""
    if record.status != "ok":
        return f"{record.status}: {record.reason}" if record.reason else record.status
    for name in (ATTACKED + ranking(), ranking(), *record.scores):
        if name in record.scores and record.scores[name].get("mean") is not None:
            return f"{_known(name) or name} {short(record.scores[name]['mean'])}"
    return "ok"
